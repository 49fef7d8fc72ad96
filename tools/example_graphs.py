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
MODEL, CLIP, VAE = ("model", 0), ("model", 1), ("model", 2)
PROMPTS = {"model": MODEL, "negative": ("negative", 0)}
PHOTO_CAPTION = "a photo of a cat sitting on a chair"
PHOTO_EDIT = "a photo of a dog sitting on a chair"


def text(column: int, title: str, words) -> Node:
    return Node(column, "CLIPTextEncode", {"text": words, "clip": CLIP}, title, 130)


def target_prompt(words: str) -> Node:
    return text(2, "Target prompt: what it shall show", words)


def until_inversion(loader: Node, picture: dict[str, Node], caption, negative: str = "") -> dict:
    """What an inversion needs; `picture["image"]` gives the image."""
    return {
        "model": loader,
        **picture,
        "source": text(1, "Source prompt: what the picture shows", caption),
        "negative": text(1, "Negative prompt", negative),
        "encode": Node(1, "VAEEncode", {"pixels": ("image", 0), "vae": VAE}),
    }


def decode(column: int, latent: str, title: str = "", collapsed: bool = False) -> Node:
    inputs = {"samples": (latent, 0), "vae": VAE}
    return Node(column, "VAEDecode", inputs, title, collapsed=collapsed)


def round_trip() -> Node:
    return decode(3, "encode", "VAE round trip of the picture")


def sampler(
    column: int, maps: str, prompt: tuple, title: str, *, cfg: float, residual: float = 1.0
) -> Node:
    replay = {"noise_maps": (maps, 0), "skip_steps": 0, "residual": residual}
    inputs = {**PROMPTS, **replay, "positive": prompt, "cfg": cfg}
    return Node(column, "ImprintInvertedSampler", inputs, title)


def measured(column: int, name: str, reference: str, question: str) -> dict[str, Node]:
    """How far the picture `name` is from the picture `reference`."""
    pictures = {"reference": (reference, 0), "image": (name, 0)}
    check = f"{name}_check"
    return {
        check: Node(column, "ImprintReconstructionCheck", pictures, height=330),
        f"{name}_report": Node(column, "PreviewAny", {"source": (check, 1)}, question, 110),
    }


def side_by_side(column: int, row: list[str], title: str, *, scale: bool) -> dict[str, Node]:
    """The pictures `row` side by side in one file."""
    graph = {}
    look = {"match_image_size": True, "spacing_width": 2 if scale else 16, "spacing_color": "white"}
    shown = row[0]
    for name in row[1:]:
        images = {"image1": (shown, 0), "image2": (name, 0), "direction": "right"}
        shown = f"{name}_row"
        graph[shown] = Node(column - 1, "ImageStitch", {**images, **look}, collapsed=True)
    if scale:
        inputs = {"image": (shown, 0), "upscale_method": "nearest-exact", "scale_by": 8.0}
        shown = "large"
        graph[shown] = Node(column, "ImageScaleBy", inputs)
    inputs = {"images": (shown, 0), "filename_prefix": "imprint/edit"}
    return graph | {"save": Node(column, "SaveImage", inputs, title, 300)}


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
    `materials`: other noise maps, and the prompt to sample them under.
    """
    graph = until_inversion(loader, picture, caption, negative)
    graph["invert"] = ef_ddpm_invert("source", "encode", invert)
    graph["reference"] = round_trip()
    title = "Reconstruction: source prompt, same cfg"
    graph["replay"] = sampler(3, "invert", SOURCE, title, cfg=invert["cfg"])
    graph["reconstruction"] = decode(4, "replay")
    graph |= measured(5, "reconstruction", "reference", "How exact is it?")
    row = ["reference", "reconstruction"]
    for i, words in enumerate(edits):
        graph[f"target{i}"] = target_prompt(words)
        graph[f"sample{i}"] = sampler(3, "invert", (f"target{i}", 0), "Edit", **edit)
        graph[f"edit{i}"] = decode(4, f"sample{i}")
        row.append(f"edit{i}")
    for name, (node, prompt) in (materials or {}).items():
        graph[name] = node
        graph[f"sample_{name}"] = sampler(4, name, prompt, node.title, cfg=invert["cfg"])
        graph[f"edit_{name}"] = decode(4, f"sample_{name}", collapsed=True)
        row.append(f"edit_{name}")
    title = "source | reconstruction | edits" if row[2:] else "source | reconstruction"
    return graph | side_by_side(6, row, title, scale=scale)


def ef_ddpm_invert(prompt: str, latent: str, settings: dict) -> Node:
    inputs = {
        **PROMPTS,
        "positive": (prompt, 0),
        "latent_image": (latent, 0),
        "scheduler": "ddim_uniform",
        "seed": 0,
        "eta": 1.0,
        "path": "edit_friendly",
        "batch_timesteps": 1,
    }
    return Node(2, "ImprintEFDDPMInvert", inputs | settings)


def checkpoint(name: str, url: str) -> Node:
    models = ({"name": name, "url": url, "directory": "checkpoints"},)
    return Node(0, "CheckpointLoaderSimple", {"ckpt_name": name}, models=models)


SD15 = checkpoint(
    "v1-5-pruned-emaonly-fp16.safetensors",
    ""
    "https://huggingface.co/Comfy-Org/stable-diffusion-v1-5-archive/resolve/main/v1-5-pruned-emaonly-fp16.safetensors",
)
SDXL = checkpoint(
    "sd_xl_base_1.0.safetensors",
    ""
    "https://huggingface.co/stabilityai/stable-diffusion-xl-base-1.0/resolve/main/sd_xl_base_1.0.safetensors",
)


def photo(megapixels: float) -> dict[str, Node]:
    """The user's own picture."""
    size = {"upscale_method": "lanczos", "megapixels": megapixels, "resolution_steps": 64}
    inputs = {"image": ("file", 0), **size}
    return {
        "file": Node(0, "LoadImage", {"image": "example.png"}, "Your picture", 330),
        "image": Node(0, "ImageScaleToTotalPixels", inputs, "The model's own size"),
    }


def stable_diffusion(loader: Node, *, megapixels: float) -> dict:
    """The paper's settings on a downloaded checkpoint and the user's own picture."""
    return edit_graph(
        loader,
        photo(megapixels),
        PHOTO_CAPTION,
        negative="",
        invert={"steps": 100, "cfg": 3.5, "skip_steps": 36},
        edit={"cfg": 15.0},
        edits=[PHOTO_EDIT],
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
        "target": Node(1, "VAEEncode", {"pixels": ("blue", 0), "vae": VAE}),
    }


def second_picture() -> dict[str, Node]:
    settings = {"shape": "square", "colour": "yellow", "ground": "sand", "variation": 5}
    return {
        "second": Node(0, "ImprintDemoImage", settings, "The second picture"),
        "second_source": text(1, "What the second picture shows", ("second", 1)),
        "both": text(1, "The first colour in the second picture", "a red square on sand"),
        "second_encode": Node(1, "VAEEncode", {"pixels": ("second", 0), "vae": VAE}),
        "second_invert": ef_ddpm_invert("second_source", "second_encode", DEMO["invert"]),
    }


def saved_graph() -> dict:
    """The demo picture out of a saved file instead of an inversion."""
    graph = demo_graph(edits=DEMO["edits"][:1])
    name = "noise_maps/demo_00001_.safetensors [output]"
    return graph | {"invert": Node(2, "ImprintLoadNoiseMaps", {"noise_maps_file": name})}
