#!/usr/bin/env bash
# Makes a Debian package of the release binary. usage: deb.sh BINARY OUT.deb
# Needs dpkg-deb, gzip and a glibc no newer than that of the machines it is for. It builds nothing.
set -euo pipefail
binary=${1:?usage: deb.sh BINARY OUT.deb} out=${2:?usage: deb.sh BINARY OUT.deb}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
deb=$root/packaging/deb
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
chmod 0755 "$tree"
version=$("$binary" version | cut -d' ' -f2)
# The time of everything in the package, so that the same binary makes the same package.
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(stat -c %Y "$binary")}
umask 022

install -D -m 0755 "$binary" "$tree/usr/bin/trunkline"
install -D -m 0644 "$root/packaging/trunkline.service" "$tree/usr/lib/systemd/system/trunkline.service"
install -D -m 0640 "$deb/trunkline.yaml" "$tree/etc/trunkline/trunkline.yaml"
install -D -m 0644 "$root/packaging/prometheus-rules.yml" "$tree/usr/share/trunkline/prometheus-rules.yml"
install -D -m 0644 "$root/packaging/grafana.json" "$tree/usr/share/trunkline/grafana.json"
for example in "$root"/examples/*; do
  install -D -m 0644 "$example" "$tree/usr/share/doc/trunkline/examples/$(basename "$example")"
done
for shell in bash:usr/share/bash-completion/completions/trunkline zsh:usr/share/zsh/vendor-completions/_trunkline \
  fish:usr/share/fish/vendor_completions.d/trunkline.fish; do
  mkdir -p "$tree/$(dirname "${shell#*:}")"
  "$binary" completion "${shell%%:*}" >"$tree/${shell#*:}"
done
"$binary" man "$tree/usr/share/man/man1"
gzip -9 -n "$tree"/usr/share/man/man1/*.1
cat >"$tree/usr/share/doc/trunkline/copyright" <<TXT
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: trunkline

Files: *
Copyright: 2026 the authors of Trunkline
License: Apache-2.0
 On Debian systems the whole text of the licence is in /usr/share/common-licenses/Apache-2.0.
TXT
# A changelog must be there; what changed stands in the project's own.
printf 'trunkline (%s) unstable; urgency=medium\n\n  * See CHANGELOG.md of the project.\n\n -- Trunkline <maintainers@trunkline.invalid>  %s\n' \
  "$version" "$(date -R -d "@$SOURCE_DATE_EPOCH")" | gzip -9 -n >"$tree/usr/share/doc/trunkline/changelog.gz"

mkdir "$tree/DEBIAN"
cat >"$tree/DEBIAN/control" <<TXT
Package: trunkline
Version: $version
Architecture: $(dpkg --print-architecture)
Maintainer: Trunkline <maintainers@trunkline.invalid>
Installed-Size: $(du -sk --exclude=DEBIAN "$tree" | cut -f1)
Depends: libc6 (>= 2.36), libgcc-s1, adduser
Recommends: ca-certificates
Section: net
Priority: optional
Description: message broker, MCP gateway and AI-model gateway behind one door
 Trunkline is one program through which AI agents, services and devices
 exchange messages under control: a message broker and router (HTTP,
 WebSocket, MQTT, MLLP), a Model Context Protocol gateway and an AI-model
 gateway, with one set of keys, limits, routes, retries, dead letters and one
 audit trail for all of them.
TXT
echo /etc/trunkline/trunkline.yaml >"$tree/DEBIAN/conffiles"
install -m 0755 "$deb/postinst" "$deb/prerm" "$deb/postrm" "$tree/DEBIAN/"
(cd "$tree" && find . -type f ! -path './DEBIAN/*' -printf '%P\n' | LC_ALL=C sort | xargs md5sum >DEBIAN/md5sums)
chmod 0644 "$tree/DEBIAN/md5sums" "$tree/DEBIAN/conffiles" "$tree/DEBIAN/control"
dpkg-deb --root-owner-group -Zxz --build "$tree" "$out" >/dev/null
