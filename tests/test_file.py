"""Bundles on disk: bit for bit, whole or refused."""

import json
import random
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
import torch
from damage import KINDS
from imprint_pack.inversion.file import read_noise_maps, write_noise_maps
from imprint_pack.inversion.noise_maps import NoiseMaps
from imprint_pack.inversion.schedule import Schedule
from problems import normal, same
from safetensors import safe_open
from safetensors.torch import save_file

MUTATIONS = 10_000


def bundle(**changes) -> NoiseMaps:
    xs, zs = (normal(n, 2, 3, 4, 5, seed=n, dtype=torch.float32) for n in (4, 3))
    info = {"method": "EF-DDPM", "seed": 2**60, "edits": ["flip ⇄", "gain 0.1"]}
    settings = {"skipped": 36, "latent_format": "SD15", "cfg": 3.5, "info": info}
    settings["unit_roundoff"] = 2.0**-8
    schedule = Schedule((9.1, 2 / 3, 0.1, 0.0), False, 0.3)
    return NoiseMaps(xs, zs, schedule, **settings).replace(**changes)


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "maps.safetensors"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"schedule": Schedule((1.0, 2 / 3, 0.1, 0.0), True, 1.0), "cfg": None},
        {"uncond": torch.rand(3, 2, 5, 4), "uncond_pooled": torch.rand(2, 4)},
    ],
    ids=["settings", "flow", "null text"],
)
def test_saved_and_loaded_is_the_same_to_the_last_bit(path, changes):
    maps = bundle(**changes)
    write_noise_maps(maps, path, {"workflow": '{"nodes": []}', "version": "not ours"})
    assert same(read_noise_maps(path), maps)
    assert list(path.parent.iterdir()) == [path]


def test_what_is_given_beside_the_maps_is_in_the_file(path):
    write_noise_maps(bundle(), path, {"workflow": '{"nodes": []}', "eta": "not ours"})
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    assert metadata["workflow"] == '{"nodes": []}'
    assert (metadata["format"], metadata["version"]) == ("imprint.noise_maps", "1")
    assert metadata["eta"] == "0.3"


def test_loaded_maps_do_not_follow_the_file(path):
    write_noise_maps(bundle(), path, {})
    maps = read_noise_maps(path)
    path.write_bytes(bytes(path.stat().st_size))
    assert same(maps, bundle())


def test_a_failed_save_leaves_the_old_file_and_nothing_else(path):
    write_noise_maps(bundle(), path, {})
    with pytest.raises(TypeError):
        write_noise_maps(bundle(skipped=1), path, {"workflow": 3})
    assert same(read_noise_maps(path), bundle())
    assert list(path.parent.iterdir()) == [path]


def test_a_damaged_file_is_refused_or_still_the_bundle(path):
    maps = bundle(uncond=normal(3, 2, 2, 4, dtype=torch.float32))
    write_noise_maps(maps, path, {"workflow": '{"nodes": []}'})
    valid, rng, refusals = path.read_bytes(), random.Random(0), []
    for number in range(MUTATIONS):
        data = bytearray(valid)
        KINDS[number % len(KINDS)](data, rng)
        path.unlink()  # to write over a file waits for the disk
        path.write_bytes(data)
        try:
            assert same(read_noise_maps(path), maps), KINDS[number % len(KINDS)]
        except ValueError as error:
            refusals.append(str(error))
    assert len(refusals) > 0.9 * MUTATIONS
    assert all(path.name in refusal for refusal in refusals)


def declared(**changes) -> tuple[dict, dict]:
    """Tensors and metadata of a file that somebody else might write; None leaves one out."""
    maps = bundle()
    tensors = {"xs": maps.xs, "zs": maps.zs}
    tensors["sigmas"] = torch.tensor(maps.schedule.sigmas, dtype=torch.float64)
    metadata = {"format": "imprint.noise_maps", "version": "1", "crc32": "0", "info": "{}"}
    metadata |= {"eta": "1.0", "flow": "false", "skipped": "0", "cfg": "1", "latent_format": "SD15"}
    metadata |= {"unit_roundoff": "0.00390625"}
    for name, value in changes.items():
        (tensors if isinstance(value, torch.Tensor) else metadata)[name] = value
    return tensors, {name: value for name, value in metadata.items() if value is not None}


def checksum(tensors, metadata) -> str:
    """As the format has it: the settings in their order, then each tensor's name, shape, bytes."""
    order = "eta", "flow", "skipped", "latent_format", "cfg", "info", "unit_roundoff"
    total = zlib.crc32(json.dumps([metadata[name] for name in order]).encode())
    for name in sorted(tensors):
        total = zlib.crc32(f"{name} {list(tensors[name].shape)}".encode(), total)
        total = zlib.crc32(tensors[name].numpy().tobytes(), total)
    return f"{total:08x}"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "pt"}, "maps.safetensors does not hold noise maps: choose a file that Save No"),
        ({"version": "2"}, "has version 2 of the file format, .* reads version 1: update Imprint"),
        ({"xs": torch.zeros(4, 2, 3, 4, 5).half()}, r"\(missing or of another type: xs\): save it"),
        ({"weight": torch.zeros(2)}, r"\(missing or of another type: weight\)"),
        ({"cfg": None, "crc32": None}, r"\(missing or of another type: cfg, crc32\)"),
        ({"workflow": " " * 2**24}, "claims to have a header of .* bytes, which is too long"),
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
    with pytest.raises(ValueError, match="does not hold noise maps"):
        read_noise_maps(path)


def test_half_a_file_is_named(path):
    write_noise_maps(bundle(), path, {})
    path.write_bytes(path.read_bytes()[:-100])
    message = r"maps.safetensors is not a complete safetensors file \(.*\): copy or save it again"
    with pytest.raises(ValueError, match=message):
        read_noise_maps(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sigmas": torch.tensor([9.0, 2.0, 3.0, 0.0]).double()}, "goes from 2 to 3"),
        ({"sigmas": torch.tensor([9.0, 2.0, 0.0]).double()}, "for 2 steps, which do not belong"),
        ({"eta": "7.0"}, "eta is 7, but must lie between 0 and 1"),
        (
            {"xs": torch.full((4, 2, 3, 4, 5), float("nan"))},
            "at step 0 of the latents",
        ),
        ({"uncond": torch.zeros(2, 1, 4, 4)}, "does not hold one embedding for each of 3 steps"),
        ({"unit_roundoff": "nan"}, "unit roundoff is nan, but no precision rounds by that: invert"),
        ({"cfg": '"high"'}, "has settings that cannot be read: choose a file that Save Noise"),
        ({"info": '["cfg"]'}, "has settings that cannot be read"),
        ({"info": "[" * 99_999}, "has settings that cannot be read"),
        ({"skipped": "many"}, "has settings that cannot be read"),
        ({"flow": "3"}, "has settings that cannot be read"),
    ],
)
def test_a_whole_file_with_wrong_values_is_named(path, changes, message):
    tensors, metadata = declared(**changes)
    save_file(tensors, path, metadata | {"crc32": checksum(tensors, metadata)})
    with pytest.raises(ValueError, match=message):
        read_noise_maps(path)


def test_a_file_as_the_format_describes_it_is_read(path):
    tensors, metadata = declared()
    save_file(tensors, path, metadata | {"crc32": checksum(tensors, metadata)})
    schedule = Schedule(bundle().schedule.sigmas, False, 1.0)
    assert same(read_noise_maps(path), bundle(schedule=schedule, skipped=0, cfg=1, info={}))


SAVING = """
import sys
from pathlib import Path
sys.path.insert(0, {tools!r})
import in_host
in_host.load_pack()
from imprint_pack.inversion import file
save = file.save_file
def save_half(tensors, path, metadata):
    save(tensors, path, metadata)
    with open(path, "r+b") as partial:
        partial.truncate(path.stat().st_size // 2)
    print("half", flush=True)
    sys.stdin.read()
file.save_file = save_half
file.write_noise_maps(file.read_noise_maps(Path({source!r})), Path({target!r}), {{}})
"""


def test_a_save_killed_halfway_leaves_the_old_file(path, tmp_path):
    target = tmp_path / "target.safetensors"
    write_noise_maps(bundle(), path, {})
    write_noise_maps(bundle(skipped=1), target, {})
    paths = {"source": str(path), "target": str(target)}
    script = SAVING.format(tools=str(Path(__file__).parents[1] / "tools"), **paths)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", script], **pipes) as process:
        assert process.stdout.readline().strip() == b"half"
        process.kill()
    (partial,) = set(tmp_path.iterdir()) - {path, target}
    assert partial.stat().st_size < path.stat().st_size  # the kill hit a save that had begun
    assert same(read_noise_maps(target), bundle(skipped=1))
