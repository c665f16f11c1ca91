"""A client of Warp in Python, written from docs/protocol.md: a socket, msgpack and json are all it takes.

    warp serve --app examples/banking.ts
    python3 examples/python/account.py 127.0.0.1:7400 alice

It waits for every answer before it asks again. A client in a hurry sends many requests and sorts the answers by id.
"""

import json
import random
import socket
import struct
import sys

import msgpack

HELLO, APPEND, SEND, STATE, EVENTS, SEQ = 0, 1, 2, 3, 4, 7


class WarpError(Exception):
    def __init__(self, code, message, details):
        super().__init__(f"{code}: {message}")
        self.code, self.details = code, details


class Warp:
    def __init__(self, host, port):
        self.socket = socket.create_connection((host, port), timeout=30)
        self.last_id = 0
        self.welcome = self.request(HELLO, 1, None, None, "python example")
        # Every write carries (session start, session number, counter), so that a repeat of it counts once.
        self.session = (self.welcome["now"], random.getrandbits(53))
        self.writes = 0

    def append(self, entity, events, expect=None, key=None, delivery=None):
        """`events` is a list of (type, data)."""
        types = [kind for kind, _ in events]
        data = to_value([data for _, data in events])
        return outcome(
            self.request(APPEND, entity, types, data, None, expect, key, delivery or self.next_delivery())
        )

    def send(self, entity, command, argument, expect=None, key=None):
        value = to_value(argument)
        return outcome(self.request(SEND, entity, command, value, expect, key, self.next_delivery()))

    def state(self, entity, aggregate=None):
        seq, value = self.request(STATE, entity, aggregate)
        return seq, from_value(value)

    def events(self, entity, first=1):
        """Every event from this seq on as (seq, type, data), page by page."""
        while first is not None:
            heads, value, first = self.request(EVENTS, entity, first)
            for head, data in zip(heads, from_value(value)):
                yield head[0], head[1], data

    def next_delivery(self):
        self.writes += 1
        return [*self.session, self.writes]

    def request(self, operation, *fields):
        self.last_id += 1
        frame = msgpack.packb([0, self.last_id, operation, *fields])
        self.socket.sendall(struct.pack(">I", len(frame)) + frame)
        (length,) = struct.unpack(">I", self.receive(4))
        kind, answered, *rest = msgpack.unpackb(self.receive(length))
        if kind == 2:
            code, message, details = rest
            raise WarpError(code, message, from_value(details))
        assert kind == 1 and answered == self.last_id, "an answer to something else"
        return rest[0]

    def receive(self, length):
        parts = bytearray()
        while len(parts) < length:
            part = self.socket.recv(length - len(parts))
            if not part:
                raise ConnectionError("the server has closed the connection")
            parts += part
        return bytes(parts)


def to_value(data):
    """Data travels as JSON text in a `bin`: whoever only passes it on never decodes it."""
    return json.dumps(data, ensure_ascii=False, allow_nan=False).encode()


def from_value(value):
    if value is None:
        return None
    if isinstance(value, msgpack.ExtType):  # what JSON cannot hold
        return msgpack.unpackb(value.data, timestamp=3)
    return json.loads(value)


def outcome(fields):
    kind, *rest = fields
    names = {
        0: ("seq", "firstSeq", "count", "duplicate", "shard", "position"),
        1: ("seq",),
        2: ("code", "details", "seq", "duplicate"),
    }[kind]
    result = dict(zip(names, rest))
    if kind == 2:
        result["details"] = from_value(result["details"])
    return {"outcome": ("appended", "conflict", "rejected")[kind], **result}


def main(address, entity):
    host, port = address.rsplit(":", 1)
    warp = Warp(host, int(port))
    say = lambda what, value: print(json.dumps({what: value}, ensure_ascii=False))
    say("context", warp.welcome["context"])
    say("open", warp.send(entity, "open", {"owner": "Zoë", "overdraftCents": 0}, expect="none"))
    delivery = warp.next_delivery()
    credit = [("Credited", {"cents": 5000, "ref": "salary"})]
    say("credit", warp.append(entity, credit, delivery=delivery))
    # As after a lost connection: the same request again is the same append.
    say("again", warp.append(entity, credit, delivery=delivery))
    say("debit", warp.send(entity, "debit", {"cents": 1200, "ref": "rent"}))
    say("too much", warp.send(entity, "debit", {"cents": 1_000_000, "ref": "yacht"}))
    say("conflict", warp.append(entity, credit, expect=1))
    say("state", warp.state(entity))
    say("events", list(warp.events(entity)))
    try:
        warp.send(entity, "steal", {})
    except WarpError as error:
        say("error", error.code)


if __name__ == "__main__":
    main(*sys.argv[1:3])
