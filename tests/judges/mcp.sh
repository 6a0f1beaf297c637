#!/usr/bin/env bash
# The official MCP conformance suite against a URL, both revisions, with the scenarios that it does not score (tasks among them).
# usage: mcp.sh URL OUTPUT_FOLDER      needs $NODE (22 or newer) and $NPM (a folder with the suite installed)
# Exit 0: every scenario of both revisions passed, and at least as many checks ran as the revision has.
set -uo pipefail
url=${1:?URL}
out=${2:?OUTPUT_FOLDER}
suite=$NPM/node_modules/@modelcontextprotocol/conformance/dist/index.js
mkdir -p "$out"
failed=0
for revision in 2025-11-25 2026-07-28; do
  least=80
  if [ "$revision" = 2026-07-28 ]; then least=196; fi
  log=$out/$revision.log
  timeout 600 "$NODE" "$suite" server --url "$url" --requirements "$revision" --timeout 10000 -o "$out/$revision" >"$log" 2>&1
  code=$?
  total=$(grep -E '^Total:' "$log" | tail -n 1)
  bad=$(sed -n '/=== SUMMARY/,/^Total/p' "$log" | grep '^✗' | awk '{print $2}' | tr -d ':' | tr '\n' ' ')
  echo "mcp $revision: exit $code; ${total:-no total}; not passed: ${bad:-none}"
  # A suite that ran nothing has failed nothing either.
  passed=$(echo "$total" | grep -oE '[0-9]+ passed' | cut -d' ' -f1)
  lost=$(echo "$total" | grep -oE '[0-9]+ failed' | cut -d' ' -f1)
  if [ "$code" -ne 0 ] || [ "${passed:-0}" -lt "$least" ] || [ "${lost:-1}" -ne 0 ]; then failed=1; fi
done
exit $failed
