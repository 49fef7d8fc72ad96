"""Looking at results: what is in the noise maps, and how exact is a reconstruction?"""

import logging
import math

import torch
from comfy_api.latest import io, ui

from ..inversion import NoiseMaps, recover_denoised
from . import _checks as checks
from . import _host as host
from . import _plots as plots
from ._sockets import CATEGORY, MAX_STEPS, NoiseMapsType

_PSNR_CAP = 150.0
# From which PSNR in dB; two images can differ so much that it is negative.
_VERDICTS = ((100, "exact"), (50, "not visible"), (30, "visible"), (-math.inf, "different"))


class InspectNoiseMaps(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ImprintInspectNoiseMaps",
            display_name="Inspect Noise Maps",
            category=CATEGORY,
            description="Shows what noise maps hold: their statistics beside those of white noise, "
            "and the latents, the model's guesses and the maps over the steps.",
            search_aliases=["plot", "statistics", "variance", "correlation", "visualize"],
            is_output_node=True,
            inputs=[NoiseMapsType.Input("noise_maps", tooltip="The noise maps to look at.")],
            outputs=[
                io.Image.Output(
                    display_name="image", tooltip="Plots and strips, one picture for each image."
                )
            ],
        )

    @classmethod
    def execute(cls, noise_maps) -> io.NodeOutput:
        checks.check_maps(noise_maps)
        image = inspect(noise_maps)
        return io.NodeOutput(image, ui=ui.PreviewImage(image, cls=cls))


def inspect(maps: NoiseMaps) -> torch.Tensor:
    """Pictures (batch, height, width, 3), each of one image's maps."""
    kind, shown = host.latent_format(maps), plots.columns(len(maps.zs))
    steps = [maps.steps[i] for i in shown]
    scales = torch.tensor([math.hypot(step.alpha, step.sigma) for step in steps])
    xs = maps.xs[shown] / scales.view(-1, *[1] * (maps.xs.ndim - 1))
    rms = maps.zs[shown].flatten(1).square().mean(1).sqrt().clamp(min=1e-6)
    zs = maps.zs[shown] / rms.view(-1, *[1] * (maps.zs.ndim - 1))
    rows = {"x": xs, "denoised": recover_denoised(maps)[shown], "z": zs}
    pictures = []
    for i in range(maps.xs.shape[1]):
        strips = {
            name: plots.latent_rgb(kind, _first_frame(row[:, i])) for name, row in rows.items()
        }
        item = maps._replace(xs=maps.xs[:, i : i + 1], zs=maps.zs[:, i : i + 1])
        pictures.append(plots.inspect(item, strips))
    return torch.stack(pictures)


def _first_frame(latents: torch.Tensor) -> torch.Tensor:
    return latents if latents.ndim == 4 else latents[:, :, 0]


class NoiseMapsToLatent(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ImprintNoiseMapsToLatent",
            display_name="Noise Maps to Latent",
            category=CATEGORY,
            description="Takes a latent out of noise maps, for stock nodes: VAE Decode, KSampler.",
            search_aliases=["extract latent", "trajectory", "unpack"],
            inputs=[
                NoiseMapsType.Input("noise_maps", tooltip="The noise maps to take it from."),
                io.Combo.Input(
                    "what",
                    options=["x", "denoised", "z"],
                    default="x",
                    tooltip="x is the noisy latent before a step, which a sampler can continue "
                    "from; denoised is the image that the model saw in it; z is the step's noise "
                    "map.",
                ),
                io.Int.Input(
                    "step",
                    default=0,
                    min=-1,
                    max=MAX_STEPS,
                    tooltip="Which step, 0 is the noisiest. x has one more, the clean image. -1 "
                    "gives all of them as a batch, step by step.",
                ),
            ],
            outputs=[
                io.Latent.Output(display_name="latent", tooltip="For VAE Decode or a sampler.")
            ],
        )

    @classmethod
    def execute(cls, noise_maps, what, step) -> io.NodeOutput:
        checks.check_maps(noise_maps)
        latents = {
            "x": _unscaled_path,
            "denoised": recover_denoised,
            "z": lambda maps: maps.zs,
        }[what](noise_maps)
        chosen = _at_step(latents, step, what)
        return io.NodeOutput({"samples": host.latent_format(noise_maps).process_out(chosen)})


def _unscaled_path(maps: NoiseMaps) -> torch.Tensor:
    """The path as the host's LATENTs hold it, divided by alpha; NaN where alpha is 0."""
    alphas = torch.tensor([1 - sigma if maps.flow else 1.0 for sigma in maps.sigmas])
    alphas[alphas == 0] = math.nan
    return maps.xs / alphas.view(-1, *[1] * (maps.xs.ndim - 1))


def _at_step(latents: torch.Tensor, step: int, what: str) -> torch.Tensor:
    """One latent, or all of them as a batch."""
    if step >= len(latents):
        raise ValueError(
            f"step is {step}, but {what} has {len(latents)} steps: set it to {len(latents) - 1} or "
            "less."
        )
    if step == -1 and latents.ndim == 6:
        raise ValueError("step is -1, but all steps of a video are no batch: take one at a time.")
    chosen = latents.flatten(0, 1) if step == -1 else latents[step]
    if chosen.isnan().any():
        raise ValueError(
            "x at step 0 of a flow model is noise alone (sigma 1), which a LATENT cannot hold: set "
            "step to 1 or more."
        )
    return chosen


class ReconstructionCheck(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ImprintReconstructionCheck",
            display_name="Reconstruction Check",
            category=CATEGORY,
            description="Measures how exactly an image was reconstructed, and shows where it "
            "differs.",
            search_aliases=["psnr", "compare images", "difference", "mse"],
            is_output_node=True,
            inputs=[
                io.Image.Input(
                    "reference",
                    tooltip="The image encoded and decoded by the VAE (VAE Encode, VAE Decode), "
                    "not the file itself: inversion works on the latent, and the VAE's own loss "
                    "is not part of it.",
                ),
                io.Image.Input(
                    "image", tooltip="The decoded reconstruction, of the same size and batch."
                ),
            ],
            outputs=[
                io.Float.Output(
                    display_name="psnr",
                    tooltip="Peak signal-to-noise ratio in dB, at most 150. Above 100 is exact.",
                ),
                io.String.Output(display_name="report", tooltip="The measured values in one line."),
                io.Image.Output(
                    display_name="difference",
                    tooltip="The absolute difference, amplified as the report says.",
                ),
            ],
        )

    @classmethod
    def execute(cls, reference, image) -> io.NodeOutput:
        if reference.shape != image.shape:
            raise ValueError(
                f"reference is {_size(reference)} and image is {_size(image)}: connect two images "
                "of the same size and batch."
            )
        psnr, report, difference = compare(reference, image)
        host.tell(report, logging.INFO)
        shown = {**ui.PreviewImage(difference, cls=cls).as_dict(), "text": [report]}
        return io.NodeOutput(psnr, report, difference, ui=shown)


def _size(image: torch.Tensor) -> str:
    batch, height, width, channels = image.shape
    return f"{batch} x {width} x {height} pixels of {channels} channels"


def compare(reference: torch.Tensor, image: torch.Tensor) -> tuple[float, str, torch.Tensor]:
    """PSNR in dB, one line of text, and the difference (batch, height, width, channels) amplified
    until it shows.
    """
    difference = (reference - image).abs()
    if not difference.numel():
        raise ValueError("The images are empty: connect at least one image each.")
    if not difference.isfinite().all():
        raise ValueError(
            "The images hold NaN or infinite values: check the VAE (a float32 VAE helps)."
        )
    mean_square = difference.double().square().mean().item()
    psnr = -10 * math.log10(max(mean_square, 10 ** (-_PSNR_CAP / 10)))
    largest = difference.max().item()
    gain = min(max(1, int(1 / max(largest, 1e-12))), 255)
    verdict = next(word for limit, word in _VERDICTS if psnr >= limit)
    largest_step = f"largest difference {largest * 255:.3g} of 255, shown x{gain}"
    report = f"PSNR {psnr:.1f} dB ({verdict}), {largest_step}"
    return psnr, report, (difference * gain).clamp(0, 1)
