#!/usr/bin/env bash
# The OpenAI Python SDK's own tests, from its source distribution, against an OpenAI-compatible URL.
# usage: openai.sh BASE_URL OUTPUT_FOLDER      needs $VENV (a virtual environment with the SDK's test tools) and $SDK (its unpacked source)
# Prints `NAME PASSED FAILED` for each file; the caller compares two runs.
set -uo pipefail
url=${1:?BASE_URL}
out=${2:?OUTPUT_FOLDER}
mkdir -p "$out"
cd "$SDK"
for name in chat/test_completions test_models test_embeddings test_responses test_moderations test_images; do
  log=$out/$(basename "$name").log
  TEST_API_BASE_URL=$url timeout 900 "$VENV/bin/python" -m pytest -q -n 0 -p no:cacheprovider "tests/api_resources/$name.py" >"$log" 2>&1
  passed=$(tail -n 1 "$log" | grep -oE '[0-9]+ passed' | cut -d' ' -f1)
  bad=$(tail -n 1 "$log" | grep -oE '[0-9]+ failed' | cut -d' ' -f1)
  echo "$(basename "$name") ${passed:-0} ${bad:-0}"
done
