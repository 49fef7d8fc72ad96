"""Graphs through a real server's POST /prompt, as the browser sends them."""

import json
import re
import shutil
import time

import in_host
import pytest
from PIL import Image

PROMPTS = {"model": ["1", 0], "negative": ["4", 0]}
REPLAY = {"noise_maps": ["7", 0], "cfg": 2.0, "skip_steps": 0, "residual": 1.0}
INVERT = {
    "latent_image": ["6", 0],
    "seed": 0,
    "steps": 10,
    "cfg": 1.0,
    "scheduler": "ddim_uniform",
    "skip_steps": 3,
    "eta": 1.0,
    "path": "edit_friendly",
    "batch_timesteps": 1,
}
NODES = {
    "model": ("1", "ImprintLoadDemoModel", {"prediction": "v"}),
    "file": ("2", "LoadImage", {"image": "imprint_demo.png"}),
    "source": ("3", "CLIPTextEncode", {"clip": ["1", 1], "text": "a red circle on grass"}),
    "negative": ("4", "CLIPTextEncode", {"clip": ["1", 1], "text": ""}),
    "target": ("5", "CLIPTextEncode", {"clip": ["1", 1], "text": "a blue circle on grass"}),
    "encode": ("6", "VAEEncode", {"pixels": ["2", 0], "vae": ["1", 2]}),
    "invert": ("7", "ImprintEFDDPMInvert", {**PROMPTS, **INVERT, "positive": ["3", 0]}),
    "sample": ("8", "ImprintInvertedSampler", {**PROMPTS, **REPLAY, "positive": ["5", 0]}),
    "decode": ("9", "VAEDecode", {"samples": ["8", 0], "vae": ["1", 2]}),
    "save": ("10", "SaveImage", {"images": ["9", 0], "filename_prefix": "edit"}),
}


@pytest.fixture
def graph(server):
    """A picture file inverted, edited and saved; other values by name, such as invert_steps=0."""
    shutil.copy(in_host.ROOT / "demo" / "imprint_demo.png", server.input)

    def make(**changes):
        nodes = {key: (number, kind, {**given}) for key, (number, kind, given) in NODES.items()}
        for change, value in changes.items():
            node, _, name = change.partition("_")
            nodes[node][2][name] = value
        return {key: {"class_type": kind, "inputs": inputs} for key, kind, inputs in nodes.values()}

    return make


def saved(server, outputs):
    item = outputs["10"]["images"][0]
    return Image.open(server.output / item["subfolder"] / item["filename"]).convert("RGB")


def test_edits_a_picture_file_and_again_identically(server, graph):
    first = saved(server, server.run(graph()))
    source = Image.open(in_host.ROOT / "demo" / "imprint_demo.png")
    assert first.size == source.size
    assert first.tobytes() != source.convert("RGB").tobytes()
    server.post("/free", {"unload_models": True, "free_memory": True})
    assert saved(server, server.run(graph())).tobytes() == first.tobytes()


def test_second_edit_does_not_invert_again(server, graph):
    server.run(graph(invert_seed=7))
    entry = server.wait(server.submit(graph(invert_seed=7, target_text="a white circle on grass")))
    cached = dict(entry["status"]["messages"])["execution_cached"]["nodes"]
    assert "7" in cached
    assert "8" not in cached


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"invert_skip_steps": 10},
            "skip_steps is 10, but of the 10 steps .* set it between 0 and 9",
        ),
        ({"invert_eta": 0.0}, "use DDIM Invert"),
        ({"invert_steps": 0}, "node 7 .* smaller than min"),
        ({"sample_skip_steps": 7}, "skip_steps is 7, but of the 7 steps .* set it between 0 and 6"),
        ({"sample_noise_maps": ["6", 0]}, "node 8 .*LATENT.*NOISE_MAPS"),
    ],
)
def test_wrong_values_and_wires_are_named(server, graph, changes, message):
    with pytest.raises(RuntimeError, match=message):
        server.run(graph(**changes))


@pytest.fixture
def map_edit(graph):
    """The graph with a Noise Map Edit between inversion and sampler."""

    def make(**inputs):
        prompt = graph(sample_noise_maps=["11", 0])
        inputs = {"noise_maps": ["7", 0], **inputs}
        return prompt | {"11": {"class_type": "ImprintNoiseMapEdit", "inputs": inputs}}

    return make


@pytest.mark.parametrize(
    "inputs",
    [
        {"operation": "flip", "operation.axis": "horizontal"},
        {"operation": "colour", "operation.target": ["6", 0], "operation.strength": 0.05},
        {"operation": "mix", "operation.other": ["7", 0], "operation.amount": 0.5},
    ],
)
def test_operations_run_with_their_settings(server, map_edit, inputs):
    assert saved(server, server.run(map_edit(**inputs))).size == (32, 32)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"operation": "melt"}, r"does not know this operation \(None\): choose shift"),
        ({}, "node 11 .*Required input is missing: operation|does not know this"),
        ({"operation": ["12", 0]}, "does not know this operation .*: choose"),
        ({"operation": "flip"}, "node 11 .*Required input is missing: axis"),
        ({"operation": "flip", "operation.axis": "diagonal"}, "node 11 .*not in list"),
        ({"operation": "gain", "operation.gain": 99}, "node 11 .*bigger than max"),
        (
            {"operation": "shift", "operation.x": 0, "operation.y": 0, "operation.fill": "wrap",
             "operation.variation": 0},
            "A shift by 0 x 0 pixels moves nothing",
        ),
    ],
)  # fmt: skip
def test_wrong_operations_are_named(server, map_edit, inputs, message):
    prompt = map_edit(**inputs)
    prompt["12"] = {"class_type": "PrimitiveString", "inputs": {"value": "flip"}}
    with pytest.raises(RuntimeError, match=message):
        server.run(prompt)


def test_saved_maps_are_loaded_by_another_graph(server, graph):
    prompt = graph()
    expected = saved(server, server.run(prompt))
    save = {"noise_maps": ["7", 0], "filename_prefix": "kept/maps"}
    prompt["11"] = {"class_type": "ImprintSaveNoiseMaps", "inputs": save}
    (item,) = server.run(prompt)["11"]["noise_maps"]
    name = f"{item['subfolder']}/{item['filename']} [{item['type']}]"
    table = server.get("/object_info/ImprintLoadNoiseMaps")["ImprintLoadNoiseMaps"]["input"]
    assert name in str(table)
    load = {"class_type": "ImprintLoadNoiseMaps", "inputs": {"noise_maps_file": name}}
    loading = graph(sample_noise_maps=["12", 0], save_filename_prefix="loaded") | {"12": load}
    assert saved(server, server.run(loading)).tobytes() == expected.tobytes()
    data = bytearray((server.output / item["subfolder"] / item["filename"]).read_bytes())
    assert b"ImprintEFDDPMInvert" in data[:100_000]  # the workflow
    data[-1] ^= 1
    (server.input / "damaged.safetensors").write_bytes(data)
    loading["12"]["inputs"]["noise_maps_file"] = "damaged.safetensors"
    with pytest.raises(RuntimeError, match=r"damaged.safetensors was changed after it was saved"):
        server.run(loading)


@pytest.mark.parametrize(
    "name", ["../server.log", "../../x.safetensors [output]", "no.safetensors"]
)
def test_files_outside_of_the_folders_are_refused(server, graph, name):
    load = {"class_type": "ImprintLoadNoiseMaps", "inputs": {"noise_maps_file": name}}
    with pytest.raises(RuntimeError, match=r"node 12 .*choose one from the list, or upload it"):
        server.run(graph(sample_noise_maps=["12", 0]) | {"12": load})


def test_interrupt_ends_an_inversion_and_the_next_prompt_works(server, graph):
    before = saved(server, server.run(graph(invert_seed=1)))
    long = server.submit(graph(invert_seed=2, invert_steps=1000, invert_skip_steps=0))
    while not server.get("/queue")["queue_running"]:
        time.sleep(0.02)
    server.post("/interrupt")
    entry = server.wait(long)
    assert entry["status"]["status_str"] == "error"
    assert entry["status"]["messages"][-1][0] == "execution_interrupted"
    server.post("/free", {"unload_models": True, "free_memory": True})
    assert saved(server, server.run(graph(invert_seed=1))).tobytes() == before.tobytes()


def test_reconstruction_is_exact_on_the_server(server, graph):
    prompt = graph(sample_positive=["3", 0], sample_cfg=1.0)
    prompt["11"] = {"class_type": "VAEDecode", "inputs": {"samples": ["6", 0], "vae": ["1", 2]}}
    prompt["12"] = {
        "class_type": "ImprintReconstructionCheck",
        "inputs": {"reference": ["11", 0], "image": ["9", 0]},
    }
    report = server.run(prompt)["12"]["text"][0]
    assert "(exact)" in report
    assert float(report.split()[1]) >= 100


def test_every_example_runs_or_fits_the_servers_node_table(server, tools_server, examples):
    """Where a checkpoint must be downloaded, the conversion checks nodes, inputs and links; the
    server then names nothing but the missing file."""
    shutil.copy(in_host.ROOT / "demo" / "imprint_demo.png", server.input)
    for path in examples:
        prompt = tools_server.to_prompt(server, json.loads(path.read_text()))
        if path.name.startswith("demo_"):
            outputs = server.run(prompt)
            assert any(
                "(exact)" in line for output in outputs.values() for line in output.get("text", [])
            )
        else:
            with pytest.raises(RuntimeError, match=r"not in") as refusal:
                server.run(prompt)
            assert "ckpt_name" in str(refusal.value)
            assert "Required input is missing" not in str(refusal.value)


def test_every_example_has_a_picture_of_its_own_and_a_line_in_the_readme(examples):
    readme = (in_host.ROOT / "README.md").read_text()
    listed = set(re.findall(r"\*\*((?:demo|sd15|sdxl|null_text)_\w+)\*\*", readme))
    assert {path.stem for path in examples} == listed
    pictures = [path.with_suffix(".jpg").read_bytes() for path in examples]
    assert len(set(pictures)) == len(listed)


def test_importing_the_pack_is_no_error(server):
    log = server.log.read_text()
    ours = [line for line in log.splitlines() if f"custom_nodes/{in_host.ROOT.name}" in line]
    assert ours
    assert not [line for line in ours if "IMPORT FAILED" in line]
    assert "comfy_entrypoint" not in log
    assert set(server.get("/object_info")) >= {"ImprintEFDDPMInvert", "ImprintDemoImage"}
