"""The graphs of example_workflows/, of which `workflow_page` makes files."""

from workflow_page import Node

# benchmarks/editing.py finds the best edits of the demo model at cfg 1 to 2: it saturates early.
DEMO = {
    "negative": "",
    "invert": {"seed": 1, "steps": 50, "cfg": 1.0, "skip_steps": 14},
    "edit": {"cfg": 1.5},
    "edits": ["a blue circle on grass", "a red square on grass", "a red circle on night"],
    "scale": True,
}
DEMO_MODEL = Node(0, "ImprintLoadDemoModel", {"prediction": "v"})
DEMO_IMAGE = Node(
    0, "ImprintDemoImage", {"shape": "circle", "colour": "red", "ground": "grass", "variation": 2}
)
ALL_STEPS = {"first_step": 0, "last_step": -1}
SOURCE = ("source", 0)


def text(column: int, title: str, clip: tuple, words) -> Node:
    return Node(column, "CLIPTextEncode", {"text": words, "clip": clip}, title, 130)


def edit_graph(
    loader: Node,
    picture: dict[str, Node],
    caption,
    *,
    negative: str,
    invert: dict,
    edit: dict,
    edits: list[str],
    scale: bool,
    materials: dict[str, tuple[Node, tuple]] | None = None,
) -> dict:
    """One inversion, replayed under the source prompt, under each edit, and with each of
    `materials`: other noise maps, and the prompt to sample them under. `picture["image"]` gives the
    image.
    """
    model, clip, vae = ("model", 0), ("model", 1), ("model", 2)
    graph: dict = {"model": loader, **picture}
    graph["source"] = text(1, "Source prompt: what the picture shows", clip, caption)
    graph["negative"] = text(1, "Negative prompt", clip, negative)
    graph["encode"] = Node(1, "VAEEncode", {"pixels": ("image", 0), "vae": vae})
    prompts = {"model": model, "negative": ("negative", 0)}
    graph["invert"] = Node(
        2,
        "ImprintEFDDPMInvert",
        {
            **prompts,
            "positive": ("source", 0),
            "latent_image": ("encode", 0),
            "seed": 0,
            **invert,
            "scheduler": "ddim_uniform",
            "eta": 1.0,
            "path": "edit_friendly",
            "batch_timesteps": 1,
        },
    )
    replay = {"noise_maps": ("invert", 0), "skip_steps": 0, "residual": 1.0}
    graph["reference"] = Node(
        3, "VAEDecode", {"samples": ("encode", 0), "vae": vae}, "VAE round trip of the picture"
    )
    graph["replay"] = Node(
        3,
        "ImprintInvertedSampler",
        {**prompts, **replay, "positive": ("source", 0), "cfg": invert["cfg"]},
        "Reconstruction: source prompt, same cfg",
    )
    graph["reconstruction"] = Node(4, "VAEDecode", {"samples": ("replay", 0), "vae": vae})
    graph["check"] = Node(
        5,
        "ImprintReconstructionCheck",
        {"reference": ("reference", 0), "image": ("reconstruction", 0)},
        height=330,
    )
    graph["report"] = Node(5, "PreviewAny", {"source": ("check", 1)}, "How exact is it?", 110)
    row = [("reference", 0), ("reconstruction", 0)]
    for i, words in enumerate(edits):
        graph[f"target{i}"] = text(2, "Target prompt: what it shall show", clip, words)
        graph[f"sample{i}"] = Node(
            3,
            "ImprintInvertedSampler",
            {**prompts, **replay, "positive": (f"target{i}", 0), **edit},
            "Edit",
        )
        graph[f"edit{i}"] = Node(4, "VAEDecode", {"samples": (f"sample{i}", 0), "vae": vae})
        row.append((f"edit{i}", 0))
    for name, (node, prompt) in (materials or {}).items():
        graph[name] = node
        sampled = {"noise_maps": (name, 0), "positive": prompt, "cfg": invert["cfg"]}
        graph[f"sample_{name}"] = Node(
            4, "ImprintInvertedSampler", {**prompts, **replay, **sampled}, node.title
        )
        graph[f"edit_{name}"] = Node(
            4, "VAEDecode", {"samples": (f"sample_{name}", 0), "vae": vae}, collapsed=True
        )
        row.append((f"edit_{name}", 0))
    for i, (left, right) in enumerate(
        zip([row[0], *((f"row{i}", 0) for i in range(len(row)))], row[1:], strict=False)
    ):
        graph[f"row{i}"] = Node(
            5,
            "ImageStitch",
            {
                "image1": left,
                "image2": right,
                "direction": "right",
                "match_image_size": True,
                "spacing_width": 2 if scale else 16,
                "spacing_color": "white",
            },
            collapsed=True,
        )
    shown = (f"row{len(row) - 2}", 0)
    if scale:
        graph["large"] = Node(
            6, "ImageScaleBy", {"image": shown, "upscale_method": "nearest-exact", "scale_by": 8.0}
        )
        shown = ("large", 0)
    graph["save"] = Node(
        6,
        "SaveImage",
        {"images": shown, "filename_prefix": "imprint/edit"},
        "source | reconstruction | edits" if row[2:] else "source | reconstruction",
        300,
    )
    return graph


def stable_diffusion(name: str, url: str, *, megapixels: float) -> dict:
    """The paper's settings on a downloaded checkpoint and the user's own picture."""
    checkpoint = {"name": name, "url": url, "directory": "checkpoints"}
    return edit_graph(
        Node(0, "CheckpointLoaderSimple", {"ckpt_name": name}, models=(checkpoint,)),
        {
            "file": Node(0, "LoadImage", {"image": "example.png"}, "Your picture", 330),
            "image": Node(
                0,
                "ImageScaleToTotalPixels",
                {
                    "image": ("file", 0),
                    "upscale_method": "lanczos",
                    "megapixels": megapixels,
                    "resolution_steps": 64,
                },
                "The model's own size",
            ),
        },
        "a photo of a cat sitting on a chair",
        negative="",
        invert={"steps": 100, "cfg": 3.5, "skip_steps": 36},
        edit={"cfg": 15.0},
        edits=["a photo of a dog sitting on a chair"],
        scale=False,
    )


def map_edit(title: str, operation: str, mask: tuple | None = None, **settings) -> Node:
    inputs = {f"operation.{key}": value for key, value in settings.items()}
    inputs |= {"noise_maps": ("invert", 0), "operation": operation, **ALL_STEPS}
    inputs |= {} if mask is None else {"mask": mask}
    return Node(3, "ImprintNoiseMapEdit", inputs, title)


def demo_graph(extra: dict[str, Node] | None = None, **changes) -> dict:
    """The demo picture with other edits; `extra` nodes stand before the inversion."""
    picture = {"image": DEMO_IMAGE, **(extra or {})}
    return edit_graph(DEMO_MODEL, picture, ("image", 1), **DEMO | {"edits": []} | changes)


def flat_colour(rgb: int) -> dict[str, Node]:
    size = {"width": 32, "height": 32, "batch_size": 1}
    return {
        "blue": Node(1, "EmptyImage", {**size, "color": rgb}, "The colour to push to"),
        "target": Node(1, "VAEEncode", {"pixels": ("blue", 0), "vae": ("model", 2)}),
    }


def second_picture() -> dict[str, Node]:
    settings = {"shape": "square", "colour": "yellow", "ground": "sand", "variation": 5}
    clip = ("model", 1)
    sampling = {"scheduler": "ddim_uniform", "eta": 1.0, "path": "edit_friendly"}
    return {
        "second": Node(0, "ImprintDemoImage", settings, "The second picture"),
        "second_source": text(1, "What the second picture shows", clip, ("second", 1)),
        "both": text(1, "The first colour in the second picture", clip, "a red square on sand"),
        "second_encode": Node(1, "VAEEncode", {"pixels": ("second", 0), "vae": ("model", 2)}),
        "second_invert": Node(
            2,
            "ImprintEFDDPMInvert",
            {
                "model": ("model", 0),
                "positive": ("second_source", 0),
                "negative": ("negative", 0),
                "latent_image": ("second_encode", 0),
                **DEMO["invert"],
                **sampling,
                "batch_timesteps": 1,
            },
        ),
    }


def saved_graph() -> dict:
    """The demo picture out of a saved file instead of an inversion."""
    graph = demo_graph(edits=DEMO["edits"][:1])
    name = "noise_maps/demo_00001_.safetensors [output]"
    return graph | {"invert": Node(2, "ImprintLoadNoiseMaps", {"noise_maps_file": name})}
