"""Small models of the host's own classes with arbitrary weights, as the host loads them."""

import importlib
from types import SimpleNamespace

import torch
from comfy import model_base, model_patcher, model_sampling, samplers, supported_models


def tiny_demo(prediction: str):
    """The demo network, untrained."""
    model = importlib.import_module("imprint_pack.demo.model").build_model(prediction)
    for parameter, value in _drawn(model):
        parameter.copy_(0.1 * value)
    return _patcher(model)


def tiny_unet(kind: str, dtype: torch.dtype = torch.float32):
    """A UNet of the SD 1.5 or SDXL family, with weights that keep its activations of unit size."""
    sdxl = kind == "SDXL"
    config = {"SD15": supported_models.SD15, "SDXL": supported_models.SDXL}[kind](
        {
            "image_size": 32, "in_channels": 4, "out_channels": 4, "model_channels": 64,
            "num_res_blocks": [1, 1], "channel_mult": [1, 2], "transformer_depth": [1, 1],
            "transformer_depth_output": [1, 1, 1, 1], "transformer_depth_middle": 1,
            "context_dim": 64, "use_spatial_transformer": True, "legacy": False,
            "num_head_channels": 16, "use_linear_in_transformer": sdxl,
            **({"num_classes": "sequential", "adm_in_channels": 2816} if sdxl else {}),
        }
    )  # fmt: skip
    config.set_inference_dtype(dtype, None)
    family = model_base.SDXL if sdxl else model_base.BaseModel
    model = family(config, device=torch.device("cpu"))
    names = {parameter: name for name, parameter in model.named_parameters()}
    for parameter, value in _drawn(model):
        value = value / (parameter.shape[1:].numel() or 1) ** 0.5
        scales = "norm" in names[parameter] and "weight" in names[parameter]
        parameter.copy_(1 + 0.1 * value if scales else value)
    return _patcher(model)


def tiny_video_model():
    """WAN's family: flow, 16 channels, (batch, channels, frames, height, width)."""
    config = supported_models.WAN21_T2V(
        {
            "image_model": "wan2.1", "model_type": "t2v", "dim": 48, "ffn_dim": 64, "num_heads": 2,
            "num_layers": 2, "text_dim": 16, "freq_dim": 32, "in_dim": 16, "out_dim": 16,
        }
    )  # fmt: skip
    config.set_inference_dtype(torch.float32, None)
    model = model_base.WAN21(config, device=torch.device("cpu"))
    for parameter, value in _drawn(model):
        parameter.copy_(0.05 * value)
    return _patcher(model)


def unet_prompt(seed: int) -> list:
    """CONDITIONING for a `tiny_unet`."""
    generator = torch.Generator().manual_seed(seed)
    pooled = torch.randn(1, 1280, generator=generator)
    return [[torch.randn(1, 8, 64, generator=generator), {"pooled_output": pooled}]]


def with_sampling(model, *bases: str, **attributes):
    """The model under another of the host's samplings, as the host's own model patches do it."""
    bases = bases if len(bases) > 1 else ("ModelSamplingDiscrete", *bases)
    kind = type("Sampling", tuple(getattr(model_sampling, base) for base in bases), {})
    sampling = kind(model.model.model_config)
    vars(sampling).update(attributes)
    patched = model.clone()
    patched.add_object_patch("model_sampling", sampling)
    return patched


def cfg_guider(wires: dict, cfg: float = 1.0):
    """The host's guider for a model with its two prompts."""
    guider = samplers.CFGGuider(wires["model"])
    guider.set_conds(wires["positive"], wires["negative"])
    guider.set_cfg(cfg)
    return guider


def sigmas_of(model, scheduler: str, steps: int) -> torch.Tensor:
    sampling = model.get_model_object("model_sampling")
    return samplers.calculate_sigmas(sampling, scheduler, steps)


def counting(model, act=lambda count: None) -> SimpleNamespace:
    """Counts the rows of each evaluation of a model's network and calls `act` with the number of
    evaluations so far; `remove` ends it.
    """
    rows = []

    def count(_, args) -> None:
        rows.append(len(args[0]))
        act(len(rows))

    hook = model.model.diffusion_model.register_forward_pre_hook(count)
    return SimpleNamespace(rows=rows, remove=hook.remove)


def _drawn(model):
    """Each parameter with unit normal values, in the order of their names."""
    generator = torch.Generator().manual_seed(0)
    for _, parameter in sorted(model.named_parameters()):
        yield parameter, torch.randn(parameter.shape, generator=generator)


def _patcher(model):
    return model_patcher.ModelPatcher(model, torch.device("cpu"), torch.device("cpu"))
