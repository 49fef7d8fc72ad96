"""`make thumbnails`: runs the templates on a real server and writes example_workflows/*.jpg.

The template browser shows squares: the template's name above, below the pictures before and after
the edit. A template that needs a checkpoint shows its graph instead.
"""

import json
import shutil
import sys
import textwrap
from io import BytesIO
from itertools import groupby

from PIL import Image, ImageDraw, ImageFont, ImageOps

from .client import Server
from .environment import ROOT
from .host import set_up
from .server import serve, to_prompt

SIDE, BAND, GAP = 640, 76, 10  # pixels: the square, its top with the name, between pictures
BACK, BOX, EDGE, INK = "#202024", "#3a3a42", "#8a8a96", "#ffffff"
LINKS = {"MODEL": "#b39ddb", "CONDITIONING": "#ffa931", "LATENT": "#ff9cf9", "IMAGE": "#64b5f6"}
# Whose pictures a template is about, best first.
SHOWN = ("ImageCompare", "ImprintInspectNoiseMaps", "SaveImage", "ImprintReconstructionCheck")


def made_pictures(server: Server, workflow: dict) -> list[Image.Image]:
    """Before and after, where the template compares them; else what it shows."""
    kinds = {str(node["id"]): node["type"] for node in workflow["nodes"]}
    outputs = server.run(to_prompt(server, workflow))
    best = min(
        (SHOWN.index(kinds[node]), int(node)) for node in outputs if kinds.get(node) in SHOWN
    )
    shown = outputs[str(best[1])]
    items = shown.get("images") or shown["a_images"][:1] + shown["b_images"][:1]
    pictures = [Image.open(BytesIO(server.image(item))).convert("RGB") for item in items]
    return pictures if len(pictures) > 1 else side_by_side(pictures[0])


def side_by_side(row: Image.Image) -> list[Image.Image]:
    """The square pictures of a row."""
    width, height = row.size
    count = width // height
    if count < 2:
        return [row]
    lefts = [round(i * (width - height) / (count - 1)) for i in range(count)]
    return [row.crop((left, 0, left + height, height)) for left in lefts]


def paste_in_twos(page: Image.Image, pictures: list[Image.Image]) -> None:
    columns, rows = min(len(pictures), 2), (len(pictures) + 1) // 2
    room = ((SIDE - GAP) // columns - GAP, (SIDE - BAND) // rows - GAP)
    pictures = [ImageOps.contain(picture, room, Image.Resampling.NEAREST) for picture in pictures]
    top = (SIDE + BAND - rows * (pictures[0].height + GAP)) // 2
    for i in range(0, len(pictures), 2):
        pair = pictures[i : i + 2]
        left = (SIDE - sum(picture.width for picture in pair) - GAP * (len(pair) - 1)) // 2
        for picture in pair:
            page.paste(picture, (left, top))
            left += picture.width + GAP
        top += pair[0].height + GAP


def draw_graph(page: ImageDraw.ImageDraw, workflow: dict, titles: dict[str, str]) -> None:
    """Boxes in the columns of the workflow, and its links."""
    nodes = [node for node in workflow["nodes"] if node["type"] != "MarkdownNote"]
    nodes.sort(key=lambda node: node["pos"])
    columns = [list(column) for _, column in groupby(nodes, lambda node: node["pos"][0])]
    pitch = (SIDE - GAP) / len(columns)
    height = min(70, (SIDE - BAND) / max(map(len, columns)) - GAP)
    boxes = {}
    for i, column in enumerate(columns):
        step = (SIDE - BAND) / len(column)
        for j, node in enumerate(column):
            left, middle = GAP + i * pitch, BAND + (j + 0.5) * step
            boxes[node["id"]] = left, middle - height / 2, left + pitch - GAP, middle
    for _, source, _, target, _, kind in workflow["links"]:
        start, end = boxes[source], boxes[target]
        page.line((start[2], start[3], end[0], end[3]), LINKS.get(kind, EDGE), 2)
    for node in nodes:
        left, top, right, middle = boxes[node["id"]]
        page.rounded_rectangle((left, top, right, 2 * middle - top), 5, BOX, EDGE)
        lines = "\n".join(textwrap.wrap(node.get("title") or titles[node["type"]], 14))
        place = ((left + right) / 2, middle)
        page.multiline_text(place, lines, INK, ImageFont.load_default(10), "mm", 1, "center")


def main() -> None:
    folder = ROOT / "example_workflows"
    with serve(set_up()) as server:
        shutil.copy(ROOT / "demo" / "imprint_demo.png", server.input)
        table = server.get("/object_info")
        titles = {kind: node["display_name"] or kind for kind, node in table.items()}
        for path in sorted(folder.glob("*.json")):
            workflow = json.loads(path.read_text())
            page = Image.new("RGB", (SIDE, SIDE), BACK)
            draw = ImageDraw.Draw(page)
            name = "\n".join(textwrap.wrap(path.stem, 32))
            draw.multiline_text(
                (SIDE / 2, BAND / 2), name, INK, ImageFont.load_default(30), "mm", 4, "center"
            )
            if any(node["type"] == "CheckpointLoaderSimple" for node in workflow["nodes"]):
                boxes = workflow.get("definitions", {}).get("subgraphs", [])
                draw_graph(draw, workflow, titles | {box["id"]: box["name"] for box in boxes})
            else:
                paste_in_twos(page, made_pictures(server, workflow))
            page.save(path.with_suffix(".jpg"), quality=88)
            print(path.stem)


if __name__ == "__main__":
    try:
        main()
    except RuntimeError as error:
        sys.exit(str(error))
