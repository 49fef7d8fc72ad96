"""What a LATENT or a MASK holds, and how it gets into model space and out of it."""

import comfy.latent_formats
import comfy.model_management as mm
import comfy.sample
import comfy.utils
import numpy as np
import torch
from latent_preview import Latent2RGBPreviewer
from torch import Tensor

from ...inversion.noise_maps import NoiseMaps
from . import models
from .messages import tell


def image_latent(patcher, latent: dict) -> Tensor:
    """The samples of a LATENT as this model takes them; ValueError where they hold no image."""
    samples = fitting_latent(patcher, latent)
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
        tell("The latent's noise_mask is ignored; connect the mask to Inverted Sampler.")
    return samples


def fitting_latent(patcher, latent: dict) -> Tensor:
    """The samples of a LATENT with the channels and dimensions of the model; those of an empty one
    are made to fit, as stock samplers do.
    """
    ratios = {key: latent[key] for key in latent if key.startswith("downscale_ratio_")}
    samples = comfy.sample.fix_empty_latent_channels(patcher, single_tensor(latent), **ratios)
    remedy = "Encode the image with the VAE of the connected model."
    models.check_shape(patcher, samples.shape, "The latent", remedy)
    indices = latent.get("batch_index", range(len(samples)))
    if len(indices) != len(samples):
        raise ValueError(
            f"The latent's batch_index names {len(indices)} images, but it holds {len(samples)}: "
            "connect the latent as VAE Encode gives it."
        )
    return samples


def single_tensor(latent: dict) -> Tensor:
    """The samples of a LATENT; ValueError where they are several tensors or empty."""
    samples = latent["samples"]
    if samples.is_nested:
        raise ValueError(
            "This latent holds several tensors (video with sound), which inversion does not "
            "support: connect a latent without sound."
        )
    if samples.numel() == 0:
        raise ValueError(
            f"The latent has no elements (shape {tuple(samples.shape)}): connect the output of "
            "VAE Encode."
        )
    return samples


def sampled_latent(patcher, x: Tensor, sigma: float) -> Tensor:
    """A latent at level sigma in model space, as a stock sampler would return it."""
    sampling = patcher.get_model_object("model_sampling")
    samples = sampling.inverse_noise_scaling(torch.tensor(sigma).to(x), x).float()
    return patcher.model.process_latent_out(samples).to(mm.intermediate_device())


def latent_format(maps: NoiseMaps) -> comfy.latent_formats.LatentFormat:
    """What translates the latents in noise maps, by the name that they hold."""
    kind = getattr(comfy.latent_formats, maps.latent_format, None)
    if not isinstance(kind, type) or not issubclass(kind, comfy.latent_formats.LatentFormat):
        raise ValueError(
            f"These noise maps hold {maps.latent_format} latents, which this ComfyUI does not "
            "know: update ComfyUI, or invert again."
        )
    return kind()


def like_maps(maps: NoiseMaps, latent: dict) -> Tensor:
    """A LATENT in the shape and the space of one latent of the noise maps; it is resized."""
    samples, shape = single_tensor(latent).float().cpu(), maps.xs.shape[1:]
    if len(shape) == 5 and samples.ndim == 4:
        samples = samples.unsqueeze(2)
    if samples.ndim != len(shape) or samples.shape[1] != shape[1] or not samples.isfinite().all():
        raise ValueError(
            f"The target latent {tuple(samples.shape)} does not fit the noise maps' {tuple(shape)} "
            "or holds NaN: encode the target with the VAE of the inverted image."
        )
    samples = comfy.utils.common_upscale(samples, shape[-1], shape[-2], "bilinear", "disabled")
    if len(shape) == 5:
        samples = comfy.utils.repeat_to_batch_size(samples, shape[2], dim=2)
    samples = comfy.utils.repeat_to_batch_size(samples, shape[0])
    return latent_format(maps).process_in(samples)


def flat_colour(maps: NoiseMaps, colour: tuple[float, ...]) -> Tensor:
    """One latent of the noise maps that the host previews as this colour, red, green and blue in
    -1..1: of all that do, the smallest.
    """
    kind, (_, channels, *spatial) = latent_format(maps), maps.xs.shape[1:]
    if not kind.latent_rgb_factors and channels != 3:
        raise ValueError(
            f"This ComfyUI does not know the colours of {maps.latent_format} latents: connect a "
            "target through VAE Encode."
        )
    factors = torch.tensor(kind.latent_rgb_factors or torch.eye(3).tolist())
    bias = torch.tensor(kind.latent_rgb_factors_bias or (0.0, 0.0, 0.0))
    values = factors.T.pinverse() @ (torch.tensor(colour) - bias)
    # Moves channels of one cell to the cells of a finer grid.
    if kind.latent_rgb_factors_reshape:
        channel = torch.arange(channels).view(1, -1, 1, 1)
        places = kind.latent_rgb_factors_reshape(channel)[0]  # (factors, height, width)
        values = values.view(-1, 1, 1).expand(places.shape).flatten()[places.flatten().argsort()]
    return values.view(1, -1, *[1] * len(spatial)).expand(maps.xs.shape[1:]).contiguous()


def fit_mask(mask: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A MASK (batch, height, width) in a latent's shape, resized as the host's noise masks are."""
    return comfy.utils.reshape_mask(checked_mask(mask), torch.Size(shape))


def checked_mask(mask: Tensor) -> Tensor:
    """A MASK as (batch, 1, height, width) in float32 on the CPU; ValueError where it is broken."""
    if not mask.numel() or not mask.isfinite().all():
        raise ValueError(
            f"The mask (shape {tuple(mask.shape)}) is empty or holds NaN: connect a mask of the "
            "image."
        )
    mask = mask.float().cpu()  # the host may load masks in half precision, or on the device
    return mask.reshape((-1, 1, *mask.shape[-2:]))


def preview(maps: NoiseMaps, x: Tensor) -> Tensor:
    """The host's preview colours (count, height, width, 3) of latents (count, channels, *spatial)
    in model space, or the first three channels where it has no table for them; a video shows its
    first frame.
    """
    kind = latent_format(maps)
    factors = kind.latent_rgb_factors or torch.eye(x.shape[1], 3).tolist()
    bias, reshape = kind.latent_rgb_factors_bias, kind.latent_rgb_factors_reshape
    previewer = Latent2RGBPreviewer(factors, bias, reshape)
    pictures = [np.asarray(previewer.decode_latent_to_preview(item[None])) for item in x]
    return torch.from_numpy(np.stack(pictures)).float() / 255
