"""A network of full size, with arbitrary weights."""

import torch
from comfy import model_base, model_patcher, supported_models

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


def sd15() -> model_patcher.ModelPatcher:
    """The UNet of SD 1.5 in float32, as a loader leaves it: weights made under inference mode."""
    config = supported_models.SD15(dict(SD15))
    config.set_inference_dtype(torch.float32, None)
    model = model_base.BaseModel(config, device=torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            parameter.normal_(0, parameter[0].numel() ** -0.5, generator=generator)
        else:
            parameter.fill_(float("norm" in name and name.endswith("weight")))
    return model_patcher.ModelPatcher(model, torch.device("cpu"), torch.device("cpu"))
