#!/bin/sh
# Exercises the data API with nothing but curl, as a newcomer would.
#   tests/clients/http_api.sh HOST PORT KEY [QUEUE]
# KEY may do everything; QUEUE (default: orders) exists and is used by nobody else. Prints one line for each check and
# ends with 1 at the first that fails.
set -u

[ $# -ge 3 ] || { echo "usage: $0 HOST PORT KEY [QUEUE]" >&2; exit 2; }
base="http://$1:$2"
key=$3
queue=${4:-orders}
work=$(mktemp -d) || exit 2
follower=
trap 'kill $follower 2>/dev/null; rm -rf "$work"' EXIT
topic="http-api-test/$$"

# call METHOD PATH [curl arguments]: the status in $status, head and body in files.
call() {
    method=$1 path=$2
    shift 2
    status=$(curl -sS -m 20 -X "$method" -D "$work/head" -o "$work/body" -w '%{http_code}' \
        -H "Authorization: Bearer $key" "$@" "$base$path") || status="curl failed"
}

# expect WHAT STATUS [TEXT]: the status of the last call, and a text that its head or body must hold.
expect() {
    if [ "$status" != "$2" ]; then
        echo "FAIL $1: status $status, not $2: $(cat "$work/body")"
        exit 1
    fi
    if [ $# -ge 3 ] && ! cat "$work/head" "$work/body" | grep -qF -- "$3"; then
        echo "FAIL $1: nowhere stands '$3': $(cat "$work/head" "$work/body")"
        exit 1
    fi
    echo "ok   $1"
}

# field NAME: the first string member of that name in the last body.
field() {
    sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p" "$work/body" | head -n 1
}

# later FILE TEXT: waits up to ten seconds for a text in a growing file.
later() {
    tries=0
    until grep -qF -- "$2" "$1" 2>/dev/null; do
        tries=$((tries + 1))
        [ "$tries" -le 100 ] || return 1
        sleep 0.1
    done
}

# --- topics ---
call POST "/api/topics/$topic/temp?retain=true" -H 'Content-Type: application/json' -d '{"celsius": 21.5}'
expect 'publish a retained value' 201 '"durable":1'
call GET "/api/topics/$topic/temp"
expect 'get the retained value' 200 '{"celsius": 21.5}'
expect 'its type came back' 200 'application/json'
call GET "/api/topics/$topic/temp" -H 'Accept: application/cloudevents+json'
expect 'get it as a CloudEvent' 200 "\"subject\":\"topic/$topic/temp\""

curl -sSN -m 60 -H "Authorization: Bearer $key" -H 'Accept: text/event-stream' \
    "$base/api/topics/$topic/%23" >"$work/events" 2>"$work/events.err" &
follower=$!
status=200
later "$work/events" '{"celsius": 21.5}' || status="no retained value in $(cat "$work/events" "$work/events.err")"
expect 'follow by server-sent events: the retained value comes first' 200
call POST "/api/topics/$topic/door" -H 'Content-Type: text/plain' -d 'open'
expect 'publish to a follower' 202 '"live":1'
status=200
later "$work/events" '"data":"open"' || status="no live event in $(cat "$work/events" "$work/events.err")"
expect 'the live event came' 200
kill $follower 2>/dev/null
wait $follower 2>/dev/null
follower=

call POST "/api/topics/$topic/event" -H 'Content-Type: application/cloudevents+json' \
    -d '{"specversion":"1.0","id":"e-1","source":"/test","type":"t","data":1}'
expect 'publish a structured CloudEvent' 202 '"id":"e-1"'
call POST "/api/topics/$topic/event" -H 'ce-specversion: 1.0' -H 'ce-id: e-2' -H 'ce-source: /test' -H 'ce-type: t' -d 'x'
expect 'publish a binary CloudEvent' 202 '"id":"e-2"'
call POST "/api/topics/$topic/temp?retain=true"
expect 'an empty retained value forgets' 202
call GET "/api/topics/$topic/temp"
expect 'it is forgotten' 404 'TL0010'

# --- queues ---
call POST "/api/queues/$queue" -H 'Content-Type: text/plain' -H "Idempotency-Key: m-$$" --data-binary 'hello'
expect 'enqueue' 201 '"durable":1'
call POST "/api/queues/$queue" -H 'Content-Type: application/cloudevents-batch+json' \
    -d '[{"specversion":"1.0","id":"b-1","source":"/test","type":"t"},{"specversion":"1.0","id":"b-2","source":"/test","type":"t"}]'
expect 'enqueue a batch' 201 '"id":"b-2"'
call GET "/api/queues/$queue"
expect 'look at the queue' 200 '"depth":3'
call GET "/api/queues/$queue/peek?max=1"
expect 'peek' 200 '"state":"ready"'
call POST "/api/queues/$queue/lease" -d '{"max":1,"wait":"5s","hold":"30s"}'
expect 'lease' 200 '"body":"hello"'
token=$(field token)
call POST "/api/queues/$queue/leases/$token" -d '{"action":"extend","hold":"1m"}'
expect 'extend' 200 '"settled":"held"'
call POST "/api/queues/$queue/leases/$token" -d '{"action":"retry","delay":"0s","error":"not now"}'
expect 'retry' 200 '"settled":"retrying"'
call POST "/api/queues/$queue/leases/$token" -d '{"action":"ack"}'
expect 'a lease is used once' 409 'TL0015'
# What was put back stands behind the others or before them: all three are taken and acknowledged.
for _ in 1 2 3; do
    call POST "/api/queues/$queue/lease" -d '{"wait":"5s"}'
    expect 'lease again' 200 '"token"'
    call POST "/api/queues/$queue/settle" -d "[{\"token\":\"$(field token)\",\"action\":\"ack\"}]"
    expect 'settle' 200 '"settled":"acked"'
done
call GET "/api/queues/$queue"
expect 'the queue is empty' 200 '"depth":0'

# --- refusals ---
status=$(curl -sS -m 20 -o "$work/body" -D "$work/head" -w '%{http_code}' -H 'Authorization: Bearer nobody-holds-this' "$base/api/queues/$queue")
expect 'a wrong key' 401 'TL0001'
call POST '/api/topics/$sys/mine' -d 'x'
expect 'a forbidden address' 403 'TL0002'
head -c 3000000 /dev/zero >"$work/large"
call POST "/api/queues/$queue" -H 'Expect:' --data-binary "@$work/large"
expect 'a body over the limit' 413 'TL0003'
call POST "/api/queues/$queue" --data-binary "@$work/large"
expect 'the same, asked for first' 413 'TL0003'
call POST '/api/queues/no-such-queue' -d 'x'
expect 'an unknown queue' 404 'TL0010'
call POST "/api/topics/$topic?retian=true" -d 'x'
expect 'an unknown parameter' 400 'did you mean'
call POST "/api/queues/$queue/lease" -d '{"mxa":1}'
expect 'an unknown member' 400 'TL0028'
call PUT "/api/queues/$queue"
expect 'a method that is not served' 405 'TL0035'
call GET /api/openapi.json
expect 'the description' 200 '"openapi"'
echo "all well"
