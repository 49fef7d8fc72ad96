"""Noise maps in the host's folders: saved, listed, loaded, and nothing outside of them."""

import importlib
import json
from types import SimpleNamespace

import folder_paths
import pytest
import torch
from comfy.cli_args import args
from imprint_pack.inversion.file import write_noise_maps
from problems import same
from safetensors import safe_open
from safetensors.torch import save_file


@pytest.fixture(scope="module")
def maps(node, demo):
    given = {"latent_image": demo.latent, "steps": 10, "cfg": 1.0, "skip_steps": 3}
    with torch.inference_mode():
        return node("EFDDPMInvert", **demo.source, **given)[0]


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Output and input folders of this test alone."""
    for name in ("output", "input"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(folder_paths, f"{name}_directory", str(tmp_path / name))
    return SimpleNamespace(output=tmp_path / "output", input=tmp_path / "input", root=tmp_path)


@pytest.fixture
def save(node, maps):
    def run(prefix="x", maps=maps):
        return node("SaveNoiseMaps", noise_maps=maps, filename_prefix=prefix)

    return run


@pytest.fixture
def load(node):
    return lambda name: node("LoadNoiseMaps", noise_maps_file=name)[0]


@pytest.fixture
def listed(nodes_by_id):
    return lambda: nodes_by_id["LoadNoiseMaps"].define_schema().inputs[0].options


def test_saved_maps_are_listed_and_come_back_to_the_last_bit(
    node, folders, maps, save, load, listed
):
    (edited,) = node("NoiseMapEdit", noise_maps=maps, operation="flip")
    save("noise_maps/imprint")
    save("noise_maps/imprint", edited)
    names = [f"noise_maps/imprint_{number:05}_.safetensors [output]" for number in (2, 1)]
    assert listed() == names
    assert same(load(names[0]), edited)
    assert same(load(names[1]), maps)
    sampling = importlib.import_module("imprint_pack.nodes._host.sampling")
    assert load(names[0]).info["pack"] == sampling.PACK_VERSION


def test_loaded_maps_are_sampled_like_the_saved_ones(node, demo, folders, maps, save, load, listed):
    save()
    saved, loaded = (
        node("InvertedSampler", **demo.target, noise_maps=m, cfg=1.5)[0]["samples"]
        for m in (maps, load(*listed()))
    )
    assert saved.equal(loaded)


@pytest.mark.parametrize("disabled", [False, True])
def test_workflow_is_embedded_unless_the_host_is_told_not_to(
    nodes_by_id, folders, save, monkeypatch, disabled
):
    monkeypatch.setattr(args, "disable_metadata", disabled)
    hidden = SimpleNamespace(prompt={"1": {}}, extra_pnginfo={"workflow": {"nodes": [1]}})
    monkeypatch.setattr(nodes_by_id["SaveNoiseMaps"], "hidden", hidden)
    save()
    with safe_open(folders.output / "x_00001_.safetensors", framework="pt") as file:
        metadata = file.metadata()
    embedded = {"workflow": {"nodes": [1]}, "prompt": {"1": {}}}
    found = {key: json.loads(metadata[key]) for key in embedded.keys() & metadata.keys()}
    assert found == ({} if disabled else embedded)


@pytest.mark.parametrize("prefix", ["../x", "a/../../x", "/tmp/x", "a\0b"])
def test_names_cannot_leave_the_output_folder(folders, save, prefix):
    message = r"filename_prefix is .* lies outside .*: use a name such as noise_maps/imprint"
    with pytest.raises(ValueError, match=message):
        save(prefix)
    assert [path for path in folders.root.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    "name",
    [
        "../secret.safetensors",
        "../secret.safetensors [output]",
        "a/../../secret.safetensors",
        "{root}/secret.safetensors",
        "{root}/secret.safetensors [output]",
        "link.safetensors",
        "no_such.safetensors",
        "folder.safetensors",
        "notes.txt",
        "",
        "a\0b.safetensors",
        "x" * 5000 + ".safetensors",
    ],
)
def test_only_files_inside_the_hosts_folders_are_loaded(nodes_by_id, load, folders, maps, name):
    write_noise_maps(maps, folders.root / "secret.safetensors", {})
    (folders.input / "link.safetensors").symlink_to(folders.root / "secret.safetensors")
    (folders.input / "folder.safetensors").mkdir()
    (folders.input / "notes.txt").write_text("not maps")
    name = name.format(root=folders.root)
    message = "noise_maps_file is .*choose one from the list, or upload it"
    with pytest.raises(ValueError, match=message):
        load(name)
    assert nodes_by_id["LoadNoiseMaps"].validate_inputs(name) is True  # `execute` says it better


def test_uploaded_files_are_listed_and_foreign_ones_refused(load, listed, folders, maps):
    (folders.input / "noise_maps").mkdir()
    write_noise_maps(maps, folders.input / "noise_maps" / "mine.safetensors", {})
    save_file({"weight": torch.zeros(3)}, folders.input / "model.safetensors")
    (folders.input / "broken.safetensors").symlink_to("nowhere")
    mine = "noise_maps/mine.safetensors"
    assert listed() == ["broken.safetensors", "model.safetensors", mine]
    assert same(load(mine), maps)
    with pytest.raises(ValueError, match=r"model.safetensors does not hold noise maps: choose a"):
        load("model.safetensors")


def test_a_changed_file_is_loaded_again(nodes_by_id, folders, maps):
    path, fingerprint = folders.input / "a.safetensors", nodes_by_id["LoadNoiseMaps"]
    write_noise_maps(maps, path, {})
    first = fingerprint.fingerprint_inputs(path.name)
    assert fingerprint.fingerprint_inputs(path.name) == first
    write_noise_maps(maps, path, {"workflow": "{}"})
    assert fingerprint.fingerprint_inputs(path.name) != first
