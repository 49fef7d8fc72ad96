"""The demo world as nodes: try the pack with nothing downloaded."""

import torch
from comfy_api.latest import io

from ..demo.world import COLOURS, GROUNDS, SHAPES, SIZES, captions, draw_worlds, render
from ._sockets import CATEGORY

_DEMO_CATEGORY = f"{CATEGORY}/demo"


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
                    tooltip="What the network predicts. v draws best; eps and flow are smaller "
                    "models of the other two families.",
                ),
            ],
            outputs=[
                io.Model.Output(
                    display_name="model", tooltip="For any sampler; images of 32 x 32 pixels."
                ),
                io.Clip.Output(
                    display_name="clip",
                    tooltip=f"Knows captions like 'a red circle on grass': {', '.join(COLOURS)}; "
                    f"{', '.join(SHAPES)}; {', '.join(GROUNDS)}.",
                ),
                io.Vae.Output(
                    display_name="vae", tooltip="The identity: the latent is the picture."
                ),
            ],
        )

    @classmethod
    def execute(cls, prediction) -> io.NodeOutput:
        from ..demo.model import (
            load_demo,
        )  # here, so that starting ComfyUI does not import the network

        return io.NodeOutput(*load_demo(prediction))


class DemoImage(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ImprintDemoImage",
            display_name="Demo Image",
            category=_DEMO_CATEGORY,
            description="Draws a 32 x 32 picture of the demo world, with its caption and the "
            "mask of its object.",
            search_aliases=["toy image", "test image", "example image"],
            inputs=[
                io.Combo.Input(
                    "shape", options=list(SHAPES), default="circle", tooltip="The object's shape."
                ),
                io.Combo.Input(
                    "colour", options=list(COLOURS), default="red", tooltip="The object's colour."
                ),
                io.Combo.Input(
                    "ground",
                    options=list(GROUNDS),
                    default="grass",
                    tooltip="What lies behind the object.",
                ),
                io.Int.Input(
                    "variation",
                    default=0,
                    min=0,
                    max=0x7FFFFFFF,
                    tooltip="Draws what the caption does not name: position, size, rotation, "
                    "light, texture, a bystander.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="image", tooltip="The picture, 32 x 32 pixels."),
                io.String.Output(display_name="caption", tooltip="Its source prompt."),
                io.Mask.Output(display_name="mask", tooltip="White on the object and its outline."),
            ],
        )

    @classmethod
    def execute(cls, shape, colour, ground, variation) -> io.NodeOutput:
        world = draw_worlds(1, torch.Generator().manual_seed(variation))
        looks = torch.tensor([[COLOURS.index(colour), SHAPES.index(shape), SIZES.index("")]])
        world = world._replace(
            colour=looks[:, :1].repeat(1, 2),
            shape=looks[:, 1:2].repeat(1, 2),
            size=looks[:, 2:].repeat(1, 2),
            present=torch.tensor([[True, False]]),
            ground=torch.tensor([GROUNDS.index(ground)]),
        )
        image, masks = render(world)
        return io.NodeOutput(image, captions(world)[0], masks[:, 0])
