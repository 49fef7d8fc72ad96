"""`python -m tools.help_pictures`: cuts the pictures of the help pages out of those in media/.

They are small enough for the host's help panel and for the pack's archive.
"""

from collections.abc import Iterator

from PIL import Image

from .environment import ROOT

FOLDER = ROOT / "js" / "docs" / "pictures"
SIDE, GAP = 128, 8  # pixels: a picture in a strip, and between pictures
# A row of the sheet for each input, and the world that shows it best; source and four values.
_FRACTIONS = [
    ("cross_replace", 3),
    ("self_replace", 3),
    ("features", 3),
    ("self_attention", 3),
    ("first_step", 2),
    ("first_layer", 0),
    ("amount", 3),
]
_IN_ROW = (0, 128, 256, 384, 512)
# By name of a strip: where in media/ its pictures lie, as left, top and side.
STRIPS = {
    "edit": ("demo.png", [(0, 0, 256), (272, 0, 256), (544, 0, 256)]),
    "null_text": ("null_text.png", [(896, 0, 128), (896, 384, 128), (896, 896, 128)]),
    "attention_map": ("attention_map.png", [(128, y, 128) for y in (0, 128, 256)]),
    **{
        name: ("attention_fractions.png", [(640 * world + x, 128 * row, 128) for x in _IN_ROW])
        for row, (name, world) in enumerate(_FRACTIONS)
    },
    "noise_map_edit": ("noise_space_pictures.png", [(512, y, 128) for y in (0, 256, 896, 1024)]),
}


def strips() -> Iterator[tuple[str, Image.Image]]:
    """Each strip by its name."""
    for name, (source, squares) in STRIPS.items():
        whole = Image.open(ROOT / "media" / source).convert("RGB")
        width = len(squares) * (SIDE + GAP) - GAP
        strip = Image.new("RGBA", (width, SIDE))  # gaps show the ground of light and dark pages
        for i, (left, top, side) in enumerate(squares):
            square = whole.crop((left, top, left + side, top + side))
            strip.paste(
                square.resize((SIDE, SIDE), Image.Resampling.NEAREST), (i * (SIDE + GAP), 0)
            )
        yield name, strip


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, strip in strips():
        strip.save(FOLDER / f"{name}.png", optimize=True)
        print(name)


if __name__ == "__main__":
    main()
