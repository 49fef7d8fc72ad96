"""What nodes show of a run, also of one that comes from the cache."""

import pytest

WIRES = {"model": ["model", 0], "positive": ["caption", 0], "negative": ["empty", 0]}
INVERTED = {
    "model": ("ImprintLoadDemoModel", {"prediction": "v"}),
    "image": ("ImprintDemoImage", {"variation": 3, "shape": "circle", "colour": "red"}),
    "caption": ("CLIPTextEncode", {"clip": ["model", 1], "text": "a red circle on grass"}),
    "empty": ("CLIPTextEncode", {"clip": ["model", 1], "text": ""}),
    "encoded": ("VAEEncode", {"pixels": ["image", 0], "vae": ["model", 2]}),
    "decoded": ("VAEDecode", {"samples": ["sampled", 0], "vae": ["model", 2]}),
    "check": ("ImprintReconstructionCheck", {"reference": ["image", 0], "image": ["decoded", 0]}),
}


def prompt(server, **nodes) -> dict:
    """A prompt in API format; what is not given has its default."""
    info = server.get("/object_info")
    filled = {}
    for name, (kind, values) in {**INVERTED, **nodes}.items():
        known = [*info[kind]["input"]["required"].items()]
        defaults = {key: default(spec) for key, spec in known if default(spec) is not None}
        filled[name] = {"class_type": kind, "inputs": {**defaults, **values}}
    return filled


def default(spec: list):
    settings = spec[1] if len(spec) > 1 else {}
    options = spec[0] if isinstance(spec[0], list) else settings.get("options")
    first = options[0] if options and isinstance(options[0], str) else None
    return settings.get("default", first)


INVERT = {**WIRES, "latent_image": ["encoded", 0], "steps": 4, "cfg": 1.0}
SHIFT = {"operation": "shift", "operation.x": 4, "operation.y": 0, "operation.fill": "wrap"}
FAST = {"method": "fast", "method.inner_steps": 1, "method.learning_rate": 0.05}
EDITED = {"noise_maps": ["inverted", 0], **SHIFT, "operation.variation": 0}
FITTED = {**WIRES, "noise_maps": ["inverted", 0], "cfg": 3.0, **FAST}


def sampled(source: str, cfg: float) -> tuple[str, dict]:
    return "ImprintInvertedSampler", {**WIRES, "noise_maps": [source, 0], "cfg": cfg}


WAYS = {
    "edit": {
        "inverted": ("ImprintEFDDPMInvert", {**INVERT, "skip_steps": 0}),
        "edited": ("ImprintNoiseMapEdit", EDITED),
        "sampled": sampled("edited", 1.0),
        "look": ("ImprintInspectNoiseMaps", {"noise_maps": ["edited", 0]}),
    },
    "null text": {
        "inverted": ("ImprintDDIMInvert", INVERT),
        "fitted": ("ImprintNullTextOptimize", FITTED),
        "sampled": sampled("fitted", 3.0),
    },
}


@pytest.fixture(scope="module")
def shown(server):
    """The outputs of a run and of the same one from the cache, of two ways to the picture."""
    asked = {way: prompt(server, **nodes) for way, nodes in WAYS.items()}
    return {way: [server.run(graph) for _ in range(2)] for way, graph in asked.items()}


@pytest.mark.parametrize(
    ("way", "name", "kind"),
    [
        ("edit", "look", "images"),
        ("edit", "look", "imprint_steps"),
        ("edit", "edited", "imprint_picture"),
        ("edit", "check", "images"),
        ("edit", "check", "text"),
        ("null text", "fitted", "images"),
    ],
)
def test_cached_runs_show_what_fresh_runs_show(shown, way, name, kind):
    fresh, cached = shown[way]
    assert fresh[name][kind]
    assert cached[name][kind] == fresh[name][kind]


def test_the_picture_of_an_edit_comes_with_its_size_and_cells(shown, server):
    (picture,) = shown["edit"][0]["edited"]["imprint_picture"]
    assert picture["size"] == [32, 32]
    assert picture["cell"] == 1
    assert server.image(picture["file"]).startswith(b"\x89PNG")
