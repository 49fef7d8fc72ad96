"""Writes example_workflows/*.json: `python3 tools/write_examples.py`."""

import json
import sys

from example_graphs import (
    DEMO,
    DEMO_IMAGE,
    DEMO_MODEL,
    SD15,
    SDXL,
    SOURCE,
    demo_graph,
    edit_graph,
    flat_colour,
    map_edit,
    saved_graph,
    second_picture,
    stable_diffusion,
)
from host import ROOT, set_up
from null_text_graphs import DDIM_EXAMPLES
from server import serve
from workflow_page import Node, Note, Page

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

SHIFT = {"y": 0, "variation": 3}
SHIFT_NOTE = Note(
    0,
    "Move a picture in its noise maps",
    "**Noise Map Edit** moves the noise maps, and **Inverted Sampler** draws the picture again at "
    "its new place: it invents what comes into view, and mends the edges.\n\nTry: `x` and `y` are "
    "in pixels, whole latent cells (1 pixel here, 8 in Stable Diffusion); `fill` says what the "
    "empty edge starts from; a target prompt instead of the source prompt edits and moves at once.",
    250,
)
COLOUR_NOTE = Note(
    0,
    "Push a colour, keep the texture",
    "At each step, `colour` moves the noise map by a little of what separates the picture from the "
    "*target*, a flat colour through VAE Encode. The texture lives on.\n\nFrom left: all over, "
    "stronger, and only inside the object's mask.\n\nTry another colour in EmptyImage, or a "
    "picture in its place. 0.05 is the paper's strength for 100 steps; here are 36.",
    280,
)
MIX_NOTE = Note(
    0,
    "Mix two pictures",
    "Both pictures are inverted with the same settings. `mix` goes from the first (0) to the "
    "second (1); the prompt decides what to see in it.\n\nFrom left: half and half under the first "
    "prompt, under the second, and under a prompt that takes something of both.",
    240,
)
SAVE_NOTE = Note(
    0,
    "Save noise maps",
    "Press Run: the noise maps are written to `output/noise_maps/`, with everything that a replay "
    "must know, and this workflow.\n\nThen open *demo_noise_maps_2_load*.",
    200,
)
LOAD_NOTE = Note(
    0,
    "Load noise maps",
    "Run *demo_noise_maps_1_save* first; then this one edits from its file, without inverting "
    "again.\n\nA file from somebody else goes into the input folder: the button of **Load Noise "
    "Maps** puts it there.",
    220,
)
INSPECT_NOTE = Note(
    0,
    "Look at noise maps",
    "Above: the maps of an edit-friendly inversion. They are strong, neighbours oppose each other, "
    "and the picture is imprinted in them.\n\nBelow: a picture that was sampled, with its own "
    "maps. They are white noise: variance 1, neighbours independent.",
    230,
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
    "demo_shift": (
        SHIFT_NOTE,
        demo_graph(
            materials={
                "right": (map_edit("Shift", "shift", x=8, fill="reflect", **SHIFT), SOURCE),
                "left": (map_edit("Shift and wrap", "shift", x=-8, fill="wrap", **SHIFT), SOURCE),
                "flip": (map_edit("Flip", "flip", axis="horizontal"), SOURCE),
            }
        ),
    ),
    "demo_colour": (
        COLOUR_NOTE,
        demo_graph(
            flat_colour(0x1A1AFF),
            materials={
                name: (map_edit(title, "colour", mask, target=("target", 0), strength=s), SOURCE)
                for name, title, mask, s in (
                    ("soft", "Colour all over", None, 0.05),
                    ("strong", "Colour more", None, 0.1),
                    ("inside", "Colour the object", ("image", 2), 0.2),
                )
            },
        ),
    ),
    "demo_mix": (
        MIX_NOTE,
        demo_graph(
            second_picture(),
            materials={
                prompt: (
                    map_edit("Half and half", "mix", other=("second_invert", 0), amount=0.5),
                    (prompt_node, 0),
                )
                for prompt, prompt_node in (
                    ("first_words", "source"),
                    ("second_words", "second_source"),
                    ("both_words", "both"),
                )
            },
        ),
    ),
    "demo_noise_maps_1_save": (
        SAVE_NOTE,
        demo_graph()
        | {
            "keep": Node(
                3,
                "ImprintSaveNoiseMaps",
                {"noise_maps": ("invert", 0), "filename_prefix": "noise_maps/demo"},
            )
        },
    ),
    "demo_noise_maps_2_load": (LOAD_NOTE, saved_graph()),
    "demo_inspect": (
        INSPECT_NOTE,
        demo_graph()
        | {
            "inspect": Node(
                7,
                "ImprintInspectNoiseMaps",
                {"noise_maps": ("invert", 0)},
                "Edit-friendly maps",
                520,
            ),
            "record": Node(
                2,
                "ImprintRecordDDPM",
                {
                    "model": ("model", 0),
                    "positive": ("source", 0),
                    "negative": ("negative", 0),
                    "latent_image": ("encode", 0),
                    "seed": 0,
                    "steps": 50,
                    "cfg": 1.0,
                    "scheduler": "ddim_uniform",
                    "eta": 1.0,
                },
            ),
            "inspect_recorded": Node(
                7,
                "ImprintInspectNoiseMaps",
                {"noise_maps": ("record", 0)},
                "Recorded maps",
                520,
            ),
        },
    ),
    "sd15_edit_friendly_edit": (SD_NOTE, stable_diffusion(SD15, megapixels=0.25)),
    "sdxl_edit_friendly_edit": (SD_NOTE, stable_diffusion(SDXL, megapixels=1.0)),
    **DDIM_EXAMPLES,
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
