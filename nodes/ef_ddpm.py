"""EF-DDPM Invert: from an image to the noise maps of DDPM sampling."""

from comfy_api.latest import io

from ..inversion.noise_maps import NoiseMaps
from ..inversion.paths import edit_friendly_path, native_path
from ..inversion.walk import extract_noise_maps
from ._host import latents, models, prompts, sampling
from ._host.messages import warn
from .inputs import (
    CATEGORY,
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

_ALIASES = ["edit friendly", "ddpm inversion", "invert", "unsampler", "ledits"]
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
        return io.NodeOutput(maps.with_info(scheduler=scheduler))


class EFDDPMInvertCustom(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ImprintEFDDPMInvertCustom",
            display_name="EF-DDPM Invert (Custom)",
            category=CATEGORY,
            description="EF-DDPM Invert for any guider and any falling schedule.",
            search_aliases=_ALIASES,
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
        return io.NodeOutput(invert(guider, sigmas, latent_image, **settings))


def invert(
    guider,
    sigmas,
    latent_image,
    seed,
    skip_steps,
    eta=1.0,
    path="edit_friendly",
    batch_timesteps=0,
) -> NoiseMaps:
    """The bundle of an image; the first `skip_steps` of the schedule are never evaluated."""
    check_noisy(eta)
    whole = models.schedule_of(guider.model_patcher, sigmas, eta)
    steps = len(whole.steps)
    schedule = whole.after(skip_steps, f"; {round(0.36 * steps)} (36 %) is usual")
    samples = latents.image_latent(guider.model_patcher, latent_image)
    if skip_steps > 0.6 * steps:
        warn(
            f"{skip_steps} of {steps} steps are skipped, so the edit can hardly change the image: "
            "lower skip_steps, usually to 36 % of the steps."
        )
    noise = seeded_noise(latent_image, samples, steps, seed)

    def loop(run: sampling.Run):
        # The path has the skipped steps too: with the same seed, more skipping cuts it shorter.
        xs = _PATHS[path](run.x_0, whole, noise.to(run.x_0))[skip_steps:]
        return extract_noise_maps(run.denoise, xs, schedule, run.batch_timesteps, run.on_step)

    xs, zs = sampling.run(guider, samples, schedule, loop, batch_timesteps)
    described = sampling.describe(guider, method=f"EF-DDPM, {path} path", seed=seed)
    return NoiseMaps(xs.cpu(), zs.cpu(), schedule, skipped=skip_steps, **described)


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
    ]
