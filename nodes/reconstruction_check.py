"""Reconstruction Check: how exact is a reconstruction?"""

import math

import torch
from comfy_api.latest import io, ui

from .drawing import draw_comparison
from .inputs import CATEGORY

_PSNR_CAP = 150.0
# From which PSNR in dB; two images can differ so much that it is negative.
_VERDICTS = ((100, "exact"), (50, "not visible"), (30, "visible"), (-math.inf, "different"))


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
                    tooltip="The image after VAE Encode and VAE Decode, not the file itself: "
                    "inversion works on the latent, and the VAE's own loss is not part of it.",
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
        psnr, words, difference = _compare(reference, image)
        first, verdict, *rest = words
        report = f"{first} ({verdict}), {' '.join(rest[:2])}, {rest[2]}"
        triples = zip(_colours(reference), _colours(image), _colours(difference), strict=True)
        pictures = torch.stack([draw_comparison(*triple, words) for triple in triples])
        shown = {**ui.PreviewImage(pictures, cls=cls).as_dict(), "text": [report]}
        return io.NodeOutput(psnr, report, difference, ui=shown)


def _size(image: torch.Tensor) -> str:
    batch, height, width, channels = image.shape
    return f"{batch} x {width} x {height} pixels of {channels} channels"


def _colours(image: torch.Tensor) -> torch.Tensor:
    """An image (batch, height, width, channels) as three colours, without transparency."""
    return image[..., :3].expand(-1, -1, -1, 3).float()


def _compare(reference: torch.Tensor, image: torch.Tensor) -> tuple[float, list[str], torch.Tensor]:
    """PSNR in dB, what was measured in words, and the difference (batch, height, width, channels)
    amplified until it shows.
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
    words = [f"PSNR {psnr:.1f} dB", verdict, "largest difference", f"{largest * 255:.3g} of 255"]
    return psnr, [*words, f"shown x{gain}"], (difference * gain).clamp(0, 1)
