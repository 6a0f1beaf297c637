#!/usr/bin/env python3
"""Kills Trunkline (SIGKILL) under PyPI paho-mqtt (2.x) and looks whether what it acknowledged is there.

    mqtt_kill.py BINARY CONFIG PORT KEY

CONFIG must let KEY publish and subscribe everywhere, on PORT of 127.0.0.1. For 3.1.1 and 5, QoS 1 and 2: a subscriber with a
persistent session goes away, messages for it are acknowledged, the server is killed and started again, and the
subscriber comes back: its session is present, and every message comes once, in order. Then kills under load, with
both sides connected: nothing acknowledged is lost, QoS 2 comes exactly once. Retained values and the end of a session
survive as well. Prints one line per check; exits non-zero when any failed.
"""

import itertools
import queue
import signal
import socket
import subprocess
import sys
import threading
import time

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

DEADLINE_S = 30
V311, V5 = MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5
NAMES = {V311: "3.1.1", V5: "5"}
AWAY = 200
KILLS = 6


class Wrong(Exception):
    pass


def want(got, expected, what):
    if got != expected:
        raise Wrong(f"{what}: {str(got)[:300]} instead of {str(expected)[:300]}")


def until(condition, what):
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > deadline:
            raise Wrong(f"no {what} within {DEADLINE_S} s")
        time.sleep(0.005)


class Server:
    def __init__(self, binary, config, port):
        self.binary, self.config, self.port, self.process = binary, config, port, None

    def start(self):
        self.process = subprocess.Popen(
            [self.binary, "serve", "-c", self.config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until(self.listens, "server")

    def listens(self):
        if self.process.poll() is not None:
            raise Wrong(f"the server ended with {self.process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def again(self):
        self.kill()
        self.start()


class Device:
    """One paho client that stays the same over reconnects, as a device's program would."""

    def __init__(self, server, key, version, name, clean=False, expiry_s=3600):
        more = {"clean_session": clean} if version == V311 else {}
        self.version, self.server, self.clean, self.expiry_s = version, server, clean, expiry_s
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, name, protocol=version, **more)
        self.client.username_pw_set("", key)
        self.client.reconnect_delay_set(1, 1)
        self.client.max_inflight_messages_set(20)
        self.present, self.got, self.acked = queue.Queue(), [], set()
        self.acks = queue.Queue()
        self.client.on_connect = lambda c, u, flags, reason, p: self.present.put(flags.session_present)
        self.client.on_message = lambda c, u, message: self.got.append((int(message.payload), message.dup))
        self.client.on_subscribe = lambda c, u, mid, reasons, p: self.acks.put(reasons)
        self.client.on_publish = lambda c, u, mid, reason, p: self.acked.add(mid)

    def connect(self):
        extra = {}
        if self.version == V5:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = self.expiry_s
            extra = {"clean_start": self.clean, "properties": properties}
        self.client.connect("127.0.0.1", self.server.port, keepalive=30, **extra)
        self.client.loop_start()
        return self.present.get(timeout=DEADLINE_S)

    def subscribe(self, topic, qos):
        self.client.subscribe(topic, qos)
        want(self.acks.get(timeout=DEADLINE_S)[0].value, qos, "granted QoS")

    def publish(self, topic, number, qos):
        return self.client.publish(topic, str(number), qos).mid

    def end(self):
        self.client.disconnect()
        self.client.loop_stop()


def away(server, key, version, qos):
    name, topic = f"away-{NAMES[version]}-{qos}", f"kill/away/{NAMES[version]}/{qos}"
    reader = Device(server, key, version, name)
    want(reader.connect(), False, "session present at first")
    reader.subscribe(topic, qos)
    reader.end()
    writer = Device(server, key, version, name + "-writer", clean=True, expiry_s=0)
    writer.connect()
    mids = {writer.publish(topic, number, qos) for number in range(AWAY)}
    until(lambda: mids <= writer.acked, "acknowledgement of all")
    server.kill()
    writer.client.loop_stop()
    server.start()
    reader = Device(server, key, version, name)
    want(reader.connect(), True, "session present after the kill")
    until(lambda: len(reader.got) >= AWAY, f"{AWAY} messages (there are {len(reader.got)})")
    want(reader.got, [(number, False) for number in range(AWAY)], "messages, in order, once, never sent before")
    reader.end()
    # What was taken is gone, but for what was not written down yet, which is flagged (QoS 1) or not there (QoS 2).
    server.again()
    reader = Device(server, key, version, name)
    want(reader.connect(), True, "session present after the second kill")
    writer = Device(server, key, version, name + "-writer", clean=True, expiry_s=0)
    writer.connect()
    writer.publish(topic, AWAY, qos)
    until(lambda: (AWAY, False) in reader.got, "message after the second kill")
    want([number for number, dup in reader.got if not dup], [AWAY], "messages that are not flagged")
    for device in (reader, writer):
        device.end()


def load(server, key, version, qos):
    name, topic = f"load-{NAMES[version]}-{qos}", f"kill/load/{NAMES[version]}/{qos}"
    reader, writer = Device(server, key, version, name), Device(server, key, version, name + "-writer")
    reader.connect()
    reader.subscribe(topic, qos)
    writer.connect()
    numbers, stop, mids = itertools.count(), threading.Event(), []

    def flood():
        while not stop.is_set():
            if len(mids) - len(writer.acked) < 40:
                mids.append(writer.publish(topic, next(numbers), qos))
            else:
                stop.wait(0.001)

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        for kill in range(KILLS):
            before = len(writer.acked)
            until(lambda: len(writer.acked) > before + 50 + 37 * kill, "acknowledgements")
            server.again()
            for device in (reader, writer):
                want(device.present.get(timeout=DEADLINE_S), True, "session present")
    finally:
        stop.set()
        thread.join()
    until(lambda: set(mids) <= writer.acked, "acknowledgement of the rest")
    last = next(numbers)
    writer.publish(topic, last, qos)
    until(lambda: any(number == last for number, _ in reader.got), "last message")
    got = [number for number, _ in reader.got]
    lost = set(range(last + 1)) - set(got)
    want(lost, set(), "acknowledged messages that were lost")
    firsts = list(dict.fromkeys(got))
    want(firsts, sorted(firsts), "order")
    if qos == 2:
        want(len(got), len(set(got)), "exactly once")
    for device in (reader, writer):
        device.end()
    return f"{KILLS} kills, {last + 1} messages, {len(got) - len(set(got))} of them twice, 0 lost"


def retained(server, key, version, qos):
    topic = f"kill/retained/{NAMES[version]}/{qos}"
    writer = Device(server, key, version, topic.replace("/", "-"), clean=True, expiry_s=0)
    writer.connect()
    mids = [writer.client.publish(topic, "41", qos, True).mid, writer.client.publish(topic, "42", qos, True).mid]
    until(lambda: set(mids) <= writer.acked, "acknowledgements")
    server.kill()
    writer.client.loop_stop()
    server.start()
    reader = Device(server, key, version, topic.replace("/", "-"), clean=True, expiry_s=0)
    want(reader.connect(), False, "session present")
    reader.subscribe(topic, qos)
    until(lambda: reader.got, "retained value")
    want([number for number, _ in reader.got], [42], "retained value")
    reader.end()


def ended(server, key, version, qos):
    name, topic = f"ended-{NAMES[version]}-{qos}", f"kill/ended/{NAMES[version]}/{qos}"
    reader = Device(server, key, version, name)
    reader.connect()
    reader.subscribe(topic, qos)
    reader.client.unsubscribe(topic)
    reader.end()
    clean = Device(server, key, version, name + "-clean")
    clean.connect()
    clean.subscribe(topic, qos)
    clean.end()
    clean = Device(server, key, version, name + "-clean", clean=True, expiry_s=0)
    want(clean.connect(), False, "session present after a clean start")
    server.kill()
    clean.client.loop_stop()
    server.start()
    reader, clean = Device(server, key, version, name), Device(server, key, version, name + "-clean")
    want((reader.connect(), clean.connect()), (True, False), "sessions present")
    writer = Device(server, key, version, name + "-writer", clean=True, expiry_s=0)
    writer.connect()
    mid = writer.publish(topic, 1, qos)
    until(lambda: mid in writer.acked, "acknowledgement")
    want((reader.got, clean.got), ([], []), "messages for filters that were taken back")
    for device in (reader, clean, writer):
        device.end()


def main():
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    binary, config, port, key = sys.argv[1:]
    server = Server(binary, config, int(port))
    server.start()
    failed = 0
    try:
        for check, version, qos in itertools.product((away, load, retained, ended), (V311, V5), (1, 2)):
            began = time.monotonic()
            try:
                verdict = check(server, key, version, qos) or "ok"
            except Exception as error:  # noqa: BLE001: any failure of a check is a failure of the server
                failed += 1
                verdict = f"FAILED: {error!r}"
                if server.process.poll() is not None:
                    server.start()
            print(f"{NAMES[version]} QoS {qos}: {check.__name__}: {verdict} ({time.monotonic() - began:.2f} s)", flush=True)
    finally:
        server.kill()
    print(f"{failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
