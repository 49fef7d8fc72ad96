"""Which networks attention control can be hooked into, and where their layers lie."""

from comfy.ldm.flux.model import Flux
from comfy.ldm.modules.attention import SpatialTransformer, SpatialVideoTransformer
from comfy.ldm.modules.diffusionmodules.mmdit import MMDiT
from comfy.ldm.modules.diffusionmodules.openaimodel import ResBlock, UNetModel
from torch import nn

Part = tuple[float, float]
"""Where a block begins and ends among those of the decoder, from 0 to 1."""

_STAGES = {"input": "input_blocks", "middle": "middle_block", "output": "output_blocks"}


def supported(network: nn.Module):
    """The network; ValueError where it is none that attention control can be hooked into."""
    video = any(isinstance(m, SpatialVideoTransformer) for m in network.modules())
    if isinstance(network, UNetModel | MMDiT | Flux) and not video:
        return network
    raise ValueError(
        f"Attention control knows the networks of Stable Diffusion 1, 2, XL and 3 and of Flux, but "
        f"the connected model is a {type(network).__name__}: leave attention_control unconnected."
    )


def transformer_blocks(network: nn.Module) -> dict[object, tuple[int, Part | None]]:
    """The transformer blocks by how the host names them, in order, each with its number and where
    in the decoder it lies.
    """
    if isinstance(network, Flux):
        count = len(network.double_blocks) + len(network.single_blocks)
        return {i: (i, None) for i in range(count)}
    if isinstance(network, MMDiT):
        return {i: (i, None) for i in range(len(network.joint_blocks))}
    found = dict[object, tuple[int, Part | None]]()
    for stage, name in _STAGES.items():
        stages = getattr(network, name)
        parts = [stages] if stage == "middle" else stages
        for i, part in enumerate(parts or []):
            decoder = (i / len(parts), (i + 1) / len(parts)) if stage == "output" else None
            for module in part.modules():
                if isinstance(module, SpatialTransformer):
                    for j in range(len(module.transformer_blocks)):
                        found[(stage, i), j] = len(found), decoder
    return found


def residual_blocks(network: UNetModel) -> list[tuple[str, Part]]:
    """The decoder's residual blocks with their paths and where in the decoder they lie."""
    count = len(network.output_blocks)
    return [
        (f"output_blocks.{i}.{name}", (i / count, (i + 1) / count))
        for i, block in enumerate(network.output_blocks)
        for name, module in block.named_children()
        if isinstance(module, ResBlock)
    ]
