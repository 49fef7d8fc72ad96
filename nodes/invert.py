"""From an image to noise maps."""

from comfy_api.latest import io

from ..inversion import (
    NoiseMaps,
    check_eta,
    check_noise_maps,
    check_skip,
    edit_friendly_path,
    extract,
    native_path,
)
from . import _checks as checks
from . import _host as host
from ._sockets import (
    CATEGORY,
    NoiseMapsType,
    cfg_input,
    invert_skip_input,
    latent_input,
    model_inputs,
    path_inputs,
    scheduler_input,
    seed_input,
    steps_input,
)

_ALIASES = ["edit friendly", "ddpm inversion", "invert", "unsampler", "ledits"]
_OUTPUT = "The image as noise maps, for any number of Inverted Samplers: one inversion, many edits."


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
                seed_input(),
                steps_input(100),
                cfg_input(
                    3.5,
                    "Guidance while inverting (the paper's source strength). 1 halves the cost; "
                    "1 to 3.5 is useful.",
                ),
                scheduler_input(),
                invert_skip_input(36),
                *path_inputs(),
            ],
            outputs=[NoiseMapsType.Output(display_name="noise_maps", tooltip=_OUTPUT)],
        )

    @classmethod
    def execute(
        cls,
        model,
        positive,
        negative,
        latent_image,
        seed,
        steps,
        cfg,
        scheduler,
        skip_steps,
        eta=1.0,
        path="edit_friendly",
        batch_timesteps=1,
    ) -> io.NodeOutput:
        guider = host.cfg_guider(model, positive, negative, cfg)
        sigmas = host.schedule(model, scheduler, steps)
        return io.NodeOutput(
            invert(
                guider,
                sigmas,
                latent_image,
                seed,
                skip_steps,
                eta,
                path,
                batch_timesteps,
                scheduler,
            )
        )


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
                io.Guider.Input("guider", tooltip="Model, source prompt and cfg to invert with."),
                io.Sigmas.Input(
                    "sigmas", tooltip="Falling sigmas of the whole schedule; not flipped."
                ),
                latent_input(),
                seed_input(),
                invert_skip_input(0),
                *path_inputs(),
            ],
            outputs=[NoiseMapsType.Output(display_name="noise_maps", tooltip=_OUTPUT)],
        )

    @classmethod
    def execute(
        cls,
        guider,
        sigmas,
        latent_image,
        seed,
        skip_steps,
        eta=1.0,
        path="edit_friendly",
        batch_timesteps=1,
    ) -> io.NodeOutput:
        return io.NodeOutput(
            invert(
                guider, sigmas, latent_image, seed, skip_steps, eta, path, batch_timesteps, "custom"
            )
        )


def invert(
    guider, sigmas, latent_image, seed, skip, eta, path, batch_timesteps, scheduler
) -> NoiseMaps:
    """The bundle of an image; the first `skip` steps of the schedule are never evaluated."""
    levels, flow, samples = checks.image_and_schedule(guider.model_patcher, latent_image, sigmas)
    check_eta(eta)
    check_skip(skip, len(levels) - 1)
    if skip > 0.6 * (len(levels) - 1):
        host.tell(
            f"{skip} of {len(levels) - 1} steps are skipped: the edit can hardly change the "
            "image. 36 % is usual."
        )
    noise = host.step_noise(latent_image, samples, len(levels) - 1, seed)
    found = {}

    def loop(run: host.Run):
        # The path has the skipped steps too: with the same seed, more skipping cuts it shorter.
        if path == "native":
            xs = native_path(run.x_0, levels, eta, flow, noise.to(run.x_0))
        else:
            xs = edit_friendly_path(run.x_0, levels, flow, noise.to(run.x_0))
        kept = levels[skip:]
        xs, zs = extract(run.denoise, xs[skip:], kept, eta, flow, run.batch_timesteps, run.on_step)
        found.update(xs=xs.cpu(), zs=zs.cpu())
        return run.x_0

    host.run(guider, samples, sigmas[skip:], loop, batch_timesteps)
    info = host.describe(guider, method=f"EF-DDPM, {path} path", scheduler=scheduler, seed=seed)
    maps = NoiseMaps(**found, sigmas=levels[skip:], eta=eta, flow=flow, skipped=skip, info=info)
    check_noise_maps(maps)
    return maps
