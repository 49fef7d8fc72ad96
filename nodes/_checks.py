"""What comes in by wire, checked against the model: one sentence where it does not fit."""

import logging
import math

import comfy.sample
import comfy.utils
import torch
from torch import Tensor

from ..inversion import NoiseMaps, check_noise_maps, check_sigmas
from ._host import tell

_FLOW = {"CONST"}
_NOT_FLOW = {"EPS", "COSMOS_RFLOW"}  # also v-prediction and EDM, which derive from EPS
# Their latent is not alpha x_0 + sigma n.
_UNTREATED = {"IMG_TO_IMG", "IMG_TO_IMG_FLOW", "V_PREDICTION_DDPM"}


def is_flow(patcher) -> bool:
    """Whether the latent is (1 - sigma) x_0 + sigma n; ValueError where neither form holds."""
    sampling = patcher.get_model_object("model_sampling")
    kinds = {kind.__name__ for kind in type(sampling).__mro__}
    noise_scale = getattr(sampling, "noise_scale", 1.0)
    if kinds & _FLOW and not kinds & _UNTREATED and noise_scale != 1:
        raise ValueError(
            f"This model scales its noise by {noise_scale:g}, which inversion does not support: "
            "connect a model with noise scale 1."
        )
    if kinds & _UNTREATED or not kinds & (_FLOW | _NOT_FLOW):
        name = " + ".join(sorted(kinds & _UNTREATED) or [type(sampling).__name__])
        raise ValueError(
            f"The sampling of this model ({name}) cannot be inverted: connect an eps, v, EDM or "
            "flow model."
        )
    return bool(kinds & _FLOW)


def image_and_schedule(
    patcher, latent: dict, sigmas: Tensor
) -> tuple[tuple[float, ...], bool, Tensor]:
    """What an inversion starts from: the levels, whether the model is a flow model, the samples."""
    flow, levels = is_flow(patcher), tuple(sigmas.tolist())
    check_sigmas(levels, flow)
    if levels[-1] > 0:
        tell(
            f"The schedule ends at sigma {levels[-1]:.3g}, not at 0: the sampler will return a "
            "noisy latent."
        )
    return levels, flow, _image_latent(patcher, latent)


def _image_latent(patcher, latent: dict) -> Tensor:
    """The samples of a LATENT as this model takes them; ValueError where they hold no image."""
    samples = single_tensor(latent)
    if not samples.isfinite().all():
        raise ValueError(
            "The latent holds NaN or infinite values: check the VAE (a float32 VAE helps) and "
            "the image."
        )
    if not samples.any():
        raise ValueError(
            "The latent is empty (all zeros), so there is no image to invert: connect the output "
            "of VAE Encode."
        )
    if "noise_mask" in latent:
        tell(
            "The latent's noise_mask is ignored; connect the mask to Inverted Sampler.",
            logging.INFO,
        )
    return fitting_latent(patcher, latent)


def single_tensor(latent: dict) -> Tensor:
    """The samples of a LATENT; ValueError where they are several tensors, or nothing."""
    samples = latent["samples"]
    if samples.is_nested:
        raise ValueError(
            "This latent holds several tensors (video with sound), which inversion cannot treat: "
            "connect a latent with one."
        )
    if samples.numel() == 0:
        raise ValueError(
            f"The latent has no elements (shape {tuple(samples.shape)}): connect the output of "
            "VAE Encode."
        )
    return samples


def fitting_latent(patcher, latent: dict) -> Tensor:
    """The samples of a LATENT with the channels and dimensions of the model; those of an empty one
    are made to fit, as stock samplers do.
    """
    ratios = {key: latent[key] for key in latent if key.startswith("downscale_ratio_")}
    samples = comfy.sample.fix_empty_latent_channels(patcher, single_tensor(latent), **ratios)
    check_latent(
        patcher,
        samples.shape,
        "The latent",
        "Encode the image with the VAE of the connected model.",
    )
    indices = latent.get("batch_index", range(len(samples)))
    if len(indices) != len(samples):
        raise ValueError(
            f"The latent's batch_index names {len(indices)} images, but it holds {len(samples)}: "
            "connect the latent as VAE Encode gives it."
        )
    return samples


def check_latent(patcher, shape, what: str, remedy: str) -> None:
    """ValueError unless a latent of this shape fits the model."""
    latent_format = patcher.get_model_object("latent_format")
    expected = latent_format.latent_channels, latent_format.latent_dimensions
    found = shape[1], len(shape) - 2
    if found != expected:
        raise ValueError(
            f"{what} has {found[0]} channels in {found[1]} dimensions, the connected model works "
            f"on {expected[0]} in {expected[1]} ({type(latent_format).__name__}). {remedy}"
        )


def check_maps(maps: NoiseMaps) -> None:
    """ValueError unless this is a sound bundle."""
    if not isinstance(maps, NoiseMaps):
        raise ValueError(
            f"noise_maps holds a {type(maps).__name__}: connect the noise_maps output of an "
            "Invert node."
        )
    check_noise_maps(maps)


def check_bundle(patcher, maps: NoiseMaps) -> None:
    """ValueError unless the noise maps were made with a model like the connected one."""
    check_maps(maps)
    remedy = "Connect the model that the maps were made with."
    check_latent(patcher, maps.xs.shape[1:], "The latent in these noise maps", remedy)
    found = maps.info.get("latent_format", "unknown")
    expected = type(patcher.get_model_object("latent_format")).__name__
    if found != expected:
        raise ValueError(
            f"These noise maps hold {found} latents, the connected model works on {expected}. "
            f"{remedy}"
        )
    kinds = {True: "a flow model", False: "an eps, v or EDM model"}
    if maps.flow != is_flow(patcher):
        raise ValueError(
            f"These noise maps were made with {kinds[maps.flow]}, the connected model is "
            f"{kinds[not maps.flow]}. {remedy}"
        )


def check_pivot(patcher, maps: NoiseMaps, cfg: float) -> None:
    """ValueError unless null text can be fitted to these noise maps at this cfg."""
    check_bundle(patcher, maps)
    if maps.eta > 0:
        raise ValueError(
            f"These noise maps were made with eta {maps.eta:g}, but null text follows a path "
            "without noise (eta 0): connect the noise_maps output of DDIM Invert."
        )
    if maps.uncond is not None:
        raise ValueError(
            "These noise maps hold null text already: connect the noise_maps output of DDIM Invert."
        )
    if maps.info.get("cfg") != 1:
        raise ValueError(
            f"These noise maps were inverted at cfg {maps.info.get('cfg', 'unknown')}, but null "
            "text needs the path of cfg 1: set DDIM Invert to 1."
        )
    if math.isclose(cfg, 1.0):  # as the host asks
        raise ValueError(
            "cfg is 1, where the negative prompt has no effect and nothing is to be repaired: set "
            "the cfg of the edit, usually 7.5."
        )


def chosen(node: str, menu: str, value, inputs: dict[str, list]) -> tuple[str, dict]:
    """Choice and settings of a dynamic menu; the host does not check what is wired or unknown."""
    settings = dict(value) if isinstance(value, dict) else {menu: value}
    name = settings.pop(menu, None)
    wanted = [{i.id for i in ids} for key, ids in inputs.items() if key == name]
    if wanted != [set(settings)] or any(
        v is None or isinstance(v, list) for v in settings.values()
    ):
        raise ValueError(
            f"{node} does not know this {menu} ({str(value)[:60]}): choose {', '.join(inputs)} in "
            "its menu, with all settings."
        )
    return name, settings


def step_range(first: int, last: int, steps: int) -> range:
    """The steps `first` to `last` of a bundle; -1 is its last one."""
    end = steps if last == -1 else last + 1
    if not 0 <= first < end <= steps:
        raise ValueError(
            f"first_step is {first} and last_step is {last}, but the noise maps hold steps 0 to "
            f"{steps - 1}: set first_step to 0 and last_step to -1 for all of them."
        )
    return range(first, end)


def fit_mask(mask: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A MASK (batch, height, width) in a latent's shape, resized as the host's noise masks are."""
    if not mask.numel() or not mask.isfinite().all():
        raise ValueError(
            f"The mask (shape {tuple(mask.shape)}) is empty or holds NaN: connect a mask of the "
            "image."
        )
    return comfy.utils.reshape_mask(mask.reshape((-1, 1, *mask.shape[-2:])), torch.Size(shape))
