"""Graphs through a real server's POST /prompt, as the browser sends them."""

import re
import shutil
import time

import in_host
import pytest
from PIL import Image


def text_node(text: str) -> tuple[str, dict]:
    return "CLIPTextEncode", {"clip": ["model", 1], "text": text}


PROMPTS = {"model": ["model", 0], "negative": ["negative", 0]}
GRAPH = {
    "model": ("ImprintLoadDemoModel", {"prediction": "v"}),
    "file": ("LoadImage", {"image": "imprint_demo.png"}),
    "source": text_node("a red circle on grass"),
    "negative": text_node(""),
    "target": text_node("a blue circle on grass"),
    "encode": ("VAEEncode", {"pixels": ["file", 0], "vae": ["model", 2]}),
    "invert": (
        "ImprintEFDDPMInvert",
        {
            **PROMPTS, "positive": ["source", 0], "latent_image": ["encode", 0], "seed": 0,
            "steps": 10, "cfg": 1.0, "scheduler": "ddim_uniform", "skip_steps": 3, "eta": 1.0,
            "path": "edit_friendly", "batch_timesteps": 1,
        },
    ),
    "sample": (
        "ImprintInvertedSampler",
        {
            **PROMPTS, "positive": ["target", 0], "noise_maps": ["invert", 0], "cfg": 2.0,
            "skip_steps": 0, "residual": 1.0,
        },
    ),
    "decode": ("VAEDecode", {"samples": ["sample", 0], "vae": ["model", 2]}),
    "save": ("SaveImage", {"images": ["decode", 0], "filename_prefix": "edit"}),
}  # fmt: skip


@pytest.fixture
def graph(server):
    """A picture file inverted, edited and saved.

    Values by node and input, as `invert_steps=0`; more nodes as `name=(type, inputs)`.
    """
    shutil.copy(in_host.ROOT / "demo" / "imprint_demo.png", server.input)

    def make(**changes) -> dict:
        more = {name: node for name, node in changes.items() if isinstance(node, tuple)}
        nodes = {key: (kind, dict(inputs)) for key, (kind, inputs) in (GRAPH | more).items()}
        for change in changes.keys() - more.keys():
            name, _, key = change.partition("_")
            nodes[name][1][key] = changes[change]
        return {
            key: {"class_type": kind, "inputs": inputs} for key, (kind, inputs) in nodes.items()
        }

    return make


def saved(server, outputs):
    item = outputs["save"]["images"][0]
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
    assert "invert" in cached
    assert "sample" not in cached


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"invert_skip_steps": 10}, "skip_steps is 10, but of the 10 steps here at least"),
        ({"invert_eta": 0.0}, "use DDIM Invert"),
        ({"invert_steps": 0}, "node invert .* smaller than min"),
        ({"sample_skip_steps": 7}, "skip_steps is 7, but of the 7 steps .* between 0 and 6"),
        ({"sample_noise_maps": ["encode", 0]}, "node sample .*LATENT.*NOISE_MAPS"),
    ],
)
def test_wrong_values_and_wires_are_named(server, graph, changes, message):
    with pytest.raises(RuntimeError, match=message):
        server.run(graph(**changes))


@pytest.fixture
def map_edit(graph):
    """The graph with a Noise Map Edit between inversion and sampler."""

    def make(**inputs):
        edit = "ImprintNoiseMapEdit", {"noise_maps": ["invert", 0], **inputs}
        return graph(edit=edit, sample_noise_maps=["edit", 0])

    return make


@pytest.mark.parametrize(
    "inputs",
    [
        {"operation": "flip", "operation.axis": "horizontal"},
        {"operation": "colour", "operation.target": ["encode", 0], "operation.strength": 0.05},
        {"operation": "mix", "operation.other": ["invert", 0], "operation.amount": 0.5},
    ],
)
def test_operations_run_with_their_settings(server, map_edit, inputs):
    assert saved(server, server.run(map_edit(**inputs))).size == (32, 32)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"operation": "melt"}, r"does not know this operation \(None\): choose shift"),
        ({}, "node edit .*Required input is missing: operation|does not know this"),
        ({"operation": ["word", 0]}, "does not know this operation .*: choose"),
        ({"operation": "flip"}, "node edit .*Required input is missing: axis"),
        ({"operation": "flip", "operation.axis": "diagonal"}, "node edit .*not in list"),
        ({"operation": "gain", "operation.gain": 99}, "node edit .*bigger than max"),
        (
            {"operation": "shift", "operation.x": 0, "operation.y": 0, "operation.fill": "wrap",
             "operation.variation": 0},
            "A shift by 0 x 0 pixels moves nothing",
        ),
    ],
)  # fmt: skip
def test_wrong_operations_are_named(server, map_edit, inputs, message):
    prompt = map_edit(**inputs)
    prompt["word"] = {"class_type": "PrimitiveString", "inputs": {"value": "flip"}}
    with pytest.raises(RuntimeError, match=message):
        server.run(prompt)


def test_saved_maps_are_loaded_by_another_graph(server, graph):
    keep = "ImprintSaveNoiseMaps", {"noise_maps": ["invert", 0], "filename_prefix": "kept/maps"}
    outputs = server.run(graph(keep=keep))
    (item,) = outputs["keep"]["noise_maps"]
    name = f"{item['subfolder']}/{item['filename']} [{item['type']}]"
    table = server.get("/object_info/ImprintLoadNoiseMaps")["ImprintLoadNoiseMaps"]["input"]
    assert name in str(table)
    loaded = server.run(loading(graph, name, save_filename_prefix="loaded"))
    assert saved(server, loaded).tobytes() == saved(server, outputs).tobytes()


def loading(graph, name, **changes):
    load = "ImprintLoadNoiseMaps", {"noise_maps_file": name}
    return graph(load=load, sample_noise_maps=["load", 0], **changes)


def test_a_changed_file_is_refused_and_holds_the_workflow(server, graph):
    keep = "ImprintSaveNoiseMaps", {"noise_maps": ["invert", 0], "filename_prefix": "kept/maps"}
    (item,) = server.run(graph(keep=keep))["keep"]["noise_maps"]
    data = bytearray((server.output / item["subfolder"] / item["filename"]).read_bytes())
    assert b"ImprintEFDDPMInvert" in data[:100_000]
    data[-1] ^= 1
    (server.input / "damaged.safetensors").write_bytes(data)
    with pytest.raises(RuntimeError, match=r"damaged.safetensors was changed after it was saved"):
        server.run(loading(graph, "damaged.safetensors"))


@pytest.mark.parametrize(
    "name", ["../server.log", "../../x.safetensors [output]", "no.safetensors"]
)
def test_files_outside_of_the_folders_are_refused(server, graph, name):
    with pytest.raises(RuntimeError, match=r"node load .*choose one from the list, or upload it"):
        server.run(loading(graph, name))


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
    before = "VAEDecode", {"samples": ["encode", 0], "vae": ["model", 2]}
    check = "ImprintReconstructionCheck", {"reference": ["before", 0], "image": ["decode", 0]}
    nodes = {"before": before, "check": check}
    outputs = server.run(graph(sample_positive=["source", 0], sample_cfg=1.0, **nodes))
    (report,) = outputs["check"]["text"]
    assert "(exact)" in report
    assert float(report.split()[1]) >= 100


TEMPLATES = {path.stem: path for path in (in_host.ROOT / "example_workflows").glob("*.json")}
OF_CHECKPOINTS = [name for name, path in TEMPLATES.items() if "ckpt" in path.read_text("utf-8")]


def test_the_template_of_reconstruction_is_exact(server, tools_server):
    outputs = tools_server.run_workflow(server, TEMPLATES["Check that a picture comes back"])
    assert any("(exact)" in line for output in outputs.values() for line in output.get("text", []))


@pytest.mark.parametrize("name", sorted(OF_CHECKPOINTS))
def test_every_template_of_a_checkpoint_lacks_only_its_file(server, tools_server, name):
    """The conversion checks nodes, inputs and links against the server's node table."""
    shutil.copy(in_host.ROOT / "demo" / "imprint_demo.png", server.input / "example.png")
    with pytest.raises(RuntimeError, match=r"not in") as refusal:
        tools_server.run_workflow(server, TEMPLATES[name])
    assert "ckpt_name" in str(refusal.value)
    assert "Required input is missing" not in str(refusal.value)


def test_every_template_has_a_picture_of_its_own_and_a_line_in_the_readme():
    readme = (in_host.ROOT / "README.md").read_text("utf-8")
    section = readme.partition("## Templates")[2].partition("\n## ")[0]
    assert set(TEMPLATES) == set(re.findall(r"\*\*(.+?)\*\*", section))
    pictures = {path.with_suffix(".jpg").read_bytes() for path in TEMPLATES.values()}
    assert len(pictures) == len(TEMPLATES)


def test_importing_the_pack_is_no_error(server):
    log = server.log.read_text()
    ours = [line for line in log.splitlines() if f"custom_nodes/{in_host.ROOT.name}" in line]
    assert ours
    assert not [line for line in ours if "IMPORT FAILED" in line]
    assert "comfy_entrypoint" not in log
    assert set(server.get("/object_info")) >= {"ImprintEFDDPMInvert", "ImprintDemoImage"}
