#!/usr/bin/env bash
# Lays the files of the Dockerfile and the libraries they need into an empty folder, as the image has them, for machines without
# Docker: what serves from there under chroot serves from the image. usage: lay.sh FOLDER [BINARY]
# It reads COPY lines only; the base's own part (the C library, the certificates) comes from this machine. Needs root for owners.
set -euo pipefail
folder=${1:?usage: lay.sh FOLDER [BINARY]} binary=${2:-}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
mkdir -p "$folder"
[ -z "$(ls -A "$folder")" ] || { echo "lay.sh: $folder is not empty" >&2; exit 1; }

while read -r word first second third; do
  [ "$word" = COPY ] || continue
  owner='' from=$first to=$second
  case $first in --chown=*) owner=${first#--chown=} from=$second to=$third ;; esac
  source=$root/$from
  [ "$from" != target/release/trunkline ] || [ -z "$binary" ] || source=$binary
  if [ -d "$source" ]; then
    mkdir -p "$folder$to" && cp -R "$source/." "$folder$to"
  else
    install -D -m 0755 "$source" "$folder$to"
  fi
  [ -z "$owner" ] || chown -R "$owner" "$folder$to"
done <"$root/packaging/Dockerfile"

# The loader and the libraries, at the places where the binary asks for them.
ldd "$folder/usr/bin/trunkline" | grep -o '/[^ ]*' | while read -r library; do
  install -D "$library" "$folder$library"
done
if [ -f /etc/ssl/certs/ca-certificates.crt ]; then
  install -D -m 0644 /etc/ssl/certs/ca-certificates.crt "$folder/etc/ssl/certs/ca-certificates.crt"
fi
mkdir -p -m 1777 "$folder/tmp"
