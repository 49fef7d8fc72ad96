"""Ways to damage a safetensors file; each changes `data` in place by a random choice."""

import json
import pickle
import random


def flip_bits(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def flip_header_bits(data: bytearray, rng: random.Random) -> None:
    data[rng.randrange(8 + int.from_bytes(data[:8], "little"))] ^= 1 << rng.randrange(8)


def truncate(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def append(data: bytearray, rng: random.Random) -> None:
    data += rng.randbytes(rng.randrange(1, 99))


def declare_a_header_size(data: bytearray, rng: random.Random) -> None:
    data[:8] = rng.choice((0, 1, 2**20, 2**31, 2**40, 2**63, 2**64 - 1)).to_bytes(8, "little")


def write_nan(data: bytearray, rng: random.Random) -> None:
    start = 8 + int.from_bytes(data[:8], "little")
    place = rng.randrange(start, len(data) - 8) // 4 * 4
    data[place : place + 4] = bytes.fromhex("0000c07f")


def edit_header(data: bytearray, rng: random.Random) -> None:
    """Another key or value somewhere in the header, which stays valid JSON."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    table = header[rng.choice(list(header))] if rng.random() < 0.8 else header
    key = rng.choice(list(table))
    huge = [2**62, 2**62], [2**63 - 1], [0, 2**40], [-1, 5], []
    values = (*huge, "F16", "I64", "BOOL", "", "{}", None, 1e400, "9" * 5000, "[" * 5000, {})
    action = rng.choice(("set", "remove", "add", "rename"))
    if action == "set":
        table[key] = rng.choice(values)
    elif action == "remove":
        del table[key]
    elif action == "rename":
        table[rng.choice(("xs", "zs", "sigmas", "crc32", "other"))] = table.pop(key)
    else:
        table["uncond"] = rng.choice(values)
    text = json.dumps(header).encode()
    data[: 8 + size] = len(text).to_bytes(8, "little") + text


def be_foreign(data: bytearray, rng: random.Random) -> None:
    del data[:]
    data += rng.choice((b"", pickle.dumps(print), b"PK\3\4", b"\x89PNG", rng.randbytes(99)))


KINDS = [
    flip_bits,
    flip_header_bits,
    truncate,
    append,
    declare_a_header_size,
    write_nan,
    edit_header,
    be_foreign,
]
