"""What the codec costs, against its peers, in one run.

The work is an `apply_request` with three buffers of 1 KiB under a key. The peers are `jupyter_client.session.Session`
with its JSON packer, and *bare*: the least that Python code can do with msgspec and a precomputed HMAC, without
checking or keeping anything. All contenders take turns in short rounds, so that a busy machine slows them alike;
the medians of the rounds are compared. A ratio above 1 says that ippkit is the faster one.

    python benchmarks/codec.py [--rounds N] [--json FILE]

The exit status says nothing about speed.
"""

import argparse
import hashlib
import json
import platform
import statistics
import time
import tracemalloc
import warnings
from collections.abc import Callable, Sequence
from hmac import compare_digest
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
from jupyter_client import session as jupyter
from rich.console import Console
from rich.table import Table

from protocol.messages import read
from protocol.wire import DELIMITER, Codec, Frame, Message

KEY = b"5f0c2b1e-9d3a7c6b5e4f3a2b1c0d9e8f"
SCHEME = "hmac-sha256"
BATCH = 200
BIG = 64 << 20

#: Budgets of the project: how many times as fast as the peer at least.
BUDGETS = {("encode", "session"): 6.0, ("encode", "bare"): 0.7, ("decode", "session"): 4.0, ("decode", "bare"): 0.6}


def header(number: int) -> dict[str, Any]:
    """The header of the request with this number, as ipyparallel writes it."""
    session = "5f0c2b1e-9d3a7c6b5e4f3a2b1c0d9e8f"
    return {
        "msg_id": f"{session}_4711_{number}",
        "msg_type": "apply_request",
        "username": "username",
        "session": session,
        "date": f"2010-07-12T12:00:00.{number:06}Z",
        "version": "5.4",
    }


METADATA: dict[str, Any] = {
    "after": [], "follow": [], "timeout": None, "targets": [], "retries": 0, "label": None,
}  # fmt: skip
BUFFERS = [bytes([n]) * 1024 for n in range(3)]
IDENTITIES = [b"5f0c2b1e-9d3a7c6b5e4f3a2b1c0d9e8f"]

Work = Callable[[], None]
Bare = tuple[Callable[[dict[str, Any]], list[Frame]], Callable[[Sequence[Frame]], dict[str, Any]]]


def bare_codec() -> Bare:
    """Encode and decode as one would write them for this message alone."""
    block = KEY.ljust(64, b"\0")
    inner = hashlib.sha256(bytes(octet ^ 0x36 for octet in block)).copy
    outer = hashlib.sha256(bytes(octet ^ 0x5C for octet in block)).copy
    pack = msgspec.json.Encoder().encode
    unpack = msgspec.json.Decoder(dict[str, Any]).decode

    def sign(data: bytes) -> bytes:
        first = inner()
        first.update(data)
        second = outer()
        second.update(first.digest())
        return second.hexdigest().encode()

    def encode(message: dict[str, Any]) -> list[Frame]:
        parts = [
            pack(message["header"]),
            pack(message["parent_header"]),
            pack(message["metadata"]),
            pack(message["content"]),
        ]
        return [*IDENTITIES, DELIMITER, sign(b"".join(parts)), *parts, *message["buffers"]]

    def decode(frames: Sequence[Frame]) -> dict[str, Any]:
        at = frames.index(DELIMITER)
        parts = frames[at + 2 : at + 6]
        if not compare_digest(sign(b"".join(parts)), frames[at + 1]):
            raise ValueError("signature")
        return {
            "identities": frames[:at],
            "header": unpack(parts[0]),
            "parent_header": unpack(parts[1]),
            "metadata": unpack(parts[2]),
            "content": unpack(parts[3]),
            "buffers": frames[at + 6 :],
        }

    return encode, decode


def contenders() -> dict[tuple[str, str], Work]:
    """One round of work for everyone: the same messages, all of them different."""
    dictionaries: list[dict[str, Any]] = [
        {"header": header(n), "parent_header": {}, "metadata": METADATA, "content": {}, "buffers": BUFFERS}
        for n in range(BATCH)
    ]
    messages = [Message(header(n), metadata=METADATA, buffers=BUFFERS, identities=IDENTITIES) for n in range(BATCH)]
    codec = Codec(KEY, scheme=SCHEME)
    frames: list[Any] = [codec.encode(message) for message in messages]
    session = jupyter.Session(key=KEY, packer="json", signature_scheme=SCHEME, digest_history_size=0)
    bare_encode, bare_decode = bare_codec()
    for message, ours in zip(dictionaries, frames, strict=True):
        assert bare_encode(message) == ours
        assert bare_decode(ours)["header"] == message["header"]
        assert session.deserialize(session.serialize(message, IDENTITIES)[2:])["metadata"] == METADATA
    assert read(codec, frames[0], "task").message == messages[0]

    def session_encode() -> None:
        for message in dictionaries:
            sent = session.serialize(message, IDENTITIES)
            sent.extend(message["buffers"])

    def session_decode() -> None:
        # feed_identities and deserialize are what Session.recv does with the frames of a socket.
        for received in frames:
            _, parts = session.feed_identities(received)
            session.deserialize(parts)

    def our_encode() -> None:
        for message in messages:
            codec.encode(message)

    def our_decode() -> None:
        for received in frames:
            read(codec, received, "task")

    def plain_encode() -> None:
        for message in dictionaries:
            bare_encode(message)

    def plain_decode() -> None:
        for received in frames:
            bare_decode(received)

    return {
        ("encode", "ippkit"): our_encode,
        ("encode", "session"): session_encode,
        ("encode", "bare"): plain_encode,
        ("decode", "ippkit"): our_decode,
        ("decode", "session"): session_decode,
        ("decode", "bare"): plain_decode,
    }


def measure(rounds: int) -> dict[tuple[str, str], float]:
    """The median nanoseconds per message of every contender."""
    # Session turns dates into objects while it reads, which is half of its time and no part of the comparison.
    with mock.patch.object(jupyter, "extract_dates", lambda value: value):
        works = contenders()
        times: dict[tuple[str, str], list[int]] = {name: [] for name in works}
        for number in range(rounds + 3):
            for name, work in works.items():
                started = time.perf_counter_ns()
                work()
                elapsed = time.perf_counter_ns() - started
                if number >= 3:  # the first rounds warm caches
                    times[name].append(elapsed)
    return {name: statistics.median(values) / BATCH for name, values in times.items()}


def big_buffer_copies() -> int:
    """How many times 64 MiB of buffer are copied on the way out and in again: the memory taken, in buffers."""
    codec = Codec(KEY)
    memory = bytearray(BIG)
    message = Message(header(0), metadata=METADATA, buffers=[b"", b"", memoryview(memory)])
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        received = read(codec, codec.encode(message), "task").message
        forwarded = codec.forward(received, [b"engine"])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    memory[-1] = 7  # the last buffer of the chain shows what the first memory holds
    shared = received.buffers[-1][-1] == 7 and forwarded[-1] is received.buffers[-1]
    taken = peak - before
    assert shared or taken >= BIG
    return 0 if shared and taken < BIG // 64 else max(1, round(taken / BIG))


def report(medians: dict[tuple[str, str], float], copies: int) -> dict[str, Any]:
    """The figures as they are written to a file: `{"work", "versions", "median_ns", "ratios", "copies_of_64_mib"}`."""
    return {
        "work": "apply_request, 3 buffers of 1 KiB, " + SCHEME,
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("msgspec", "jupyter_client")},
        },
        "median_ns": {f"{task} {name}": round(value) for (task, name), value in medians.items()},
        "ratios": [
            {
                "work": task,
                "against": peer,
                "ratio": round(medians[task, peer] / medians[task, "ippkit"], 3),
                "budget": budget,
                "kept": medians[task, peer] / medians[task, "ippkit"] >= budget,
            }
            for (task, peer), budget in BUDGETS.items()
        ],
        "copies_of_64_mib": {"copies": copies, "budget": 0, "kept": copies == 0},
    }


def show(result: dict[str, Any]) -> None:
    """Print the report as a table."""
    names = {"encode": "encode and sign", "decode": "verify, decode and validate"}
    peers = {"session": 'Session(packer="json"), dates off', "bare": "bare msgspec + HMAC"}
    table = Table(title=result["work"])
    for column in ("work", "against", "ippkit", "peer", "ratio", "budget", ""):
        table.add_column(column, justify="left" if column in ("work", "against") else "right")
    for row in result["ratios"]:
        ours, theirs = (result["median_ns"][f"{row['work']} {who}"] / 1000 for who in ("ippkit", row["against"]))
        table.add_row(
            names[row["work"]], peers[row["against"]], f"{ours:.2f} us", f"{theirs:.2f} us", f"{row['ratio']:.2f}",
            f">= {row['budget']}", "kept" if row["kept"] else "MISSED",
        )  # fmt: skip
    copies = result["copies_of_64_mib"]
    table.add_row(
        "64 MiB buffer: copies", "", str(copies["copies"]), "", "", "0", "kept" if copies["kept"] else "MISSED"
    )
    Console().print(table)


def main() -> None:
    """The command line."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("--rounds", type=int, default=60, help=f"rounds of {BATCH} messages per contender")
    arguments.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    chosen = arguments.parse_args()
    if chosen.rounds < 1:
        arguments.error("--rounds: at least one round is needed")
    warnings.simplefilter("ignore")
    result = report(measure(chosen.rounds), big_buffer_copies())
    show(result)
    if chosen.json:
        chosen.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
