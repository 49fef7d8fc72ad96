"""The demo world as nodes: try the pack with nothing downloaded."""

from collections.abc import Sequence

import torch
from comfy_api.latest import io

from ..demo.world import (
    BIG,
    COLOURS,
    GROUNDS,
    SHAPES,
    SIZES,
    SMALL,
    UNNAMED,
    Worlds,
    captions,
    draw_worlds,
    render,
)
from ._host.messages import warn
from .inputs import CATEGORY

_DEMO_CATEGORY = f"{CATEGORY}/demo"
_NONE, _NO_WORD = "none", "unnamed"  # of a second thing, of a size
_SIZES = {SIZES[size] or _NO_WORD: size for size in (UNNAMED, SMALL, BIG)}


class LoadDemoModel(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ImprintLoadDemoModel",
            display_name="Load Demo Model",
            category=_DEMO_CATEGORY,
            description="A tiny text-to-image model of 32 x 32 pixel art that ships with the pack.",
            search_aliases=["toy model", "tiny model", "example model"],
            inputs=[
                io.Combo.Input(
                    "prediction",
                    options=["v", "eps", "flow"],
                    default="v",
                    tooltip="What the network predicts. v makes the best pictures; eps and flow "
                    "are smaller models of the other two families.",
                ),
            ],
            outputs=[
                io.Model.Output(
                    display_name="model", tooltip="For any sampler; images of 32 x 32 pixels."
                ),
                io.Clip.Output(
                    display_name="clip",
                    tooltip="Knows captions like 'a red circle on grass' and 'a big red circle and "
                    f"a blue square on grass': {', '.join(filter(None, SIZES))}; "
                    f"{', '.join(COLOURS)}; {', '.join(SHAPES)}; {', '.join(GROUNDS)}.",
                ),
                io.Vae.Output(
                    display_name="vae", tooltip="Changes nothing: the latent is the picture."
                ),
            ],
        )

    @classmethod
    def execute(cls, prediction) -> io.NodeOutput:
        # Here, so that starting ComfyUI does not import the network.
        from ..demo.model import load_demo

        return io.NodeOutput(*load_demo(prediction, warn))


class DemoImage(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ImprintDemoImage",
            display_name="Demo Image",
            category=_DEMO_CATEGORY,
            description="Draws a 32 x 32 picture of one or two things of the demo world, with its "
            "caption and a mask of each thing.",
            search_aliases=["toy image", "test image", "example image"],
            inputs=[
                _word_input("shape", SHAPES, "The thing's shape."),
                _word_input("colour", COLOURS, "The thing's colour."),
                _word_input("ground", GROUNDS, "What lies behind the things."),
                io.Int.Input(
                    "variation",
                    default=0,
                    min=0,
                    max=0x7FFFFFFF,
                    tooltip="Chooses what the caption does not name: places, exact sizes, "
                    "rotation, light, texture, a small disc.",
                ),
                *_later_inputs(),
            ],
            outputs=[
                io.Image.Output(display_name="image", tooltip="The picture, 32 x 32 pixels."),
                io.String.Output(
                    display_name="caption", tooltip="What it shows, to use as source prompt."
                ),
                io.Mask.Output(display_name="mask", tooltip="White on the thing and its outline."),
                io.Mask.Output(
                    display_name="other_mask",
                    tooltip="White on the second thing and its outline; black without one.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls, shape, colour, ground, variation, size=_NO_WORD, other_shape=_NONE,
        other_colour="blue", other_size=_NO_WORD,
    ) -> io.NodeOutput:  # fmt: skip
        things = [(colour, shape, size), (other_colour, other_shape, other_size)]
        world = _world(things, ground, variation)
        image, masks = render(world)
        return io.NodeOutput(image, captions(world)[0], *masks.unbind(1))


def _word_input(name: str, words: Sequence[str], tooltip: str, **more) -> io.Combo.Input:
    more = {"default": words[0], **more}
    return io.Combo.Input(name, options=list(words), tooltip=tooltip, **more)


def _later_inputs() -> list[io.Input]:
    """Those that graphs of one thing do without."""
    sizes = tuple(_SIZES)
    return [
        _word_input("size", sizes, "The thing's size; unnamed is in between.", optional=True),
        _word_input("other_shape", (_NONE, *SHAPES), "A second thing's shape.", optional=True),
        _word_input(
            "other_colour", COLOURS, "The second thing's colour.", default="blue", optional=True
        ),
        _word_input("other_size", sizes, "The second thing's size.", optional=True),
    ]


def _world(things: list[tuple[str, str, str]], ground: str, variation: int) -> Worlds:
    """The world that has these things, as colour, shape and size; ValueError where two would look
    alike or overlap.
    """
    (colour, shape, size), other = things
    if other[1] != _NONE and other[:2] == (colour, shape):
        raise ValueError(
            f"Both things are a {colour} {shape}: choose another other_colour or other_shape."
        )
    if other[1] != _NONE and size == other[2] == "big":
        raise ValueError("Two big things do not fit: set size or other_size to small or unnamed.")
    drawn = draw_worlds(1, torch.Generator().manual_seed(variation))
    return drawn._replace(
        colour=torch.tensor([[COLOURS.index(thing[0]) for thing in things]]),
        shape=torch.tensor([[(_NONE, *SHAPES).index(thing[1]) - 1 for thing in things]]).clamp(0),
        size=torch.tensor([[_SIZES[thing[2]] for thing in things]]),
        present=torch.tensor([[thing[1] != _NONE for thing in things]]),
        ground=torch.tensor([GROUNDS.index(ground)]),
    )
