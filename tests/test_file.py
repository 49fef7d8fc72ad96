"""Bundles on disk: bit for bit, whole or refused."""

import json
import pickle
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from imprint_pack.inversion import NoiseMaps, read_noise_maps, write_noise_maps
from problems import normal
from safetensors.torch import save_file

MUTATIONS = 10_000


def bundle(**changes) -> NoiseMaps:
    xs, zs = (normal(n, 2, 3, 4, 5, seed=n, dtype=torch.float32) for n in (4, 3))
    info = {"method": "EF-DDPM", "cfg": 3.5, "seed": 2**60, "edits": ["flip ⇄", "gain 0.1"]}
    return NoiseMaps(xs, zs, (9.1, 2 / 3, 0.1, 0.0), 0.3, False, 36, info)._replace(**changes)


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "maps.safetensors"


def same(found: NoiseMaps, expected: NoiseMaps) -> bool:
    return all(
        a.equal(b) and a.dtype == b.dtype if isinstance(a, torch.Tensor) else a == b
        for a, b in zip(found, expected, strict=True)
    )


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"flow": True, "sigmas": (1.0, 2 / 3, 0.1, 0.0), "eta": 1.0},
        {"uncond": torch.rand(3, 2, 5, 4), "uncond_pooled": torch.rand(2, 4)},
    ],
)
def test_saved_and_loaded_is_the_same_to_the_last_bit(path, changes):
    maps = bundle(**changes)
    write_noise_maps(maps, path, {"workflow": '{"nodes": []}', "version": "not ours"})
    assert same(read_noise_maps(path), maps)
    assert list(path.parent.iterdir()) == [path]


def test_loaded_maps_do_not_follow_the_file(path):
    write_noise_maps(bundle(), path, {})
    maps = read_noise_maps(path)
    path.write_bytes(bytes(path.stat().st_size))
    assert same(maps, bundle())


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


def test_a_damaged_file_is_refused_or_still_the_bundle(path):
    maps = bundle(uncond=normal(3, 2, 2, 4, dtype=torch.float32))
    write_noise_maps(maps, path, {"workflow": '{"nodes": []}'})
    valid, rng, refusals = path.read_bytes(), random.Random(0), []
    for number in range(MUTATIONS):
        data = bytearray(valid)
        KINDS[number % len(KINDS)](data, rng)
        path.write_bytes(data)
        try:
            assert same(read_noise_maps(path), maps), KINDS[number % len(KINDS)]
        except ValueError as error:
            refusals.append(str(error))
    assert len(refusals) > 0.9 * MUTATIONS
    assert all(path.name in refusal for refusal in refusals)


def declared(**changes) -> tuple[dict, dict]:
    """Tensors and metadata of a file that somebody else might write."""
    maps = bundle()
    tensors = {"xs": maps.xs, "zs": maps.zs, "sigmas": torch.tensor(maps.sigmas).double()}
    metadata = {"format": "imprint.noise_maps", "version": "1", "crc32": "0", "info": "{}"}
    metadata |= {"eta": "1.0", "flow": "false", "skipped": "0"}
    for name, value in changes.items():
        (tensors if isinstance(value, torch.Tensor) else metadata)[name] = value
    return tensors, metadata


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "pt"}, "maps.safetensors holds no noise maps: choose a file that Save Noise"),
        ({"version": "2"}, "is of version 2 of the file format, .* reads version 1: update Impri"),
        ({"xs": torch.zeros(4, 2, 3, 4, 5).half()}, r"made of \(xs\): save it again"),
        ({"weight": torch.zeros(2)}, r"made of \(weight\)"),
        ({"workflow": " " * 2**24}, "declares a header of .* bytes, which noise maps do not"),
        ({}, "was changed after it was saved: copy or save it again"),
    ],
)
def test_what_a_file_declares_wrongly_is_named(path, changes, message):
    tensors, metadata = declared(**changes)
    save_file(tensors, path, metadata)
    with pytest.raises(ValueError, match=message):
        read_noise_maps(path)


def test_file_of_another_program_is_named(path):
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match="holds no noise maps"):
        read_noise_maps(path)


def test_half_a_file_is_named(path):
    write_noise_maps(bundle(), path, {})
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"maps.safetensors is no whole safetensors file \(.*copy"):
        read_noise_maps(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sigmas": (9.0, 2.0, 3.0, 0.0)}, "goes from 2 to 3"),
        ({"sigmas": (9.0, 2.0, 0.0)}, "for 2 steps, which do not belong together"),
        ({"eta": 7.0}, "eta is 7, not in 0 to 1"),
        ({"xs": torch.full((4, 2, 3, 4, 5), float("nan"))}, "latents are not finite at step 0"),
        ({"uncond": torch.zeros(2, 1, 4, 4)}, "not one for each of 3 steps"),
        ({"info": {"cfg": "high"}}, "has settings that cannot be read: choose a file"),
        ({"info": {"edits": "all"}}, "has settings that cannot be read"),
        ({"info": ["cfg"]}, "has settings that cannot be read"),
        ({"skipped": "many"}, "has settings that cannot be read"),
        ({"flow": 3}, "has settings that cannot be read"),
    ],
)
def test_a_whole_file_with_wrong_values_is_named(path, changes, message):
    write_noise_maps(bundle(**changes), path, {})
    with pytest.raises(ValueError, match=message):
        read_noise_maps(path)


SAVING = """
import sys
from pathlib import Path
sys.path.insert(0, {tools!r})
import in_host
in_host.load_pack()
from imprint_pack.inversion import read_noise_maps, write_noise_maps
maps = read_noise_maps(Path({source!r}))
print("ready", flush=True)
while True:
    write_noise_maps(maps, Path({target!r}), {{}})
"""


def test_a_killed_save_leaves_no_wrong_file(path, tmp_path):
    large = bundle(
        xs=normal(4, 2, 3, 400, 500, dtype=torch.float32),
        zs=normal(3, 2, 3, 400, 500, dtype=torch.float32),
    )
    folder, tools = tmp_path / "saved", Path(__file__).parents[1] / "tools"
    folder.mkdir()
    target = folder / "target.safetensors"
    for file in (path, target):
        write_noise_maps(large, file, {})
    script = SAVING.format(tools=str(tools), source=str(path), target=str(target))

    def unfinished() -> list[Path]:
        return [file for file in folder.iterdir() if file != target]

    hits = 0
    for delay in (0, 0.005, 0.02):
        with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            deadline = time.monotonic() + 20
            while not unfinished() and time.monotonic() < deadline:
                pass
            time.sleep(delay)
            process.kill()
        hits += bool(unfinished())
        for file in unfinished():
            file.unlink()
        assert same(read_noise_maps(target), large)
    assert hits, "no kill came while a file was being written"
