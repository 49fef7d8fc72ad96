"""DDIM Invert: from an image up to noise, without randomness."""

from comfy_api.latest import io
from comfy_execution.graph_utils import ExecutionBlocker
from torch import Tensor

from ..inversion.noise_maps import NoiseMaps
from ..inversion.paths import ddim_path
from ..inversion.walk import extract_noise_maps
from ._host import latents, models, prompts, sampling
from ._host.messages import said, tell
from .inputs import (
    CATEGORY,
    NoiseMapsType,
    cfg_input,
    guider_inputs,
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
            description="Finds the noise from which sampling without randomness returns to this "
            "image, and the path there.",
            search_aliases=_ALIASES,
            has_intermediate_output=True,
            inputs=[
                *model_inputs(
                    "What the image shows. For Null-Text Optimize it must name what you will edit.",
                    "The negative prompt of the inversion. Not used at cfg 1.",
                ),
                latent_input(),
                steps_input(50),
                cfg_input(
                    1.0,
                    "Guidance while inverting. Leave it at 1, and let Null-Text Optimize prepare "
                    "for the guidance of the edit; the higher it is, the further the result is "
                    "from plain noise.",
                ),
                scheduler_input(),
                *_advanced_inputs(),
            ],
            outputs=_outputs(),
        )

    @classmethod
    def execute(
        cls, model, positive, negative, latent_image, steps, cfg, scheduler, **settings
    ) -> io.NodeOutput:
        guider = prompts.cfg_guider(model, positive, negative, cfg)
        sigmas = models.model_sigmas(model, scheduler, steps)
        maps = invert(guider, sigmas, latent_image, **settings).with_info(scheduler=scheduler)
        return io.NodeOutput(maps, *_for_stock_samplers(model, maps), ui=said())


class DDIMInvertCustom(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ImprintDDIMInvertCustom",
            display_name="DDIM Invert (Custom)",
            category=CATEGORY,
            description="DDIM Invert for any guider and any falling schedule.",
            search_aliases=_ALIASES,
            has_intermediate_output=True,
            inputs=[*guider_inputs(), latent_input(), *_advanced_inputs()],
            outputs=_outputs(),
        )

    @classmethod
    def execute(cls, guider, sigmas, latent_image, **settings) -> io.NodeOutput:
        maps = invert(guider, sigmas, latent_image, **settings)
        return io.NodeOutput(maps, *_for_stock_samplers(guider.model_patcher, maps), ui=said())


def invert(guider, sigmas, latent_image, evaluate_at="target", fixed_point_steps=0) -> NoiseMaps:
    """The bundle of an image at eta 0, whose maps are the residuals of the inversion."""
    patcher = guider.model_patcher
    models.check_without_cache(patcher)
    schedule = models.schedule_of(patcher, sigmas, eta=0.0)
    samples = latents.image_latent(patcher, latent_image)
    scales, steps = models.input_scales(patcher, schedule.sigmas), len(schedule.steps)

    def loop(run: sampling.Run):
        def on_way_back(done: int, x: Tensor, denoised: Tensor) -> None:
            run.on_step(steps + done, x, denoised)

        settings = scales, evaluate_at, fixed_point_steps
        path = ddim_path(run.denoise, run.x_0, schedule, *settings, run.on_step)
        run.restart()
        return extract_noise_maps(run.denoise, path, schedule, run.batch_timesteps, on_way_back)

    (xs, zs), cost = sampling.run(guider, samples, schedule, loop, batch_timesteps=0, passes=2)
    tell(f"Inverted: {cost}.")
    described = sampling.describe(guider, method=f"DDIM, {evaluate_at}")
    return NoiseMaps(xs.cpu(), zs.cpu(), schedule, **described)


class _InvertedNoise:
    """NOISE that starts a stock sampler on an empty latent at the inversion's noisy end."""

    seed = 0

    def __init__(self, noise: Tensor):
        self.noise = noise

    def generate_noise(self, input_latent: dict) -> Tensor:
        samples = input_latent["samples"]
        if samples.shape != self.noise.shape or samples.any():
            state = "a latent with a picture" if samples.any() else "an empty latent"
            raise ValueError(
                f"This noise of an inversion needs an empty latent of shape "
                f"{tuple(self.noise.shape)}, but got {state} of {tuple(samples.shape)}: connect an "
                "empty latent of the image's size."
            )
        return self.noise


def _for_stock_samplers(patcher, maps: NoiseMaps) -> tuple:
    """The noisy end as LATENT and as NOISE."""
    x_T, schedule = maps.xs[0], maps.schedule
    noise = _InvertedNoise(x_T / sampling.noise_scale(patcher, schedule))
    if schedule.alphas[0] == 0:
        return ExecutionBlocker(
            "The noisy end of this inversion is at sigma 1, which a flow model's LATENT cannot "
            "hold: connect the noise output, or noise_maps."
        ), noise
    return {"samples": latents.sampled_latent(patcher, x_T, schedule.sigmas[0])}, noise


def _outputs() -> list:
    return [
        NoiseMapsType.Output(
            display_name="noise_maps",
            tooltip="The whole path with its residuals, for Inverted Sampler and Null-Text "
            "Optimize.",
        ),
        io.Latent.Output(
            display_name="latent",
            tooltip="The noisy end, for KSampler (Advanced) with add_noise disabled, euler, and "
            "the same steps and scheduler.",
        ),
        io.Noise.Output(
            display_name="noise",
            tooltip="The noisy end as NOISE, for SamplerCustomAdvanced on an empty latent.",
        ),
    ]


def _advanced_inputs() -> list:
    return [
        io.Combo.Input(
            "evaluate_at",
            options=["target", "current"],
            default="target",
            optional=True,
            advanced=True,
            tooltip="Where a step upwards asks the model for its direction: at the noise level it "
            "goes to (target, the papers' code) or at the one it comes from (current, Unsampler "
            "nodes). Both are about equally exact; edits differ a little.",
        ),
        io.Int.Input(
            "fixed_point_steps",
            default=0,
            min=0,
            max=100,
            optional=True,
            advanced=True,
            tooltip="How often each step is repeated with the direction at its own result (AIDI, "
            "ReNoise). Each costs one model call; 5 make the error of plain DDIM more than ten "
            "times smaller.",
        ),
    ]
