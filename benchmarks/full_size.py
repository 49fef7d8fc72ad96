"""A network of full size, with arbitrary weights."""

import torch
from comfy.model_patcher import ModelPatcher

from .tiny_families import Family

SD15 = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 320,
    "num_res_blocks": [2, 2, 2, 2],
    "channel_mult": [1, 2, 4, 4],
    "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
    "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
    "transformer_depth_middle": 1,
    "context_dim": 768,
    "num_heads": 8,
    "use_spatial_transformer": True,
    "legacy": False,
}


def sd15(dtype: torch.dtype = torch.float32) -> ModelPatcher:
    """The UNet of SD 1.5."""
    return Family("SD15", SD15, width=768).model(dtype)
