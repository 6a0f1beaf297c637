#!/usr/bin/env python3
"""Drives Trunkline's MQTT face with PyPI paho-mqtt (2.x), as devices in the field would.

    mqtt_paho.py HOST PORT KEY [KEY_NAME]

KEY must be allowed to publish and subscribe everywhere. Exercises 3.1.1 and 5 over TCP and WebSocket (path /mqtt):
QoS 0, 1 and 2 between all versions and transports, retained values, wildcards, persistent sessions, wills, user and
password, a wrong password, and MQTT 5 properties. Prints one line per check; exits non-zero when any failed.
"""

import queue
import sys
import threading
import time
import uuid

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

DEADLINE_S = 10
V311, V5 = MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5
NAMES = {V311: "3.1.1", V5: "5"}


class Wrong(Exception):
    pass


class Device:
    """One paho client with its callbacks turned into queues that are read with a deadline."""

    def __init__(self, where, version, transport, client_id=None, clean=True, expiry_s=0, will=None, password=None, user=None):
        self.where, self.version = where, version
        named = client_id or f"paho-{uuid.uuid4().hex[:12]}"
        more = {"clean_session": clean} if version == V311 else {}
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, named, protocol=version, transport=transport, **more)
        if transport == "websockets":
            self.client.ws_set_options(path="/mqtt")
        self.client.username_pw_set(where.user if user is None else user, where.key if password is None else password)
        if will:
            self.client.will_set(*will)
        self.connected, self.messages, self.acks = queue.Queue(), queue.Queue(), queue.Queue()
        self.client.on_connect = lambda c, u, flags, reason, p: self.connected.put((flags.session_present, reason, p))
        self.client.on_message = lambda c, u, message: self.messages.put(message)
        self.client.on_subscribe = lambda c, u, mid, reasons, p: self.acks.put((mid, reasons))
        self.client.on_publish = lambda c, u, mid, reason, p: self.acks.put((mid, reason))
        extra = {}
        if version == V5:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = expiry_s
            extra = {"clean_start": clean, "properties": properties}
        self.client.connect(where.host, where.port, keepalive=30, **extra)
        self.client.loop_start()
        self.session_present, self.reason, self.told = take(self.connected, "CONNACK")

    def subscribe(self, topic, qos=0, number=None, **options):
        if number is not None:
            properties = Properties(PacketTypes.SUBSCRIBE)
            properties.SubscriptionIdentifier = number
            result, mid = self.client.subscribe(topic, options=SubscribeOptions(qos=qos, **options), properties=properties)
        elif self.version == V5 and options:
            result, mid = self.client.subscribe(topic, options=SubscribeOptions(qos=qos, **options))
        else:
            result, mid = self.client.subscribe(topic, qos)
        want(result, MQTTErrorCode.MQTT_ERR_SUCCESS, "subscribe")
        got, reasons = take(self.acks, "SUBACK")
        want(got, mid, "SUBACK's id")
        return reasons[0]

    def publish(self, topic, payload, qos=0, retain=False, properties=None):
        info = self.client.publish(topic, payload, qos, retain, properties)
        got, reason = take(self.acks, f"acknowledgement of QoS {qos}")
        want(got, info.mid, "acknowledgement's id")
        return reason

    def message(self):
        return take(self.messages, "message")

    def end(self):
        self.client.disconnect()
        self.client.loop_stop()

    def vanish(self):
        """Ends the TCP connection without DISCONNECT."""
        self.client.loop_stop()
        self.client._sock_close()


class Where:
    def __init__(self, host, port, key, user):
        self.host, self.port, self.key, self.user = host, port, key, user


def take(source, what):
    try:
        return source.get(timeout=DEADLINE_S)
    except queue.Empty:
        raise Wrong(f"no {what} within {DEADLINE_S} s") from None


def want(got, expected, what):
    if got != expected:
        raise Wrong(f"{what}: {got!r} instead of {expected!r}")


def exchange(where, from_version, from_transport, to_version, to_transport):
    base = f"paho/{uuid.uuid4().hex[:8]}"
    reader = Device(where, to_version, to_transport)
    writer = Device(where, from_version, from_transport)
    reader.subscribe(f"{base}/+/temp", 2)
    for qos in (0, 1, 2):
        payload = f"qos {qos} ".encode() + bytes(range(256)) * (qos * 20)
        reason = writer.publish(f"{base}/{qos}/temp", payload, qos)
        want(getattr(reason, "value", 0) < 0x80, True, "acknowledgement")
        got = reader.message()
        want((got.topic, got.payload, got.qos, got.retain), (f"{base}/{qos}/temp", payload, qos, False), f"QoS {qos}")
    # Order within one publisher, and nothing twice.
    for number in range(200):
        writer.client.publish(f"{base}/order/temp", str(number), 1)
    want([reader.message().payload for _ in range(200)], [str(n).encode() for n in range(200)], "order")
    reader.end()
    writer.end()


def retained(where, version, transport):
    topic = f"paho/{uuid.uuid4().hex[:8]}/retained"
    writer = Device(where, version, transport)
    writer.publish(topic, b"first", 1, retain=True)
    writer.publish(topic, b"last", 1, retain=True)
    reader = Device(where, version, transport)
    reader.subscribe(topic, 1)
    got = reader.message()
    want((got.payload, got.retain), (b"last", True), "retained value")
    writer.publish(topic, b"", 1, retain=True)
    want(reader.message().payload, b"", "deletion as live message")
    late = Device(where, version, transport)
    late.subscribe(topic, 1)
    writer.publish(topic, b"marker", 1)
    want(late.message().payload, b"marker", "first message after deletion")
    for device in (writer, reader, late):
        device.end()


def wildcards(where, version, transport):
    base = f"paho/{uuid.uuid4().hex[:8]}"
    device = Device(where, version, transport)
    device.subscribe(f"{base}/a/#", 0)
    device.subscribe(f"{base}/+/x", 0)
    for topic, comes in (("a", True), ("a/b/c", True), ("b/x", True), ("b/y", False), ("b", False), ("end/x", True)):
        device.publish(f"{base}/{topic}", topic, 1)
        if comes:
            want(device.message().payload, topic.encode(), "wildcard match")
    want(device.messages.empty(), True, "nothing beside what matches")
    device.end()


def session(where, version, transport):
    name, topic = f"paho-{uuid.uuid4().hex[:12]}", f"paho/{uuid.uuid4().hex[:8]}/away"
    device = Device(where, version, transport, name, clean=False, expiry_s=300)
    want(device.session_present, False, "session present at first")
    device.subscribe(topic, 1)
    device.end()
    writer = Device(where, version, transport)
    for number in range(5):
        writer.publish(topic, str(number), 1)
    device = Device(where, version, transport, name, clean=False, expiry_s=300)
    want(device.session_present, True, "session present on return")
    want([device.message().payload for _ in range(5)], [b"0", b"1", b"2", b"3", b"4"], "messages that waited")
    device.end()
    writer.end()
    Device(where, version, transport, name, clean=True).end()


def will(where, version, transport):
    topic = f"paho/{uuid.uuid4().hex[:8]}/will"
    reader = Device(where, version, transport)
    reader.subscribe(topic, 1)
    Device(where, version, transport, will=(topic, b"vanished", 1)).vanish()
    want(reader.message().payload, b"vanished", "will")
    reader.end()


def refusals(where, version, transport):
    device = Device(where, version, transport, password="wrong-" + where.key)
    reason = device.reason
    want(reason.is_failure, True, "wrong password refused")
    want(reason.value, 0x86, "reason of a wrong password")
    device.end()
    device = Device(where, version, transport)
    code = device.subscribe("$queue/read-me", 1)
    want(code.is_failure, True, "a filter that is not offered is refused")
    device.end()


def five(where, transport):
    base = f"paho/{uuid.uuid4().hex[:8]}"
    reader, writer = Device(where, V5, transport), Device(where, V5, transport)
    reader.subscribe(f"{base}/props", 1)
    properties = Properties(PacketTypes.PUBLISH)
    properties.ContentType = "application/json"
    properties.ResponseTopic = f"{base}/answer"
    properties.CorrelationData = b"\x00\xff42"
    properties.MessageExpiryInterval = 60
    properties.PayloadFormatIndicator = 1
    properties.UserProperty = [("b", "1"), ("a", "2"), ("b", "3")]
    writer.publish(f"{base}/props", b"{}", 1, properties=properties)
    got = reader.message().properties
    want(got.ContentType, "application/json", "content type")
    want(got.ResponseTopic, f"{base}/answer", "response topic")
    want(got.CorrelationData, b"\x00\xff42", "correlation data")
    want(got.PayloadFormatIndicator, 1, "payload format")
    want(50 <= got.MessageExpiryInterval <= 60, True, "expiry counts down")
    pairs = [pair for pair in got.UserProperty if pair[0] not in ("traceparent", "tracestate")]
    want(pairs, [("b", "1"), ("a", "2"), ("b", "3")], "user properties in order")
    # No local, retain as published, subscription options.
    writer.subscribe(f"{base}/local", 1, noLocal=True)
    writer.publish(f"{base}/local", b"mine", 1)
    reader.publish(f"{base}/local", b"theirs", 1)
    want(writer.message().payload, b"theirs", "no local")
    # Shared: two members get all of it, each once.
    for device in (reader, writer):
        device.subscribe(f"$share/g/{base}/work", 1)
    third = Device(where, V5, transport)
    for number in range(20):
        third.publish(f"{base}/work", str(number), 1)
    got, deadline = [], time.monotonic() + DEADLINE_S
    while len(got) < 20 and time.monotonic() < deadline:
        for device in (reader, writer):
            while not device.messages.empty():
                got.append(int(device.messages.get().payload))
        threading.Event().wait(0.01)
    want(sorted(got), list(range(20)), "shared subscription")
    want(third.publish(f"{base}/nobody", b"x", 1).value, 0x10, "no matching subscribers")
    for device in (reader, writer, third):
        device.end()


def limits(where, transport):
    device = Device(where, V5, transport, expiry_s=4_000_000_000, clean=False)
    told = device.told
    want(told.ReceiveMaximum > 0 and told.MaximumPacketSize > 0 and told.TopicAliasMaximum > 0, True, "limits told")
    want(0 < told.SessionExpiryInterval < 4_000_000_000, True, "session expiry is cut, and told")
    for absent in ("RetainAvailable", "WildcardSubscriptionAvailable", "SharedSubscriptionAvailable", "MaximumQoS"):
        want(getattr(told, absent, 1), 1, f"{absent}: nothing is withheld")
    device.end()


def options(where, transport):
    base = f"paho/{uuid.uuid4().hex[:8]}"
    reader, writer = Device(where, V5, transport), Device(where, V5, transport)
    writer.publish(f"{base}/kept", b"old", 1, retain=True)
    # Retain handling 2 never brings it, 1 only with a new filter, 0 always; live it is not retained unless asked for.
    reader.subscribe(f"{base}/kept", 1, retainHandling=2)
    reader.subscribe(f"{base}/kept", 1, retainHandling=1)
    writer.publish(f"{base}/kept", b"new", 1, retain=True)
    got = reader.message()
    want((got.payload, got.retain), (b"new", False), "live message after retain handling 2 and 1")
    reader.subscribe(f"{base}/kept", 1, retainHandling=0, retainAsPublished=True)
    got = reader.message()
    want((got.payload, got.retain), (b"new", True), "retained value with retain handling 0")
    writer.publish(f"{base}/kept", b"", 1, retain=True)
    want(reader.message().retain, True, "retain as published")
    # Identifiers of all filters that match, on one message of the highest QoS.
    reader.subscribe(f"{base}/many/#", 0, number=11)
    reader.subscribe(f"{base}/many/+", 1, number=268_435_455)
    writer.publish(f"{base}/many/x", b"x", 1)
    got = reader.message()
    want((got.qos, sorted(got.properties.SubscriptionIdentifier)), (1, [11, 268_435_455]), "subscription identifiers")
    # A message that expires while its reader is away does not come; one that does not, does.
    name = f"paho-{uuid.uuid4().hex[:12]}"
    away = Device(where, V5, transport, name, clean=False, expiry_s=60)
    away.subscribe(f"{base}/expiry", 1)
    away.end()
    for seconds, payload in ((1, b"short"), (60, b"long")):
        properties = Properties(PacketTypes.PUBLISH)
        properties.MessageExpiryInterval = seconds
        writer.publish(f"{base}/expiry", payload, 1, properties=properties)
    threading.Event().wait(1.1)
    away = Device(where, V5, transport, name, clean=False, expiry_s=60)
    want(away.message().payload, b"long", "message that did not expire")
    for device in (reader, writer, away):
        device.end()


def will_delay(where, transport):
    topic = f"paho/{uuid.uuid4().hex[:8]}/will"
    reader = Device(where, V5, transport)
    reader.subscribe(topic, 1)
    properties = Properties(PacketTypes.WILLMESSAGE)
    properties.WillDelayInterval = 1
    properties.UserProperty = [("why", "vanished")]
    names = [f"paho-{uuid.uuid4().hex[:12]}" for _ in range(2)]
    for name in names:
        Device(where, V5, transport, name, expiry_s=60, will=(topic, name.encode(), 1, False, properties)).vanish()
    # The second is back in time, so its will is not published.
    back = Device(where, V5, transport, names[1], clean=False, expiry_s=60)
    want(back.session_present, True, "session present")
    got = reader.message()
    want((got.payload, got.properties.UserProperty), (names[0].encode(), [("why", "vanished")]), "will after its delay")
    back.publish(topic, b"marker", 1)
    want(reader.message().payload, b"marker", "no will of who came back")
    for device in (reader, back):
        device.end()


def checks(where):
    both = [(version, transport) for version in (V311, V5) for transport in ("tcp", "websockets")]
    for mine in both:
        for theirs in both:
            name = f"{NAMES[mine[0]]} {mine[1]} -> {NAMES[theirs[0]]} {theirs[1]}: QoS 0, 1, 2, order"
            yield name, lambda mine=mine, theirs=theirs: exchange(where, *mine, *theirs)
    for check in (retained, wildcards, session, will, refusals):
        for one in both:
            yield f"{NAMES[one[0]]} {one[1]}: {check.__name__}", lambda check=check, one=one: check(where, *one)
    for transport in ("tcp", "websockets"):
        yield f"5 {transport}: properties, options, shared", lambda transport=transport: five(where, transport)
        for check in (limits, options, will_delay):
            yield f"5 {transport}: {check.__name__}", lambda check=check, transport=transport: check(where, transport)


def main():
    if len(sys.argv) not in (4, 5):
        sys.exit(__doc__)
    where = Where(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4] if len(sys.argv) == 5 else "")
    failed = 0
    for name, check in checks(where):
        began = time.monotonic()
        try:
            check()
            verdict = "ok"
        except Exception as error:  # noqa: BLE001: any failure of a check is a failure of the server
            failed += 1
            verdict = f"FAILED: {error!r}"
        print(f"{name}: {verdict} ({time.monotonic() - began:.2f} s)", flush=True)
    print(f"{failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
