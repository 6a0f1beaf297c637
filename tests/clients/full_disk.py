#!/usr/bin/env python3
"""Fills a small disk under a running Trunkline, drains it by acknowledgements alone, kills it while it is full, and fills it again.

    full_disk.py BINARY MIB SECONDS

Mounts a file system of MIB mebibytes (ext4 on a loop device, else tmpfs), which needs root; where that is not allowed it prints
SKIPPED with the reason and exits with 0. Every round: publishers put messages of 200 B to 60 KB on two queues and into a stream until all
are refused, while consumers take some; then, on the full disk, every acknowledgement must be taken, whatever is refused
meanwhile; SIGKILL and a start on the full disk; then both queues are drained by leases and acknowledgements alone, and
there must be room again. Nothing that was acknowledged to a publisher may be missing, nothing that a consumer
acknowledged may come back. Prints one line a round; exits non-zero when something was wrong.
"""

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

KEY = "tl_full-disk-0123456789abcdef"
DEADLINE_S = 60
CONFIG = """listen: 127.0.0.1:{port}
data: {data}
access: {{keys: [{{name: tester, key: 'env:TRUNKLINE_TEST_KEY', roles: [admin]}}]}}
queues: {{a: {{}}, b: {{}}}}
streams: {{s: {{bytes: 4MiB, age: 20s}}}}
"""


class Wrong(Exception):
    pass


class Client:
    def __init__(self, port):
        self.port, self.connection = port, None

    def ask(self, method, path, body=b""):
        for attempt in (1, 2):
            try:
                if self.connection is None:
                    self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
                headers = {"authorization": f"Bearer {KEY}"}
                if path.endswith("/lease") or "/leases/" in path:
                    headers["content-type"] = "application/json"
                self.connection.request(method, path, body, headers)
                answer = self.connection.getresponse()
                return answer.status, answer.read()
            except (OSError, http.client.HTTPException):
                self.connection = None
                if attempt == 2 or method == "POST":
                    return 0, b""

    def lease(self, queue, most):
        status, body = self.ask("POST", f"/api/queues/{queue}/lease", json.dumps({"max": most}).encode())
        if status != 200:
            raise Wrong(f"a lease of {queue} answered {status}: {body[:300]}")
        return json.loads(body)["deliveries"]

    def ack(self, queue, token):
        return self.ask("POST", f"/api/queues/{queue}/leases/{token}", b'{"action": "ack"}')


class Trial:
    def __init__(self, binary, folder):
        self.binary, self.folder, self.process = binary, folder, None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.config = os.path.join(folder, "..", "trunkline.yaml")
        with open(self.config, "w") as out:
            out.write(CONFIG.format(port=self.port, data=os.path.join(folder, "data")))
        self.lock = threading.Lock()
        self.stored, self.acked, self.unsure, self.number = set(), set(), set(), 0

    def start(self):
        log = open(os.path.join(self.folder, "..", "log"), "a")
        self.process = subprocess.Popen(
            [self.binary, "serve", "-c", self.config], stdout=log, stderr=log, env={**os.environ, "TRUNKLINE_TEST_KEY": KEY}
        )
        deadline = time.monotonic() + DEADLINE_S
        while Client(self.port).ask("GET", "/healthz")[0] != 200:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise Wrong("the server does not start")
            time.sleep(0.05)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def next_id(self):
        with self.lock:
            self.number += 1
            return f"m{self.number}"

    def publish(self, until_full, seconds):
        """Publishes until it was refused 20 times in a row, or for so long."""
        client, dice, refused, deadline = Client(self.port), random.Random(self.next_id()), 0, time.monotonic() + seconds
        while time.monotonic() < deadline and not (until_full and refused >= 20):
            queue, name = dice.choice("ab"), self.next_id()
            size = dice.choice((200, 200, 1_000, 4_000, 60_000))
            status, body = client.ask("POST", f"/api/queues/{queue}", f"{queue}:{name}:".encode() + b"x" * size)
            with self.lock:
                if 200 <= status < 300:
                    self.stored.add(f"{queue}:{name}")
                elif status == 503 and b"TL0019" in body:
                    refused += 1
                    continue
                elif status == 0:
                    self.unsure.add(f"{queue}:{name}")
                else:
                    raise Wrong(f"a publish answered {status}: {body[:300]}")
            refused = 0
            if dice.random() < 0.1:
                client.ask("POST", "/api/streams/s", b"x" * size)

    def consume(self, queue, most, pause):
        """Takes up to so many messages, one by one; how many it were."""
        client, count = Client(self.port), 0
        while count < most:
            got = client.lease(queue, 4)
            if not got:
                return count
            for one in got:
                name = ":".join(body_of(one).split(":")[:2])
                with self.lock:
                    if name in self.acked:
                        raise Wrong(f"{name} came back after its acknowledgement")
                time.sleep(pause)
                status, said = client.ack(queue, one["token"])
                if status != 200:
                    raise Wrong(f"an acknowledgement answered {status}: {said[:300]}")
                with self.lock:
                    self.acked.add(name)
                count += 1
        return count

    def together(self, *works):
        wrong = []

        def run(work):
            try:
                work()
            except Exception as error:  # noqa: BLE001, told below
                wrong.append(error)

        threads = [threading.Thread(target=run, args=(work,)) for work in works]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if wrong:
            raise wrong[0]

    def log_bytes(self):
        folder = os.path.join(self.folder, "data", "log")
        return sum(os.stat(os.path.join(folder, name)).st_size for name in os.listdir(folder))

    def metric(self, name):
        lines = Client(self.port).ask("GET", "/metrics")[1].decode().splitlines()
        return next((float(line.split(" ")[1]) for line in lines if line.startswith(name + " ")), None)

    def round(self, number):
        publishers = [lambda: self.publish(True, DEADLINE_S) for _ in range(3)]
        self.together(*publishers, lambda: self.consume("a", 50, 0.005), lambda: self.consume("b", 30, 0.02))
        if Client(self.port).ask("GET", "/readyz")[0] != 503 or self.metric("trunkline_store_full") != 1:
            raise Wrong("it is full and does not say so")
        # On the full disk: refused publishers beside consumers who work on.
        full = [lambda: self.publish(False, 2), lambda: self.consume("a", 40, 0.02), lambda: self.consume("b", 40, 0.02)]
        self.together(*full)
        self.kill()
        self.start()
        held = len(self.stored - self.acked)
        drained = [lambda queue=queue: self.consume(queue, 1 << 30, 0) for queue in "aabb"]
        self.together(*drained)
        # What four consumers held of each other when they ended comes back once its lease is over; here all were acknowledged.
        missing = self.stored - self.acked
        if missing:
            raise Wrong(f"{len(missing)} acknowledged messages are lost: {sorted(missing)[:5]}")
        deadline = time.monotonic() + DEADLINE_S
        while Client(self.port).ask("GET", "/readyz")[0] != 200 or self.log_bytes() > 80 << 20:
            if time.monotonic() > deadline:
                raise Wrong("drained, and there is no room again")
            time.sleep(0.1)
        print(f"round {number}: {held} on a full disk, killed, all drained by acknowledgements; log {self.log_bytes() >> 20} MiB", flush=True)


def body_of(delivery):
    message = delivery.get("message", delivery)
    for name in ("body", "text", "data"):
        if isinstance(message.get(name), str):
            return message[name]
    raise Wrong(f"no body in {str(delivery)[:300]}")


def mount(mib, top, folder):
    image = os.path.join(top, "disk.img")
    with open(image, "wb") as out:
        out.truncate(mib << 20)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    made = subprocess.run(["mkfs.ext4", "-q", "-F", image], **quiet) if found("mkfs.ext4") else None
    if made and made.returncode == 0 and subprocess.run(["mount", "-o", "loop", image, folder], **quiet).returncode == 0:
        return "ext4"
    tried = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", folder], **quiet)
    if tried.returncode != 0:
        print(f"SKIPPED: no file system can be mounted here: {tried.stderr.decode().strip()}")
        sys.exit(0)
    return "tmpfs"


def found(program):
    return any(os.access(os.path.join(path, program), os.X_OK) for path in os.environ["PATH"].split(":") + ["/usr/sbin", "/sbin"])


# Finding: B1
def main():
    binary, mib, seconds = os.path.abspath(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    top = tempfile.mkdtemp(prefix="trunkline-full-disk-")
    folder = os.path.join(top, "disk")
    os.mkdir(folder)
    kind = mount(mib, top, folder)
    trial, number, began = Trial(binary, folder), 0, time.monotonic()
    try:
        trial.start()
        while number == 0 or time.monotonic() - began < seconds:
            number += 1
            trial.round(number)
        print(f"{number} rounds on {mib} MiB of {kind}: {len(trial.stored)} messages stored, none lost, none came back")
    except Wrong as wrong:
        print(f"WRONG in round {number}: {wrong}")
        with open(os.path.join(top, "log")) as log:
            print("".join(log.readlines()[-20:]))
        sys.exit(1)
    finally:
        if trial.process and trial.process.poll() is None:
            trial.kill()
        subprocess.run(["umount", folder], check=False)
        subprocess.run(["rm", "-rf", top], check=False)


if __name__ == "__main__":
    main()
