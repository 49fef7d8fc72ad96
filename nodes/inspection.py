"""What is in noise maps: plots and strips, and single latents for stock nodes."""

import torch
from comfy_api.latest import io, ui

from ..inversion.noise_maps import NoiseMaps
from ..inversion.statistics import recover_denoised
from ._host import latents
from .inputs import CATEGORY, MAX_STEPS, check_noise_maps, noise_maps_input
from .plots import draw_noise_maps
from .viewer import previews, scaled, viewer_data


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
            inputs=[noise_maps_input("The noise maps to look at.")],
            outputs=[
                io.Image.Output(
                    display_name="image", tooltip="Plots and strips, one picture for each image."
                )
            ],
        )

    @classmethod
    def execute(cls, noise_maps) -> io.NodeOutput:
        check_noise_maps(noise_maps)
        found = [_inspected(noise_maps, i) for i in range(noise_maps.xs.shape[1])]
        image = torch.stack([picture for picture, _ in found])
        shown = ui.PreviewImage(image, cls=cls).as_dict()
        return io.NodeOutput(image, ui={**shown, "imprint_steps": [data for _, data in found]})


def _inspected(maps: NoiseMaps, i: int) -> tuple[torch.Tensor, dict]:
    """Of one image of a batch: plots and strips (height, width, 3), and what the viewer needs."""
    item = maps.replace(xs=maps.xs[:, i : i + 1], zs=maps.zs[:, i : i + 1], uncond=None)
    pictures = previews(item)
    return draw_noise_maps(item, pictures), viewer_data(item, pictures)


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
                noise_maps_input("The noise maps to take it from."),
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
        check_noise_maps(noise_maps)
        x = _at_step(noise_maps, what, step)
        return io.NodeOutput({"samples": latents.latent_format(noise_maps).process_out(x)})


def _at_step(maps: NoiseMaps, what: str, step: int) -> torch.Tensor:
    """One latent in model space, or all of them as a batch; x is divided by alpha, as in LATENTs
    of the host.
    """
    rows = {"x": lambda: maps.xs, "denoised": lambda: recover_denoised(maps), "z": lambda: maps.zs}
    values, alphas = rows[what](), maps.schedule.alphas
    if not -1 <= step < len(values):
        raise ValueError(
            f"step is {step}, but {what} has {len(values)} steps: set it to {len(values) - 1} or "
            "less."
        )
    if step == -1 and values.ndim == 6:
        raise ValueError(
            "step is -1, but the steps of a video do not fit into one batch: choose one step."
        )
    if what == "x" and step <= 0 and alphas[0] == 0:
        raise ValueError(
            "x at step 0 of a flow model is pure noise (sigma 1), which a LATENT cannot hold: set "
            "step to 1 or more."
        )
    if what == "x":
        values = scaled(values, torch.tensor(alphas))
    return values.flatten(0, 1) if step == -1 else values[step]
