"""From an image to noise without randomness, for this pack and for stock samplers."""

from types import SimpleNamespace

import comfy.samplers
import torch
from comfy_api.latest import io
from comfy_execution.graph_utils import ExecutionBlocker
from torch import Tensor

from ..inversion import NoiseMaps, check_noise_maps, ddim_path, extract
from . import _checks as checks
from . import _host as host
from ._sockets import (
    CATEGORY,
    NoiseMapsType,
    cfg_input,
    ddim_inputs,
    latent_input,
    model_inputs,
    scheduler_input,
    steps_input,
)

_ALIASES = ["ddim inversion", "invert", "unsampler", "inverse sampler", "reverse ode"]


class DDIMInvert(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ImprintDDIMInvert",
            display_name="DDIM Invert",
            category=CATEGORY,
            description="Finds the noise from which deterministic sampling returns to this image, "
            "and the path there.",
            search_aliases=_ALIASES,
            inputs=[
                *model_inputs(
                    "What the image shows. For Null-Text Optimize it must name what you will edit.",
                    "The negative prompt of the inversion. Not used at cfg 1.",
                ),
                latent_input(),
                steps_input(50),
                cfg_input(
                    1.0,
                    "Guidance while inverting. Leave it at 1 and let Null-Text Optimize care for "
                    "the guidance of the edit; above 3 the noise is no longer Gaussian.",
                ),
                scheduler_input(),
                *ddim_inputs(),
            ],
            outputs=_outputs(),
        )

    @classmethod
    def execute(
        cls,
        model,
        positive,
        negative,
        latent_image,
        steps,
        cfg,
        scheduler,
        evaluate_at="target",
        fixed_point_steps=0,
    ) -> io.NodeOutput:
        guider = host.cfg_guider(model, positive, negative, cfg)
        sigmas = host.schedule(model, scheduler, steps)
        maps = invert(guider, sigmas, latent_image, evaluate_at, fixed_point_steps, scheduler)
        return io.NodeOutput(maps, *_for_stock_samplers(model, maps))


class DDIMInvertCustom(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ImprintDDIMInvertCustom",
            display_name="DDIM Invert (Custom)",
            category=CATEGORY,
            description="DDIM Invert for any guider and any falling schedule.",
            search_aliases=_ALIASES,
            inputs=[
                io.Guider.Input("guider", tooltip="Model, source prompt and cfg to invert with."),
                io.Sigmas.Input(
                    "sigmas", tooltip="Falling sigmas of the whole schedule; not flipped."
                ),
                latent_input(),
                *ddim_inputs(),
            ],
            outputs=_outputs(),
        )

    @classmethod
    def execute(
        cls, guider, sigmas, latent_image, evaluate_at="target", fixed_point_steps=0
    ) -> io.NodeOutput:
        maps = invert(guider, sigmas, latent_image, evaluate_at, fixed_point_steps, "custom")
        return io.NodeOutput(maps, *_for_stock_samplers(guider.model_patcher, maps))


def _outputs() -> list:
    return [
        NoiseMapsType.Output(
            display_name="noise_maps",
            tooltip="The whole path with its residuals, for Inverted Sampler and Null-Text "
            "Optimize.",
        ),
        io.Latent.Output(
            display_name="latent",
            tooltip="The noisy end, for KSampler (Advanced) with add_noise disabled and the same "
            "steps and scheduler.",
        ),
        io.Noise.Output(
            display_name="noise",
            tooltip="The noisy end as NOISE, for SamplerCustomAdvanced on an empty latent.",
        ),
    ]


def invert(guider, sigmas, latent_image, evaluate_at, fixed_point_steps, scheduler) -> NoiseMaps:
    """The bundle of an image at eta 0, whose maps are the residuals of the inversion."""
    patcher = guider.model_patcher
    levels, flow, samples = checks.image_and_schedule(patcher, latent_image, sigmas)
    found = {}

    def loop(run: host.Run):
        steps = len(levels) - 1
        path = ddim_path(
            run.denoise,
            run.x_0,
            levels,
            flow,
            host.input_scales(patcher, sigmas),
            evaluate_at,
            fixed_point_steps,
            run.on_step,
        )
        xs, zs = extract(
            run.denoise, path, levels, 0.0, flow, on_step=lambda i, *x: run.on_step(steps + i, *x)
        )
        found.update(xs=xs.cpu(), zs=zs.cpu())
        return run.x_0

    host.run(guider, samples, sigmas, loop, passes=2)
    info = host.describe(guider, method=f"DDIM, {evaluate_at}", scheduler=scheduler)
    maps = NoiseMaps(**found, sigmas=levels, eta=0.0, flow=flow, skipped=0, info=info)
    check_noise_maps(maps)
    return maps


class _InvertedNoise:
    """NOISE that starts a stock sampler on an empty latent at the inversion's noisy end."""

    seed = 0

    def __init__(self, noise: Tensor):
        self.noise = noise

    def generate_noise(self, input_latent: dict) -> Tensor:
        samples = input_latent["samples"]
        if samples.shape != self.noise.shape or samples.any():
            state = "filled" if samples.any() else "empty"
            raise ValueError(
                f"This noise of an inversion needs an empty latent of shape "
                f"{tuple(self.noise.shape)}, but meets a {state} one of {tuple(samples.shape)}: "
                "connect an empty latent of the image's size."
            )
        return self.noise


def _for_stock_samplers(patcher, maps: NoiseMaps) -> tuple:
    """The noisy end as LATENT and as NOISE."""
    sampling = patcher.get_model_object("model_sampling")
    sigma, x_T = torch.tensor(maps.sigmas[0]), maps.xs[0]
    wrap = SimpleNamespace(inner_model=SimpleNamespace(model_sampling=sampling))
    top = comfy.samplers.Sampler().max_denoise(wrap, maps.sigmas)
    scale = sampling.noise_scaling(sigma, torch.ones(()), torch.zeros(()), top)
    noise = _InvertedNoise(x_T / scale)
    if maps.flow and maps.sigmas[0] == 1:
        return ExecutionBlocker(
            "The noisy end of this inversion lies at sigma 1, where a flow model's LATENT cannot "
            "hold it: connect the noise output, or noise_maps."
        ), noise
    samples = sampling.inverse_noise_scaling(sigma, x_T)
    return {"samples": patcher.model.process_latent_out(samples)}, noise
