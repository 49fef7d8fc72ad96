"""Writes example_workflows/*.json: `python3 tools/write_examples.py`."""

import json
import sys

from host import ROOT, set_up
from server import serve
from workflow_page import Node, Note, Page


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
) -> dict:
    """One inversion, replayed under the source prompt and under each edit; `picture["image"]` gives
    the image.
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
        "source | reconstruction | edits",
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
DEMO_NOTE = Note(
    0,
    "Edit a picture by its prompt",
    "Press Run: nothing to download.\n\n**EF-DDPM Invert** turns the picture into noise maps "
    "under its *source prompt*. **Inverted Sampler** plays them back: under the source prompt "
    "you get the picture itself, under a *target prompt* an edit of it.\n\nTry: change one word "
    "of a target prompt (red green blue yellow purple white; circle square triangle cross; "
    "grass sky sand night). More `skip_steps` stays closer to the picture, more `cfg` follows "
    "the prompt harder, another `seed` gives another edit.\n\nReconstruction Check compares "
    "with the VAE round trip of the picture.",
    330,
)
DEMO_FILE_NOTE = DEMO_NOTE._replace(
    title="Edit a picture file by its prompt",
    text=DEMO_NOTE.text.replace(
        "Press Run: nothing to download.",
        "Choose a picture of the demo world in **Load Image** (32 x 32 pixels; `make demo` puts "
        "`imprint_demo.png` there), and say what it shows in the source prompt.",
    ),
)
SD_NOTE = Note(
    0,
    "Edit a photo by its prompt",
    "1. Load a photo, and describe it in the *source prompt*.\n2. Change words in the *target "
    "prompt*.\n3. Run.\n\nThe settings are those of the paper (Huberman-Spiegelglas et al. "
    "2024): 100 steps, skip 36, cfg 3.5 for the inversion, 15 for the edit.\n\nThe edit changes "
    "too little: lower `skip_steps` of EF-DDPM Invert (down to 20). Too much: raise it (up to "
    "45), or lower the edit's `cfg` (down to 7). Faster: `cfg` 1 in the inversion halves its "
    "cost, 50 steps with skip 18 halve everything.\n\nReconstruction Check compares with the "
    "VAE round trip of the photo, since inversion works on the latent.",
    400,
)

EXAMPLES = {
    "demo_edit_friendly_edit": (
        DEMO_NOTE,
        edit_graph(DEMO_MODEL, {"image": DEMO_IMAGE}, ("image", 1), **DEMO),
    ),
    "demo_edit_friendly_edit_file": (
        DEMO_FILE_NOTE,
        edit_graph(
            DEMO_MODEL,
            {"image": Node(0, "LoadImage", {"image": "imprint_demo.png"}, "Your picture", 330)},
            "a red circle on grass",
            **DEMO,
        ),
    ),
    "sd15_edit_friendly_edit": (
        SD_NOTE,
        stable_diffusion(
            "v1-5-pruned-emaonly-fp16.safetensors",
            ""
            "https://huggingface.co/Comfy-Org/stable-diffusion-v1-5-archive/resolve/main/v1-5-pruned-emaonly-fp16.safetensors",
            megapixels=0.25,
        ),
    ),
    "sdxl_edit_friendly_edit": (
        SD_NOTE,
        stable_diffusion(
            "sd_xl_base_1.0.safetensors",
            ""
            "https://huggingface.co/stabilityai/stable-diffusion-xl-base-1.0/resolve/main/sd_xl_base_1.0.safetensors",
            megapixels=1.0,
        ),
    ),
}


def main() -> None:
    folder = ROOT / "example_workflows"
    with serve(set_up()) as server:
        for name, (note, graph) in EXAMPLES.items():
            workflow = Page(server, note, graph).workflow()
            (folder / f"{name}.json").write_text(json.dumps(workflow, indent=1) + "\n")
            print(name)


if __name__ == "__main__":
    try:
        main()
    except RuntimeError as error:
        sys.exit(str(error))
