"""The host's model families as tiny models with arbitrary weights, each with what it needs of a
prompt.
"""

from collections.abc import Mapping
from types import MappingProxyType, SimpleNamespace
from typing import NamedTuple

import torch
from comfy import supported_models, supported_models_base
from comfy.model_patcher import ModelPatcher

from . import tiny_networks as nets


class Family(NamedTuple):
    """A class of `supported_models` with its network and the shape of a latent.

    `extra` is what conditioning holds besides text of this width, `marks` are the tensors by which
    the host tells a checkpoint's kind.
    """

    kind: str
    network: dict
    shape: tuple[int, ...] = (1, 4, 8, 8)
    extra: Mapping = MappingProxyType({})
    marks: Mapping = MappingProxyType({})
    width: int = 32

    def model(self, dtype: torch.dtype = torch.float32) -> ModelPatcher:
        """With weights of this type, which are cast to bfloat16 where they have 8 bits."""
        config = self.config()
        config.set_inference_dtype(dtype, None if dtype.itemsize > 1 else torch.bfloat16)
        model = config.get_model({**self.marks}, device=torch.device("cpu"))
        nets.draw_weights(model.diffusion_model)
        return nets.patcher(model)

    def config(self) -> supported_models_base.BASE:
        config = getattr(supported_models, self.kind)(self.network)
        config.unet_config |= self.network  # over the sizes that the class sets
        return config

    def latent(self) -> dict:
        return {"samples": normal(*self.shape, seed=5)}

    def prompt(self, seed: int) -> list:
        """CONDITIONING of 8 arbitrary tokens."""
        pooled = normal(1, nets.POOLED, seed=seed + 100)
        return [[normal(1, 8, self.width, seed=seed), {"pooled_output": pooled, **self.extra}]]


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def picture(*shape: int) -> dict:
    """What inpainting and image-to-video models get with a prompt."""
    mask = torch.ones(1, 1, *shape[2:])
    mask[..., shape[-1] // 2 :] = 0
    return {"concat_latent_image": normal(*shape), "concat_mask": mask}


SIXTEEN, CELLS = (1, 16, 8, 8), (1, 128, 4, 4)
FRAME, VIDEO = (1, 16, 1, 8, 8), (1, 16, 2, 8, 8)
BATCH = (3, 4, 8, 8)  # a video of the UNets
PIXELS = (1, 3, 16, 16)

TOKENS = {"attention_mask": torch.ones(1, 8, dtype=torch.int)}
T5 = {"conditioning_mt5xl": normal(1, 8, 32), "attention_mask_mt5xl": TOKENS["attention_mask"]}
SIGHT = SimpleNamespace(image_embeds=normal(1, 768))
UNCLIP = {"clip_vision_output": SIGHT, "strength": 1.0, "noise_augmentation": 0.1}
SMALL = {"concat_image": normal(1, 3, 8, 8), "noise_augmentation": 0.1}
VIEWS = {"elevation": [0.0] * 3, "azimuth": [0.0, 120.0, 240.0]}

MARK = torch.zeros(())
ZERO_TERMINAL = {"v_pred": MARK, "ztsnr": MARK}
COSXL = {"edm_vpred.sigma_max": torch.tensor(120.0), "edm_vpred.sigma_min": torch.tensor(0.002)}
PROJECTION = {"cc_projection.weight": normal(32, 32), "cc_projection.bias": normal(32)}
SECONDS = {
    f"conditioner.conditioners.seconds_{end}.embedder.embedding.{name}": normal(*shape)
    for end in ("start", "total")
    for name, shape in {"0.weights": (128,), "1.weight": (768, 257), "1.bias": (768,)}.items()
}


def reference(*shape: int) -> dict:
    return {"reference_latents": [normal(*shape)]}


FAMILIES = {
    "SD 1.5": Family("SD15", nets.UNET),
    "SD 1.5 inpainting": Family("SD15", nets.UNET | {"in_channels": 9}, extra=picture(1, 4, 8, 8)),
    "SD 1.5 InstructPix2Pix": Family(
        "SD15_instructpix2pix", nets.UNET | {"in_channels": 8}, extra=picture(1, 4, 8, 8)
    ),
    "SD 2 eps": Family("SD20", nets.UNET),
    "SD 2 v": Family(
        "SD20",
        nets.UNET,
        marks={"output_blocks.11.1.transformer_blocks.0.norm1.bias": normal(9)},
    ),
    "unCLIP": Family(
        "SD21UnclipL",
        nets.LABELLED | {"adm_in_channels": 1536},
        extra={"unclip_conditioning": [UNCLIP]},
    ),
    "x4 upscaler": Family("SD_X4Upscaler", nets.UPSCALER, extra=SMALL),
    "SDXL": Family("SDXL", nets.SDXL),
    "SDXL v, zero-terminal SNR": Family("SDXL", nets.SDXL, marks=ZERO_TERMINAL),
    "SDXL EDM": Family("SDXL", nets.SDXL, marks={"edm_mean": MARK, "edm_std": MARK}),
    "CosXL": Family("SDXL", nets.SDXL, marks=COSXL),
    "SDXL refiner": Family("SDXLRefiner", nets.LABELLED | {"adm_in_channels": 2560}),
    "SDXL InstructPix2Pix": Family(
        "SDXL_instructpix2pix", nets.SDXL | {"in_channels": 8}, extra=picture(1, 4, 8, 8)
    ),
    "SVD": Family(
        "SVD_img2vid", nets.VIDEO_UNET | {"adm_in_channels": 768}, BATCH, picture(1, 4, 8, 8)
    ),
    "SV3D": Family(
        "SV3D_p", nets.VIDEO_UNET | {"adm_in_channels": 1280}, BATCH, picture(1, 4, 8, 8) | VIEWS
    ),
    "Zero123": Family(
        "Stable_Zero123",
        nets.UNET | {"in_channels": 8},
        extra=picture(1, 4, 8, 8),
        marks=PROJECTION,
    ),
    "Stable Cascade C": Family("Stable_Cascade_C", nets.CASCADE_C, SIXTEEN),
    "Stable Cascade B": Family(
        "Stable_Cascade_B",
        nets.CASCADE_B,
        (1, 4, 16, 16),
        {"stable_cascade_prior": normal(1, 16, 2, 2)},
    ),
    "SD 3": Family("SD3", nets.SD3, SIXTEEN),
    "AuraFlow": Family("AuraFlow", nets.AURA),
    "PixArt alpha": Family("PixArtAlpha", nets.PIXART, (1, 4, 40, 40), {"width": 64, "height": 64}),
    "PixArt sigma": Family(
        "PixArtSigma",
        nets.PIXART | {"image_model": "pixart_sigma", "micro_condition": False},
        (1, 4, 40, 40),
    ),
    "Hunyuan DiT": Family("HunyuanDiT", nets.HYDIT, extra=TOKENS | T5),
    "Hunyuan DiT 1.0": Family("HunyuanDiT1", nets.HYDIT_1, extra=TOKENS | T5),
    "Flux": Family("Flux", nets.FLUX, SIXTEEN),
    "Flux Kontext": Family("Flux", nets.FLUX, SIXTEEN, reference(1, 16, 4, 4)),
    "Flux Fill": Family("FluxInpaint", nets.FLUX | {"in_channels": 96}, SIXTEEN, picture(*SIXTEEN)),
    "Flux schnell": Family("FluxSchnell", nets.FLUX | {"guidance_embed": False}, SIXTEEN),
    "Flux 2": Family("Flux2", nets.FLUX_2, CELLS),
    "LongCat": Family("LongCatImage", nets.LONGCAT, SIXTEEN),
    "Chroma": Family("Chroma", nets.CHROMA, SIXTEEN),
    "Chroma Radiance": Family("ChromaRadiance", nets.RADIANCE, PIXELS),
    "Lens": Family("Lens", nets.LENS, CELLS),
    "Mochi": Family("GenmoMochi", nets.MOCHI, (1, 12, 2, 8, 8), TOKENS),
    "LTXV": Family("LTXV", nets.LTXV, (1, 128, 2, 4, 4), TOKENS),
    "Hunyuan Video": Family("HunyuanVideo", nets.HUNYUAN, VIDEO),
    # Without a start image it reads the latent itself.
    "Hunyuan Video I2V": Family(
        "HunyuanVideoI2V", nets.HUNYUAN | {"in_channels": 33}, VIDEO, {"guiding_frame_index": 1}
    ),
    "SkyReels I2V": Family(
        "HunyuanVideoSkyreelsI2V", nets.HUNYUAN | {"in_channels": 32}, VIDEO, picture(*VIDEO)
    ),
    "Hunyuan Video 1.5": Family("HunyuanVideo15", nets.HUNYUAN_15, (1, 32, 2, 8, 8)),
    "Hunyuan Image": Family("HunyuanImage21", nets.HUNYUAN_IMAGE, (1, 64, 4, 4)),
    "Cosmos": Family("CosmosT2V", nets.COSMOS, VIDEO),
    "Cosmos I2V": Family("CosmosI2V", nets.COSMOS | {"in_channels": 17}, VIDEO, picture(*VIDEO)),
    "Cosmos Predict 2": Family("CosmosT2IPredict2", nets.PREDICT_2, VIDEO),
    "Cosmos Predict 2 I2V": Family(
        "CosmosI2VPredict2", nets.PREDICT_2 | {"in_channels": 17}, VIDEO, picture(*VIDEO)
    ),
    "Lumina 2": Family("Lumina2", nets.LUMINA, SIXTEEN),
    "Z-Image": Family("ZImage", nets.Z_IMAGE, SIXTEEN),
    "Z-Image in pixels": Family("ZImagePixelSpace", nets.Z_IMAGE_PIXELS, PIXELS),
    "PixelDiT": Family("PixelDiTT2I", nets.PIXELDIT, (1, 3, 32, 32)),
    "WAN 2.1": Family("WAN21_T2V", nets.WAN, VIDEO),
    "WAN 2.1 I2V": Family(
        "WAN21_I2V", nets.WAN | {"model_type": "i2v", "in_dim": 36}, VIDEO, picture(*VIDEO)
    ),
    "WAN 2.1 Fun": Family(
        "WAN21_FunControl2V",
        nets.WAN | {"model_type": "i2v", "in_dim": 48},
        VIDEO,
        picture(1, 32, 2, 8, 8),
    ),
    "WAN 2.1 VACE": Family("WAN21_Vace", nets.VACE, VIDEO),
    "WAN 2.1 Camera": Family(
        "WAN21_Camera",
        nets.WAN | {"model_type": "camera", "in_dim": 32},
        VIDEO,
        {"camera_conditions": normal(1, 24, 2, 64, 64)},
    ),
    "WAN 2.1 causal": Family("WAN21_CausalAR_T2V", nets.WAN, VIDEO),
    "WAN 2.1 HuMo": Family("WAN21_HuMo", nets.WAN | {"model_type": "humo"}, VIDEO),
    "WAN 2.1 SCAIL": Family(
        "WAN21_SCAIL",
        nets.WAN | {"model_type": "scail", "in_dim": 20},
        VIDEO,
        {"pose_video_latent": normal(1, 16, 2, 4, 4)} | reference(*FRAME),
    ),
    "WAN 2.2": Family("WAN22_T2V", nets.WAN | {"in_dim": 48, "out_dim": 48}, (1, 48, 2, 4, 4)),
    "WAN 2.2 S2V": Family("WAN22_S2V", nets.WAN_S2V, VIDEO),
    "WAN 2.2 Animate": Family(
        "WAN22_Animate", nets.WAN | {"model_type": "animate", "in_dim": 36}, VIDEO, picture(*VIDEO)
    ),
    "WAN 2.2 Dancer": Family(
        "WAN22_WanDancer",
        nets.WAN | {"model_type": "wandancer", "in_dim": 36},
        VIDEO,
        picture(*VIDEO),
    ),
    "HiDream": Family(
        "HiDream", nets.HIDREAM, SIXTEEN, {"conditioning_llama3": normal(1, 2, 8, 32)}
    ),
    "OmniGen 2": Family("Omnigen2", nets.OMNIGEN_2, SIXTEEN, TOKENS | reference(1, 16, 4, 4)),
    "Boogu": Family("Boogu", nets.BOOGU, SIXTEEN, TOKENS),
    "Qwen-Image": Family("QwenImage", nets.QWEN, FRAME),
    "Qwen-Image Edit": Family("QwenImage", nets.QWEN, FRAME, reference(1, 16, 1, 4, 4)),
    "Mage-Flow": Family("MageFlow", nets.QWEN | {"image_model": "mage_flow"}, CELLS),
    "JoyImage": Family("JoyImage", nets.JOY, FRAME),
    "Ideogram 4": Family("Ideogram4", nets.IDEOGRAM, CELLS),
    "Krea 2": Family("Krea2", nets.KREA_2, FRAME),
    "Kandinsky 5": Family("Kandinsky5", nets.KANDINSKY_5 | {"visual_embed_dim": 132}, VIDEO),
    "Kandinsky 5 Image": Family(
        "Kandinsky5Image", nets.KANDINSKY_5 | {"visual_embed_dim": 64}, SIXTEEN
    ),
    "Ernie": Family("ErnieImage", nets.ERNIE, CELLS),
    "SeedVR 2": Family("SeedVR2", nets.SEEDVR, VIDEO, {"condition": normal(1, 17, 2, 8, 8)}),
    "Hunyuan 3D": Family("Hunyuan3Dv2", nets.HUNYUAN_3D, (1, 64, 8)),
    "Stable Audio": Family("StableAudio", nets.AUDIO, (1, 64, 8), marks=SECONDS, width=768),
}

REFUSED = {
    "Lotus": Family("LotusD", nets.LABELLED | {"adm_in_channels": 4}),
    "FlowRVS": Family("WAN21_FlowRVS", nets.WAN | {"model_type": "flow_rvs"}, VIDEO),
    "CogVideoX": Family("CogVideoX_T2V", nets.COG, VIDEO),
    "HiDream O1": Family("HiDreamO1", nets.HIDREAM_O1, (1, 3, 32, 32)),
}
