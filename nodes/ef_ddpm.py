"""EF-DDPM Invert: from an image to the noise maps of DDPM sampling."""

from collections.abc import Callable
from functools import partial

from comfy_api.latest import io
from torch import Tensor

from ..inversion.noise_maps import NoiseMaps
from ..inversion.paths import edit_friendly_path, native_path, shifted_path
from ..inversion.schedule import Schedule
from ..inversion.walk import extract_noise_maps
from ._host import latents, models, prompts, sampling
from ._host.messages import said, tell, warn
from .inputs import (
    CATEGORY,
    EDITING,
    MAX_STEPS,
    NoiseMapsType,
    cfg_input,
    check_noisy,
    eta_input,
    guider_inputs,
    latent_input,
    model_inputs,
    scheduler_input,
    seed_input,
    seeded_noise,
    steps_input,
)

_ALIASES = [*EDITING, "edit friendly", "ddpm inversion", "invert", "unsampler", "ledits"]
_SEED = "Chooses the random noise. Every seed gives the image back; each gives another edit."
_PATHS = {"edit_friendly": edit_friendly_path, "native": native_path}


class EFDDPMInvert(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ImprintEFDDPMInvert",
            display_name="EF-DDPM Invert",
            category=CATEGORY,
            description="Finds the edit-friendly noise maps that make DDPM sampling return "
            "exactly this image.",
            search_aliases=_ALIASES,
            has_intermediate_output=True,
            inputs=[
                *model_inputs(
                    "What the image shows, or an empty prompt. Reconstruction is exact under "
                    "this prompt.",
                    "The negative prompt of the inversion, usually empty. Not used at cfg 1.",
                ),
                latent_input(),
                seed_input(io.ControlAfterGenerate.fixed, _SEED),
                steps_input(100),
                cfg_input(
                    3.5,
                    "Guidance while inverting (the paper's source strength). 1 halves the cost; "
                    "1 to 3.5 is useful.",
                ),
                scheduler_input(),
                _skip_input(36),
                *_advanced_inputs(),
            ],
            outputs=[_output()],
        )

    @classmethod
    def execute(
        cls, model, positive, negative, latent_image, seed, steps, cfg, scheduler, **settings
    ) -> io.NodeOutput:
        guider = prompts.cfg_guider(model, positive, negative, cfg)
        sigmas = models.model_sigmas(model, scheduler, steps)
        maps = invert(guider, sigmas, latent_image, seed, **settings)
        return io.NodeOutput(maps.with_info(scheduler=scheduler), ui=said())


class EFDDPMInvertCustom(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ImprintEFDDPMInvertCustom",
            display_name="EF-DDPM Invert (Custom)",
            category=CATEGORY,
            description="EF-DDPM Invert for any guider and any falling schedule.",
            search_aliases=_ALIASES,
            has_intermediate_output=True,
            inputs=[
                *guider_inputs(),
                latent_input(),
                seed_input(io.ControlAfterGenerate.fixed, _SEED),
                _skip_input(0),
                *_advanced_inputs(),
            ],
            outputs=[_output()],
        )

    @classmethod
    def execute(cls, guider, sigmas, latent_image, **settings) -> io.NodeOutput:
        maps = invert(guider, sigmas, latent_image, **settings)
        return io.NodeOutput(maps, ui=said())


def invert(
    guider,
    sigmas,
    latent_image,
    seed,
    skip_steps,
    eta=1.0,
    path="edit_friendly",
    batch_timesteps=0,
    noise_shift=0,
    last_map_norm=0.0,
) -> NoiseMaps:
    """The bundle of an image; the first `skip_steps` of the schedule are never evaluated."""
    check_noisy(eta)
    patcher = guider.model_patcher
    whole = models.schedule_of(patcher, sigmas, eta)
    steps = len(whole.steps)
    schedule = whole.after(skip_steps, f"; {round(0.36 * steps)} (36 %) is usual")
    samples = latents.image_latent(patcher, latent_image)
    _warn_of_skipping(skip_steps, steps)
    follow = _path(patcher, whole, path, noise_shift)
    longest = models.longest_last_map(patcher, schedule, last_map_norm) if last_map_norm else None

    def loop(run: sampling.Run):
        # Drawn here, so that it is gone when the maps are made. The path has the skipped steps too:
        # with the same seed, more skipping cuts it shorter.
        noise = seeded_noise(latent_image, samples, steps, seed).to(run.x_0)
        xs = follow(run.x_0, noise=noise)[skip_steps:]
        del noise
        settings = run.batch_timesteps, run.on_step, longest
        return extract_noise_maps(run.denoise, xs, schedule, *settings)

    (xs, zs), cost = sampling.run(guider, samples, schedule, loop, batch_timesteps)
    tell(f"Inverted: {cost}.")
    shifted = f" shifted by {noise_shift}" if noise_shift else ""
    described = sampling.describe(guider, method=f"EF-DDPM, {path} path{shifted}", seed=seed)
    return NoiseMaps(xs.cpu(), zs.cpu(), schedule, skipped=skip_steps, **described)


def _warn_of_skipping(skip: int, steps: int) -> None:
    if skip > 0.6 * steps:
        warn(
            f"{skip} of {steps} steps are skipped, so the edit can hardly change the image: lower "
            "skip_steps, usually to 36 % of the steps."
        )


def _path(patcher, schedule: Schedule, name: str, noise_shift: int) -> Callable[..., Tensor]:
    """The function of x_0 and noise that gives the path."""
    if not noise_shift:
        return partial(_PATHS[name], schedule=schedule)
    if name != "edit_friendly":
        raise ValueError(
            f"noise_shift is {noise_shift}, but the {name} path has the noise of its own sampler: "
            "set path to edit_friendly, or noise_shift to 0."
        )
    sigmas = models.lower_sigmas(patcher, schedule, noise_shift)
    lower, own = (models.input_scales(patcher, levels) for levels in (sigmas, schedule.sigmas))
    scales = [there / here for there, here in zip(lower, own, strict=True)]
    return partial(shifted_path, schedule=schedule, lower_sigmas=sigmas, input_scales=scales)


def _output() -> io.Output:
    return NoiseMapsType.Output(
        display_name="noise_maps",
        tooltip="The image as noise maps, for any number of Inverted Samplers: one inversion, many "
        "edits.",
    )


def _skip_input(default: int) -> io.Int.Input:
    return io.Int.Input(
        "skip_steps",
        default=default,
        min=0,
        max=MAX_STEPS,
        tooltip="First, noisiest steps to leave out (the paper's T_skip). More keeps the edit "
        "closer to the image, fewer lets it change more; 20 to 40 % of the steps is useful. "
        "Skipped steps cost nothing.",
    )


def _advanced_inputs() -> list:
    return [
        eta_input(),
        io.Combo.Input(
            "path",
            options=[*_PATHS],
            default="edit_friendly",
            optional=True,
            advanced=True,
            tooltip="edit_friendly adds noise to the image independently for each step, so that "
            "edits keep its structure. native is the sampler's own path, the paper's baseline: it "
            "gives the image back, but edits drift.",
        ),
        io.Int.Input(
            "batch_timesteps",
            default=0,
            min=0,
            max=MAX_STEPS,
            optional=True,
            advanced=True,
            tooltip="How many steps share one model call; 0 is automatic, at most 16. More is "
            "faster where the device has room. The image comes back exactly with any. Prompts with "
            "time ranges, patched models, Hunyuan Video and SeedVR2 always run one step at a time.",
        ),
        *_few_step_inputs(),
    ]


def _few_step_inputs() -> list:
    return [
        io.Int.Input(
            "noise_shift",
            default=0,
            min=0,
            max=999,
            optional=True,
            advanced=True,
            tooltip="For models of 1 to 8 steps (Turbo, LCM, Lightning): how many of 1000 training "
            "timesteps less noise the path has than its steps say. TurboEdit uses 200. Needs the "
            "path edit_friendly.",
        ),
        io.Float.Input(
            "last_map_norm",
            default=0.0,
            min=0.0,
            max=10_000.0,
            step=0.5,
            round=0.01,
            optional=True,
            advanced=True,
            tooltip="For the same models: the longest that the last noise map may be, so that "
            "edits show less of what it holds of the image. The image then comes back less "
            "exactly. TurboEdit uses 15.5 at 512 x 512. 0 is off.",
        ),
    ]
