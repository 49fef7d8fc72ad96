"""Noise maps in the host's folders: saved, listed, loaded, and nothing outside of them."""

import importlib
import json
from types import SimpleNamespace

import folder_paths
import pytest
import torch
from comfy.cli_args import args
from safetensors import safe_open
from safetensors.torch import save_file


@pytest.fixture(scope="module")
def maps(node, demo):
    with torch.inference_mode():
        prompts = demo.prompt(demo.caption), demo.prompt("")
        arguments = demo.model, *prompts, demo.latent, 0, 10, 1.0, "ddim_uniform", 3
        return node("EFDDPMInvert", *arguments)[0]


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Output and input folders of this test alone."""
    for name in ("output", "input"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(folder_paths, f"{name}_directory", str(tmp_path / name))
    return SimpleNamespace(output=tmp_path / "output", input=tmp_path / "input", root=tmp_path)


@pytest.fixture
def store():
    return importlib.import_module("imprint_pack.nodes.store")


def options(store) -> list[str]:
    return store.LoadNoiseMaps.define_schema().inputs[0].options


def test_saved_maps_are_listed_and_come_back_to_the_last_bit(node, store, folders, maps):
    edited = node("NoiseMapEdit", maps, {"operation": "flip", "axis": "vertical"})[0]
    for bundle in (maps, edited):
        store.SaveNoiseMaps.execute(bundle, "noise_maps/imprint")
    names = [f"noise_maps/imprint_{number:05}_.safetensors [output]" for number in (2, 1)]
    assert options(store) == names
    for name, bundle in zip(names, (edited, maps), strict=True):
        (loaded,) = node("LoadNoiseMaps", name)
        assert loaded.xs.equal(bundle.xs)
        assert loaded.zs.equal(bundle.zs)
        assert loaded[2:] == bundle[2:]
    assert loaded.info["pack"] == store.host.PACK_VERSION


def test_loaded_maps_are_sampled_like_the_saved_ones(node, demo, store, folders, maps):
    store.SaveNoiseMaps.execute(maps, "x")
    (loaded,) = node("LoadNoiseMaps", options(store)[0])
    prompts = demo.prompt("a blue circle on grass"), demo.prompt("")
    one, two = (
        node("InvertedSampler", demo.model, *prompts, m, 1.5, 0)[0]["samples"]
        for m in (maps, loaded)
    )
    assert one.equal(two)


@pytest.mark.parametrize("disabled", [False, True])
def test_workflow_is_embedded_unless_the_host_is_told_not_to(
    store, folders, maps, monkeypatch, disabled
):
    monkeypatch.setattr(args, "disable_metadata", disabled)
    hidden = SimpleNamespace(prompt={"1": {}}, extra_pnginfo={"workflow": {"nodes": [1]}})
    monkeypatch.setattr(store.SaveNoiseMaps, "hidden", hidden)
    store.SaveNoiseMaps.execute(maps, "x")
    with safe_open(folders.output / "x_00001_.safetensors", framework="pt") as file:
        metadata = file.metadata()
    assert ("workflow" in metadata) != disabled
    if not disabled:
        assert json.loads(metadata["workflow"]) == {"nodes": [1]}
        assert json.loads(metadata["prompt"]) == {"1": {}}


@pytest.mark.parametrize("prefix", ["../x", "a/../../x", "/tmp/x", "a\0b"])
def test_names_cannot_leave_the_output_folder(store, folders, maps, prefix):
    with pytest.raises(ValueError, match=r"filename_prefix is .* use a name such as noise_maps/"):
        store.SaveNoiseMaps.execute(maps, prefix)
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
def test_only_files_inside_the_hosts_folders_are_loaded(node, store, folders, maps, name):
    store.write_noise_maps(maps, folders.root / "secret.safetensors", {})
    (folders.input / "link.safetensors").symlink_to(folders.root / "secret.safetensors")
    (folders.input / "folder.safetensors").mkdir()
    (folders.input / "notes.txt").write_text("not maps")
    name = name.format(root=folders.root)
    message = "noise_maps_file is .*choose one from the list, or upload it"
    with pytest.raises(ValueError, match=message):
        node("LoadNoiseMaps", name)
    assert "choose one from the list" in store.LoadNoiseMaps.validate_inputs(name)


def test_uploaded_files_are_listed_and_foreign_ones_refused(node, store, folders, maps):
    (folders.input / "noise_maps").mkdir()
    store.write_noise_maps(maps, folders.input / "noise_maps" / "mine.safetensors", {})
    save_file({"weight": torch.zeros(3)}, folders.input / "model.safetensors")
    (folders.input / "broken.safetensors").symlink_to("nowhere")
    assert options(store) == [
        "broken.safetensors",
        "model.safetensors",
        "noise_maps/mine.safetensors",
    ]
    assert node("LoadNoiseMaps", "noise_maps/mine.safetensors")[0].zs.equal(maps.zs)
    with pytest.raises(ValueError, match=r"model.safetensors holds no noise maps"):
        node("LoadNoiseMaps", "model.safetensors")


def test_a_changed_file_is_loaded_again(store, folders, maps):
    path = folders.input / "a.safetensors"
    store.write_noise_maps(maps, path, {})
    first = store.LoadNoiseMaps.fingerprint_inputs(path.name)
    assert store.LoadNoiseMaps.fingerprint_inputs(path.name) == first
    store.write_noise_maps(maps, path, {"workflow": "{}"})
    assert store.LoadNoiseMaps.fingerprint_inputs(path.name) != first


def test_what_is_no_bundle_is_not_saved(store, folders, demo):
    with pytest.raises(ValueError, match="noise_maps holds a dict: connect"):
        store.SaveNoiseMaps.execute(demo.latent, "x")
