"""`make artwork`: edits pictures of the demo world, writes media/icon.png and media/banner.png.

Both show what the demo model really gives: of several edits those that come nearest to what a
perfect editor would return.
"""

from typing import NamedTuple

import torch
from PIL import Image, ImageDraw, ImageFont

from ..benchmarks.task import Task, edit_task
from ..demo.world import COLOURS, GROUNDS, SHAPES, centres
from .environment import ROOT

WORLDS, SEED, STEPS, SKIP, CFG = 16, 7, 50, 18, 3.0
ICON, CROP = 400, 20  # pixels of the icon, and of the picture that it shows
BANNER, TILE, GAP, MARGIN = (1260, 540), 196, 14, 56
BACK, INK, PALE = "#1b1b1f", "#ffffff", "#a9a9b4"


class Edit(NamedTuple):
    """Pictures of 32 x 32 before and after, the word that changed, and the place of the thing."""

    before: Image.Image
    after: Image.Image
    words: tuple[str, str]
    centre: tuple[float, float]
    ground: int
    error: float


def edits(kind: str, words: tuple[str, ...]) -> list[Edit]:
    """Edits of one attribute, best first."""
    task = edit_task(kind, WORLDS, SEED)
    maps = task.invert(task.x_0, STEPS)
    images = task.vae.decode(task.replay(maps, task.target_prompt, CFG, SKIP))
    scores = task.score(images)
    good = (scores["right"] & scores["kept"]).tolist()
    found = [_edit(task, images, i, kind, words, scores) for i in range(WORLDS) if good[i]]
    return sorted(found, key=lambda edit: edit.error)


def _edit(
    task: Task, images: torch.Tensor, i: int, kind: str, words: tuple[str, ...], scores: dict
) -> Edit:
    source, target = task.edits.source, task.edits.target
    thing = int(task.edits.edited[i].float().argmax())
    before, after = (words[int(getattr(world, kind)[i, thing])] for world in (source, target))
    x, y = centres(source)[i, thing].tolist()
    return Edit(
        _picture(task.source[i]), _picture(images[i]), (before, after), (x, y),
        int(source.ground[i]), -float(scores["ideal"][i]),
    )  # fmt: skip


def _picture(image: torch.Tensor) -> Image.Image:
    return Image.fromarray((image.clamp(0, 1) * 255).round().byte().numpy())


def icon(edit: Edit) -> Image.Image:
    """The thing that changes, cut in two: left as it was, right as it became."""
    left, top = (round(min(max(16 * (1 + x) - CROP / 2, 0), 32 - CROP)) for x in edit.centre)
    box, half = (left, top, left + CROP, top + CROP), ICON // 2
    page, after = (
        picture.crop(box).resize((ICON, ICON), Image.Resampling.NEAREST)
        for picture in (edit.before, edit.after)
    )
    page.paste(after.crop((half, 0, ICON, ICON)), (half, 0))
    ImageDraw.Draw(page).line((half, 0, half, ICON), INK, 6)
    return _rounded(page, 48)


def banner(shown: list[Edit]) -> Image.Image:
    """The name, and pictures above what became of them."""
    page = Image.new("RGB", BANNER, BACK)
    draw = ImageDraw.Draw(page)
    left = BANNER[0] - MARGIN - len(shown) * (TILE + GAP) + GAP
    draw.text((MARGIN, 236), "Imprint", INK, ImageFont.load_default(104), "ls")
    words = "Change words,\nkeep the picture"
    draw.multiline_text((MARGIN, 282), words, PALE, ImageFont.load_default(40))
    for i, edit in enumerate(shown):
        x, y = left + i * (TILE + GAP), (BANNER[1] - 2 * TILE - 56) // 2
        for picture, top in ((edit.before, y), (edit.after, y + TILE + 56)):
            tile = _rounded(picture.resize((TILE, TILE), Image.Resampling.NEAREST), 14)
            page.paste(tile, (x, top), tile)
        _words(draw, edit.words, x + TILE // 2, y + TILE + 28)
    return page


def _words(draw: ImageDraw.ImageDraw, words: tuple[str, str], middle: int, y: int) -> None:
    """Both words around an arrow, which the font lacks."""
    font, arrow = ImageFont.load_default(23), 30
    widths = [draw.textlength(word, font) for word in words]
    x = middle - (sum(widths) + arrow + 20) / 2
    draw.text((x, y), words[0], PALE, font, "lm")
    start = x + widths[0] + 10
    end = start + arrow
    draw.line((start, y, end, y), INK, 3)
    draw.line((end - 8, y - 7, end, y, end - 8, y + 7), INK, 3, joint="curve")
    draw.text((end + 10, y), words[1], INK, font, "lm")


def _rounded(picture: Image.Image, radius: int) -> Image.Image:
    """With round corners, drawn at four times the size, which smoothes them."""
    mask = Image.new("L", (4 * picture.width, 4 * picture.height))
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, *mask.size), 4 * radius, 255)
    picture.putalpha(mask.resize(picture.size, Image.Resampling.LANCZOS))
    return picture


def _best(found: list[Edit], ground: str) -> Edit:
    return next(edit for edit in found if GROUNDS[edit.ground] == ground)


def main() -> None:
    with torch.inference_mode():
        colours, shapes = edits("colour", COLOURS), edits("shape", SHAPES)
    shown = [_best(colours, "grass"), _best(shapes, "sand"), _best(colours, "sky")]
    media = ROOT / "media"
    icon(shown[-1]).save(media / "icon.png", optimize=True)
    banner(shown).save(media / "banner.png", optimize=True)
