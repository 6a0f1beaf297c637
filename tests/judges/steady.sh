#!/usr/bin/env bash
# Steady, the strict mock server that OpenAI's SDKs are tested against, on 127.0.0.1:PORT, in the foreground.
# usage: steady.sh PORT      needs $NPM (a folder with @stdy/cli installed)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
document=$NPM/openai-openapi.json
[ -s "$document" ] || gunzip -c "$here/openai-openapi.json.gz" >"$document"
exec "$NPM/node_modules/.bin/steady" --host 127.0.0.1 -p "${1:?PORT}" \
  --validator-query-array-format=brackets --validator-form-array-format=brackets \
  --validator-query-object-format=brackets --validator-form-object-format=brackets "$document"
