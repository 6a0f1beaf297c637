#!/usr/bin/env python3
"""Somebody sets the clock of the machine: leases, retries, long polls, lives and delays go on as if nothing had happened.

Runs the program under Debian's libfaketime, which changes the time of day and leaves the monotonic clock alone.
Usage: clock.py PROGRAM FOLDER
"""
import atexit
import glob
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

program, folder = sys.argv[1:3]
(library, *_) = glob.glob(os.environ.get("LIBFAKETIME", "/usr/lib/*/faketime/libfaketime.so.1"))
DAY = 86_400
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
offset = os.path.join(folder, "offset")
config = os.path.join(folder, "clock.yaml")
with open(config, "w", encoding="utf-8") as file:
    json.dump({
        "listen": f"127.0.0.1:{port}",
        "data": os.path.join(folder, "data"),
        "access": {"trust_loopback": True},
        "queues": {name: {} for name in ("leases", "retries", "polls", "lives", "delays", "again")},
    }, file)


def set_clock(seconds):
    """Written beside and renamed, so that the program never reads half of it."""
    with open(offset + ".new", "w", encoding="utf-8") as file:
        file.write(f"{seconds:+d}\n")
    os.replace(offset + ".new", offset)


def start():
    environment = dict(os.environ, LD_PRELOAD=library, FAKETIME_TIMESTAMP_FILE=offset, FAKETIME_NO_CACHE="1",
                       FAKETIME_DONT_FAKE_MONOTONIC="1", FAKETIME_DONT_RESET="1")
    process = subprocess.Popen([program, "serve", "-c", config], env=environment,
                               stderr=open(os.path.join(folder, "log"), "a", encoding="utf-8"))
    # However this ends, the program does too.
    atexit.register(process.kill)
    until = time.monotonic() + 30
    while time.monotonic() < until:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2).read()
            return process
        except OSError:
            time.sleep(0.05)
    raise SystemExit("the program is not ready in thirty seconds")


def stop(process):
    process.send_signal(signal.SIGTERM)
    process.wait(30)


def post(path, body=b"", **headers):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/api/queues/{path}", data,
                                     {name.replace("_", "-"): value for name, value in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def lease(queue, wait="0s", hold="30s"):
    began = time.monotonic()
    _, answer = post(f"{queue}/lease", {"wait": wait, "hold": hold})
    return answer["deliveries"], time.monotonic() - began


def settle(queue, delivery, **order):
    return post(f"{queue}/leases/{delivery['token']}", order)[0]


def check(what, so):
    if not so:
        raise SystemExit(f"failed: {what}")


def step(by):
    """One step of the clock while everything waits."""
    set_clock(0)
    post("leases", b"long")
    (held,), _ = lease("leases", hold="10m")
    post("leases", b"short")
    (short,), _ = lease("leases", hold="2s")
    post("retries", b"x")
    (failed,), _ = lease("retries")
    settle("retries", failed, action="retry", delay="2s")
    post("lives", b"x", tl_ttl="1h")
    set_clock(by)
    none, took = lease("polls", wait="2s")
    # Finding: B4
    check(f"{by:+d} s: a long poll of 2 s ends in time, not after {took:.1f} s", not none and 1.5 < took < 12)
    # Finding: B4
    again, took = lease("leases", wait="15s")
    check(f"{by:+d} s: a lease of 2 s runs out", len(again) == 1 and took < 14)
    check(f"{by:+d} s: it is over", settle("leases", short, action="ack") == 409)
    check(f"{by:+d} s: a lease of 10 min is not lost", settle("leases", held, action="ack") == 200)
    settle("leases", again[0], action="ack")
    # Finding: B4
    again, took = lease("retries", wait="15s")
    check(f"{by:+d} s: a retry of 2 s comes", len(again) == 1 and took < 14)
    settle("retries", again[0], action="ack")
    # Finding: B4
    alive, _ = lease("lives", wait="1s")
    check(f"{by:+d} s: a message with an hour to live is alive", len(alive) == 1)
    settle("lives", alive[0], action="ack")


set_clock(0)
process = start()
for by in (-DAY, -3_600, 7_200, DAY):
    step(by)
# Finding: B4
set_clock(DAY)
post("delays", b"x")
post("again", b"x", tl_id="1")
(failed,), _ = lease("delays")
settle("delays", failed, action="retry", delay="2s")
stop(process)
set_clock(0)
process = start()
again, took = lease("delays", wait="15s")
check("stopped a day ahead, started right: a message that waits 2 s comes", len(again) == 1 and took < 14)
check("what was sent before is still known", post("again", b"x", tl_id="1")[1]["duplicate"] is True)
stop(process)
print("the clock was set, and nothing noticed")
