#!/bin/sh
# Sends HL7 over MLLP with PyPI hl7's mllp_send, as a laboratory system would, and checks what is answered.
#   VENV=DIR tests/clients/mllp.sh PORT
# PORT on 127.0.0.1 speaks MLLP and has the lab route of examples/lab-route.yaml behind it. VENV is a Python virtual
# environment; hl7 0.4.5 is put into it when it is not there. Prints one line for each check and ends with 1 at the first
# that fails.
set -u

[ $# -ge 1 ] || { echo "usage: VENV=DIR $0 PORT" >&2; exit 2; }
port=$1
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
venv=${VENV:-$work/venv}
examples=$(cd "$(dirname "$0")/../../examples" && pwd) || exit 2

if [ ! -x "$venv/bin/mllp_send" ]; then
    [ -x "$venv/bin/python" ] || python3 -m venv "$venv" || exit 2
    "$venv/bin/python" -m pip install -q --disable-pip-version-check "hl7==0.4.5" || exit 2
fi

# check WHAT FILE TEXT...: each text must stand in what mllp_send prints, which is the acknowledgement.
check() {
    what=$1 file=$2
    shift 2
    timeout 20 "$venv/bin/mllp_send" --loose -p "$port" -f "$file" 127.0.0.1 >"$work/out" 2>&1
    tr '\r\013\034' '\n  ' <"$work/out" >"$work/answer"
    for text in "$@"; do
        if ! grep -qF -- "$text" "$work/answer"; then
            echo "FAIL $what: nowhere stands '$text':"
            cat "$work/answer"
            exit 1
        fi
    done
    echo "ok   $what"
}

check "a normal result is stored" "$examples/oru-normal.hl7" "MSA|AA|LAB20261121000417"
check "a critical result is stored" "$examples/oru-critical.hl7" "MSA|AA|LAB20261121000523"
tr '\r' '\n' <"$examples/oru-normal.hl7" >"$work/lf.hl7"
check "line feeds are read" "$work/lf.hl7" "MSA|AA|LAB20261121000417"
cat "$examples/oru-normal.hl7" "$examples/oru-critical.hl7" >"$work/two.hl7"
check "two messages on one connection" "$work/two.hl7" "MSA|AA|LAB20261121000417" "MSA|AA|LAB20261121000523"

sed 's/|N|||F/|XX|||F/' "$examples/oru-normal.hl7" >"$work/flag.hl7"
check "a schema violation is answered AE" "$work/flag.hl7" \
    "MSA|AE|LAB20261121000417|TL0006 schema violation" "/results/0/flag" "^TRUNKLINE"
sed 's/||4\.2|/||n.a.|/' "$examples/oru-normal.hl7" >"$work/value.hl7"
check "a value that cannot be mapped is answered AE" "$work/value.hl7" "MSA|AE|LAB20261121000417|TL0013"
sed 's/PV1|1/pv|1/' "$examples/oru-normal.hl7" >"$work/segment.hl7"
check "a bad segment is answered AE" "$work/segment.hl7" \
    "MSA|AE|LAB20261121000417|TL0004" "segment 3"
sed 's/ORU^R01/ADT^A01/' "$examples/oru-normal.hl7" >"$work/adt.hl7"
check "what a route filters is answered AA with a remark" "$work/adt.hl7" "MSA|AA|LAB20261121000417|taken and not kept"
{ cat "$examples/oru-normal.hl7"; printf 'NTE|2|L|'; head -c 1200000 /dev/zero | tr '\0' 'x'; printf '\r'; } >"$work/large.hl7"
check "what is over the limit is answered AR" "$work/large.hl7" "MSA|AR|LAB20261121000417|TL0003"
