# SPDX-License-Identifier: GPL-2.0-or-later
"""A QEMU whose answers are wrong now and then, for qmpproxy.py.

    proxy.rewrite = Mutator(random.Random(7), one_in=20)

Each answer has its chance of being changed: members are missing or of other
types, numbers are huge, the id is another one, it comes twice or not whole,
with events in it or nesting without end.  What is well formed is true: no
other name or path is put in place of one, and nothing is left out of a list.
That would be another VM, not a bad QEMU.
"""

import copy
import json

EVENT = {"event": "BLOCK_JOB_ERROR", "data": {"device": None},
         "timestamp": {"seconds": -1, "microseconds": 10 ** 20}}
WRONG = (None, True, -1, 10 ** 30, 1e300, "", "\x00\ud800", [], {}, [[]],
         {"": {}}, "a" * 70000)


class Mutator:
    """Called for each answer; said has what it did, for a failure's report."""

    def __init__(self, rng, one_in):
        self.rng, self.one_in = rng, one_in
        self.said = []

    def __call__(self, request, message):
        if request is None or self.rng.randrange(self.one_in):
            return message
        way = self.rng.choice(WAYS)
        self.said.append(f"{request.get('execute')}: {way.__name__}")
        return way(self.rng, copy.deepcopy(message))


def places(value):
    """All (container, key) in a JSON value, also those within others."""
    keys = (list(value) if isinstance(value, dict) else
            range(len(value)) if isinstance(value, list) else ())
    for key in keys:
        yield value, key
        yield from places(value[key])


def place(rng, message):
    """Any place, but mostly one of the answer proper."""
    all_of_it = list(places(message))
    inner = list(places(message.get("return")))
    return rng.choice(inner if inner and rng.random() < 0.8 else all_of_it)


def drop(rng, message):
    container, key = place(rng, message)
    if isinstance(container, list):
        container[key] = None
    else:
        del container[key]
    return message


def another_type(rng, message):
    container, key = place(rng, message)
    wrong = copy.deepcopy(rng.choice(WRONG))
    is_list = isinstance(container[key], list)
    container[key] = 5 if is_list and wrong == [] else wrong
    return message


def many(rng, message):
    """Some changes at once."""
    for _ in range(rng.randrange(2, 6)):
        if any(places(message)):
            message = rng.choice((drop, another_type))(rng, message)
    return message


def wrong_id(rng, message):
    message["id"] = copy.deepcopy(rng.choice(WRONG[:5] + ("fl-0",)))
    return message


def refusal(rng, message):
    """Done, but said not to be."""
    return {"id": message.get("id"), "error": rng.choice((
        {"class": "GenericError", "desc": "\x1b[31m" + "no " * 5000},
        {"class": 5}, "no", {"class": "DeviceNotFound", "desc": "gone"}))}


def twice(_rng, message):
    line = json.dumps(message).encode()
    return line + b"\r\n" + line


def events(rng, message):
    """Many, before it and behind it, and one glued to it."""
    event = json.dumps(EVENT).encode() + b"\n"
    return event * rng.randrange(1, 50) + json.dumps(message).encode() + event


def cut(rng, message):
    line = json.dumps(message).encode()
    return line[:rng.randrange(len(line))]


def bad_bytes(rng, message):
    """Not UTF-8, or a zero, somewhere."""
    line = bytearray(json.dumps(message).encode())
    for _ in range(rng.randrange(1, 8)):
        line[rng.randrange(len(line))] = rng.choice(b"\x00\xff\xc0\x80{}\"\\")
    return bytes(line).replace(b"\n", b" ")


def nested(rng, message):
    depth = rng.choice((40, 1000, 200000))
    ident = json.dumps(message.get("id")).encode()
    return (b'{"id": ' + ident + b', "return": ' + b"[" * depth
            + b"]" * depth + b"}")


def empty(rng, message):
    """The same without an answer in it."""
    return rng.choice((b"", b"{}", b"[]", b"null", b'"x"',
                       {"id": message.get("id")},
                       {"id": message.get("id"), "return": {}}))


WAYS = (drop, another_type, many, wrong_id, refusal, twice, events, cut,
        bad_bytes, nested, empty)
