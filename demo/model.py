"""The demo model: MODEL, CLIP and VAE of the host's own classes, trainable on two CPU cores.

The latent is the picture itself, (batch, 3, height, width) in -1..1. The UNet of v and eps works on
2 x 2 pixel blocks as 12 channels, which quarters its cost; the host and all stock nodes see an
ordinary 3-channel latent model. It attends to itself and to the words at every resolution, 16 x 16,
8 x 8 and 4 x 4. flow is the joint transformer of Stable Diffusion 3. The text encoder sees the
order of the words, as a caption of two things needs: "a red circle and a blue square" and "a blue
circle and a red square" hold the same words.
"""

import logging
import re
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
    ops,
    sd,
    sd1_clip,
    supported_models_base,
)
from comfy.ldm.modules.attention import BasicTransformerBlock
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from safetensors.torch import load_file
from torch import Tensor, nn

from .world import COLOURS, GROUNDS, SHAPES, SIZES

WEIGHTS = Path(__file__).parent / "weights"
PREDICTIONS = {
    "v": model_base.ModelType.V_PREDICTION,
    "eps": model_base.ModelType.EPS,
    "flow": model_base.ModelType.FLOW,
}
WORDS = ("", "a", "and", "on", *filter(None, SIZES), *COLOURS, *SHAPES, *GROUNDS)  # "" pads
TOKENS = 12  # one more than the longest caption has
WIDTH, HEADS, LAYERS = 64, 2, 2  # of the text encoder
BLOCK = 2
TEXT = "text."  # prefix of the encoder's weights beside the network's

logger = logging.getLogger(__name__)


class DemoUNet(UNetModel):
    """The host's UNet on blocks of pixels; odd sides are padded and cropped."""

    def __init__(self, in_channels: int, out_channels: int, **config):
        super().__init__(
            in_channels=in_channels * BLOCK**2, out_channels=out_channels * BLOCK**2, **config
        )

    def forward(self, x: Tensor, *args, **kwargs) -> Tensor:
        height, width = x.shape[-2:]
        x = nn.functional.pad(x, (0, -width % BLOCK, 0, -height % BLOCK), mode="replicate")
        x = super().forward(nn.functional.pixel_unshuffle(x, BLOCK), *args, **kwargs)
        return nn.functional.pixel_shuffle(x, BLOCK)[..., :height, :width]


class DemoModel(model_base.BaseModel):
    """The model around a DemoUNet, with pictures that show no pattern of its blocks.

    Its group norms have one channel to a group where the network is widest, so the mean of each of
    a block's pixels is lost on the way, and the network cannot take the noise out of it.
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


def word_tokens(text: str) -> list[int]:
    """Tokens of the known words, in order, unpadded."""
    return [WORDS.index(word) for word in words_of(text) if word in WORDS]


def words_of(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


class WordTokenizer:
    """`warn` is told the words that are left out of a text."""

    def __init__(self, warn: Callable[[str], None], embedding_directory=None, tokenizer_data=None):
        del embedding_directory, tokenizer_data
        self.warn = warn

    def tokenize_with_weights(self, text: str, return_word_ids: bool = False, **kwargs) -> dict:
        """The host's `(word:1.2)` weights; sections of TOKENS tokens, the last one padded."""
        unknown = ", ".join(sorted(set(words_of(text)) - set(WORDS)))
        if unknown:
            known = ", ".join(WORDS[1:])
            self.warn(f"The demo model ignores words it does not know: {unknown}. Use {known}.")
        weighted = [
            (token, weight)
            for segment, weight in sd1_clip.token_weights(sd1_clip.escape_important(text), 1.0)
            for token in word_tokens(sd1_clip.unescape_important(segment))
        ]
        weighted += [(0, 1.0)] * (-len(weighted) % TOKENS or (0 if weighted else TOKENS))
        if return_word_ids:
            weighted = [
                (token, weight, i + 1 if token else 0) for i, (token, weight) in enumerate(weighted)
            ]
        return {"demo": [weighted[i : i + TOKENS] for i in range(0, len(weighted), TOKENS)]}

    def untokenize(self, tokens: list) -> list:
        return [(token, WORDS[token[0]]) for token in tokens]

    def state_dict(self) -> dict:
        return {}


class WordEncoder(nn.Module, sd1_clip.ClipTokenWeightEncoder):
    """Embeddings of words and positions, then transformer blocks that see the padding too."""

    special_tokens = {"pad": 0}

    def __init__(self, device=None, dtype=None, model_options=None):
        super().__init__()
        made = {"device": device, "dtype": dtype}
        self.words = ops.manual_cast.Embedding(len(WORDS), WIDTH, **made)
        self.positions = ops.manual_cast.Embedding(TOKENS, WIDTH, **made)
        self.blocks = nn.ModuleList(
            BasicTransformerBlock(WIDTH, HEADS, WIDTH // HEADS, operations=ops.manual_cast, **made)
            for _ in range(LAYERS)
        )
        self.norm = ops.manual_cast.LayerNorm(WIDTH, **made)
        self.dtypes = {dtype}
        self.requires_grad_(False)

    def set_clip_options(self, options: dict) -> None:
        """Neither layers nor projections to choose from."""

    def reset_clip_options(self) -> None:
        """As `set_clip_options`."""

    def encode(self, tokens: list[list[int]]) -> tuple[Tensor, Tensor]:
        words = torch.tensor(tokens, device=self.words.weight.device)
        places = torch.arange(words.shape[1], device=words.device)
        x = self.words(words, out_dtype=torch.float32)
        x = x + self.positions(places, out_dtype=torch.float32)
        for block in self.blocks:
            x = block(x)
        z = self.norm(x)
        return z, z.mean(1)

    def encode_token_weights(self, token_weight_pairs: dict) -> tuple:
        return super().encode_token_weights(token_weight_pairs["demo"])

    def load_sd(self, state_dict: dict):
        return self.load_state_dict(state_dict, strict=False)


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
