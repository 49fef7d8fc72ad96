"""The demo model: MODEL, CLIP and VAE of the host's own classes, trainable on two CPU cores.

The latent is the picture itself, (batch, 3, height, width) in -1..1. The UNet of v and eps works on
2 x 2 pixel blocks as 12 channels, which quarters its cost; the host and all stock nodes see an
ordinary 3-channel latent model. It attends to itself and to the words at every resolution, 16 x 16,
8 x 8 and 4 x 4. flow is the joint transformer of Stable Diffusion 3.
"""

import logging
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path

import torch
from comfy import (
    latent_formats,
    model_base,
    model_management,
    model_patcher,
    sd,
    supported_models_base,
)
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from safetensors.torch import load_file
from torch import Tensor, nn

from .text import WIDTH, WordEncoder, WordTokenizer

WEIGHTS = Path(__file__).parent / "weights"
PREDICTIONS = {
    "v": model_base.ModelType.V_PREDICTION,
    "eps": model_base.ModelType.EPS,
    "flow": model_base.ModelType.FLOW,
}
BLOCK = 2
TEXT = "text."  # prefix of the encoder's weights beside the network's

logger = logging.getLogger(__name__)


class DemoUNet(UNetModel):
    """The host's UNet on blocks of pixels; odd sides are padded and cropped."""

    def __init__(self, in_channels: int, out_channels: int, **config):
        super().__init__(
            in_channels=in_channels * BLOCK**2, out_channels=out_channels * BLOCK**2, **config
        )

    def _forward(self, x: Tensor, *args, **kwargs) -> Tensor:  # what the host's patches wrap
        height, width = x.shape[-2:]
        x = nn.functional.pad(x, (0, -width % BLOCK, 0, -height % BLOCK), mode="replicate")
        x = super()._forward(nn.functional.pixel_unshuffle(x, BLOCK), *args, **kwargs)
        return nn.functional.pixel_shuffle(x, BLOCK)[..., :height, :width]


class DemoModel(model_base.BaseModel):
    """The model around a DemoUNet, with pictures that show no pattern of its blocks.

    At its finest resolution each channel is a norm group of its own, so the mean of each of a
    block's pixels is lost on the way, and the network cannot take the noise out of it.
    """

    def apply_model(self, *args, **kwargs) -> Tensor:
        denoised = super().apply_model(*args, **kwargs)
        return denoised - block_pattern(denoised)


def block_pattern(x: Tensor) -> Tensor:
    """The pattern of blocks of 2 x 2 pixels that repeats all over a picture, in the shape of `x`
    (batch, channels, height, width). Drawn pictures have hardly any.
    """
    pattern = torch.empty_like(x)
    for row, column in product(range(BLOCK), repeat=2):
        mean = x[..., row::BLOCK, column::BLOCK].mean((-2, -1), keepdim=True)
        pattern[..., row::BLOCK, column::BLOCK] = mean
    return pattern - x.mean((-2, -1), keepdim=True)


class DemoConfig(supported_models_base.BASE):
    unet_extra_config = {}
    latent_format = latent_formats.ChromaRadiance  # the identity on RGB, with preview factors
    sampling_settings = {
        "beta_schedule": "linear",
        "linear_start": 0.00085,
        "linear_end": 0.012,
        "timesteps": 1000,
    }
    memory_usage_factor = 1.0


def build_model(prediction: str) -> model_base.BaseModel:
    """The untrained network; eps, which only proves another model family, is a smaller one."""
    config = DemoConfig(_mmdit() if prediction == "flow" else _unet(prediction))
    config.set_inference_dtype(torch.float32, None)
    device = model_management.unet_offload_device()
    if prediction == "flow":
        return model_base.SD3(config, PREDICTIONS[prediction], device)
    return DemoModel(config, PREDICTIONS[prediction], device, DemoUNet)


def _unet(prediction: str) -> dict:
    return {
        "image_size": 32 // BLOCK,
        "in_channels": 3,
        "out_channels": 3,
        "model_channels": 32,
        "channel_mult": (1, 2, 4) if prediction == "v" else (1, 2, 2),
        "num_res_blocks": [1, 1, 1],
        "transformer_depth": [1, 1, 1],
        "transformer_depth_output": [1, 1, 1, 1, 1, 1],
        "transformer_depth_middle": 1,
        "use_spatial_transformer": True,
        "use_linear_in_transformer": True,
        "context_dim": WIDTH,
        "num_head_channels": 32,
        "legacy": False,
    }


def _mmdit() -> dict:
    depth = 2  # the host derives 2 heads of 64 channels from it
    linear = {"in_features": WIDTH, "out_features": 64 * depth}
    return {
        "input_size": 32,
        "in_channels": 3,
        "patch_size": BLOCK,
        "depth": depth,
        "num_blocks": 6,
        "mlp_ratio": 3.0,
        "context_embedder_config": {"target": "torch.nn.Linear", "params": linear},
    }


def load_demo(
    prediction: str, warn: Callable[[str], None] = logger.warning
) -> tuple[model_patcher.ModelPatcher, sd.CLIP, sd.VAE]:
    """MODEL, CLIP and VAE with the trained weights of "v", "eps" or "flow"; `warn` is told words
    that the CLIP does not know.
    """
    weights = load_file(WEIGHTS / f"demo_{prediction}.safetensors")
    text = {
        key.removeprefix(TEXT): weights.pop(key) for key in list(weights) if key.startswith(TEXT)
    }
    model = build_model(prediction)
    model.load_model_weights(weights, "")
    patcher = model_patcher.ModelPatcher(
        model, model_management.get_torch_device(), model_management.unet_offload_device()
    )
    # Hooks and LoRA training reload a model through this.
    patcher.cached_patcher_init = (_load_patcher, (prediction,))
    target = supported_models_base.ClipTarget(partial(WordTokenizer, warn), WordEncoder)
    clip = sd.CLIP(
        target,
        state_dict=text,
        parameters=sum(weight.numel() for weight in text.values()),
        model_options={"dtype": torch.float32},
    )
    # Without a dtype a GPU would round pixels to bfloat16.
    vae = sd.VAE(sd={"pixel_space_vae": torch.tensor(1.0)}, dtype=torch.float32)
    return patcher, clip, vae


def encode_captions(clip: sd.CLIP, texts: list[str]) -> list:
    """CONDITIONING with one row per text: the host gives each image of a batch its own row."""
    rows = [clip.encode_from_tokens_scheduled(clip.tokenize(text))[0] for text in texts]
    pooled = torch.cat([row[1]["pooled_output"] for row in rows])
    return [[torch.cat([row[0] for row in rows]), {"pooled_output": pooled}]]


def _load_patcher(prediction: str, disable_dynamic: bool = False) -> model_patcher.ModelPatcher:
    del disable_dynamic  # a plain ModelPatcher is never dynamic
    return load_demo(prediction)[0]
