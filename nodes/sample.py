"""To an image: from noise maps, or from noise whose maps are recorded."""

import logging

import torch
from comfy_api.latest import io

from ..inversion import NoiseMaps, check_eta, check_noise_maps, check_sigmas, record, replay
from . import _checks as checks
from . import _host as host
from ._conditioning import with_null_text
from ._sockets import (
    CATEGORY,
    MAX_SEED,
    NoiseMapsType,
    cfg_input,
    eta_input,
    model_inputs,
    replay_settings,
    scheduler_input,
    steps_input,
)

_ALIASES = ["edit friendly", "ddpm inversion", "replay", "edit image", "resample"]
_OUTPUT = "The reconstruction or the edit, for VAE Decode."


class InvertedSampler(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ImprintInvertedSampler",
            display_name="Inverted Sampler",
            category=CATEGORY,
            description="Samples with the noise maps of an image: the source prompt returns it, "
            "another prompt edits it.",
            search_aliases=_ALIASES,
            inputs=[
                *model_inputs(
                    "What the result shall show. The prompt and cfg of the inversion give back "
                    "the image itself.",
                    "What the result shall not show. For an exact reconstruction, the negative "
                    "prompt of the inversion.",
                ),
                _noise_maps_input(),
                cfg_input(
                    7.5,
                    "Guidance of the edit (the paper's target strength, 7 to 18; 1 to 3 for the "
                    "demo model). Higher follows the prompt more and keeps less.",
                ),
                *replay_settings(),
            ],
            outputs=[io.Latent.Output(display_name="latent", tooltip=_OUTPUT)],
        )

    @classmethod
    def execute(
        cls, model, positive, negative, noise_maps, cfg, skip_steps, mask=None, residual=1.0
    ) -> io.NodeOutput:
        guider = host.cfg_guider(model, positive, negative, cfg)
        return io.NodeOutput(sample(guider, noise_maps, skip_steps, mask, residual))


class InvertedSamplerCustom(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ImprintInvertedSamplerCustom",
            display_name="Inverted Sampler (Custom)",
            category=CATEGORY,
            description="Inverted Sampler for any guider.",
            search_aliases=_ALIASES,
            inputs=[
                io.Guider.Input("guider", tooltip="Model, prompts and cfg of the result."),
                _noise_maps_input(),
                *replay_settings(),
            ],
            outputs=[io.Latent.Output(display_name="latent", tooltip=_OUTPUT)],
        )

    @classmethod
    def execute(cls, guider, noise_maps, skip_steps, mask=None, residual=1.0) -> io.NodeOutput:
        return io.NodeOutput(sample(guider, noise_maps, skip_steps, mask, residual))


def _noise_maps_input():
    return NoiseMapsType.Input(
        "noise_maps", tooltip="The image as noise maps, from an Invert node."
    )


def sample(guider, maps, skip, mask, residual) -> dict:
    """The LATENT that these noise maps give under this guider."""
    patcher = guider.model_patcher
    checks.check_bundle(patcher, maps)
    if not 0 <= skip < len(maps.zs):
        raise ValueError(
            f"skip_steps is {skip}, but the noise maps hold {len(maps.zs)} steps: set it to 0, "
            "since the inversion has already skipped its first steps."
        )
    guider = with_null_text(guider, maps)
    _tell_about_cfg(maps, host.guidance(guider))

    def loop(run: host.Run):
        moved = maps._replace(xs=maps.xs.to(run.x_0), zs=maps.zs.to(run.x_0))
        fitted = None if mask is None else checks.fit_mask(mask, run.x_0.shape).to(run.x_0)
        return replay(run.denoise, moved, skip, residual, fitted, run.on_step)

    picture = patcher.model.process_latent_out(maps.xs[-1])
    samples = host.run(guider, picture, torch.tensor(maps.sigmas[skip:]), loop)
    if not samples.isfinite().all():
        raise ValueError(
            "The model returned NaN or infinite values under these prompts: use a float32 model, "
            "or a lower cfg."
        )
    return {"samples": samples}


def _tell_about_cfg(maps: NoiseMaps, cfg: float | None) -> None:
    """Reconstruction holds at the bundle's own cfg."""
    source_cfg = maps.info.get("cfg")
    if cfg is None or source_cfg is None or cfg == source_cfg:
        return
    if maps.uncond is not None:
        host.tell(
            f"The null text was made for cfg {source_cfg:g}, not for {cfg:g}: set both to the same."
        )
    elif maps.eta == 0 and cfg > 3:
        host.tell(
            f"A DDIM inversion of cfg {source_cfg:g} drifts at cfg {cfg:g}: lower cfg, or connect "
            "Null-Text Optimize."
        )
    else:
        host.tell(
            f"Inverted at cfg {source_cfg:g}, sampled at {cfg:g}: an edit, not a reconstruction.",
            logging.INFO,
        )


class RecordDDPM(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ImprintRecordDDPM",
            display_name="DDPM Sample and Record",
            category=CATEGORY,
            description="Samples a new image by DDPM and records its true noise maps, to compare "
            "with inverted ones or to edit.",
            search_aliases=["ancestral", "generate", "native noise maps", "recorded"],
            inputs=[
                *model_inputs(
                    "What the image shall show.", "What it shall not show. Not used at cfg 1."
                ),
                io.Latent.Input(
                    "latent_image",
                    tooltip="Gives the size and the number of images: an empty latent, or any of "
                    "that size. What it shows is not used.",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=MAX_SEED,
                    control_after_generate=True,
                    tooltip="Draws the image. Another seed gives another one.",
                ),
                steps_input(100),
                cfg_input(7.5, "Guidance: higher follows the prompt more."),
                scheduler_input(),
                eta_input(),
            ],
            outputs=[
                NoiseMapsType.Output(
                    display_name="noise_maps",
                    tooltip="The maps that the image was made from, for Inverted Sampler or Noise "
                    "Map Edit.",
                ),
                io.Latent.Output(display_name="latent", tooltip="The image, for VAE Decode."),
            ],
        )

    @classmethod
    def execute(
        cls, model, positive, negative, latent_image, seed, steps, cfg, scheduler, eta=1.0
    ) -> io.NodeOutput:
        guider = host.cfg_guider(model, positive, negative, cfg)
        sigmas = host.schedule(model, scheduler, steps)
        maps, samples = sample_and_record(guider, sigmas, latent_image, seed, eta, scheduler)
        return io.NodeOutput(maps, {"samples": samples})


def sample_and_record(
    guider, sigmas, latent_image, seed, eta, scheduler
) -> tuple[NoiseMaps, torch.Tensor]:
    """The bundle of a new image, and its latent."""
    patcher, levels = guider.model_patcher, tuple(sigmas.tolist())
    flow = checks.is_flow(patcher)
    check_sigmas(levels, flow)
    check_eta(eta)
    empty = torch.zeros_like(checks.fitting_latent(patcher, latent_image), dtype=torch.float32)
    noise = host.step_noise(latent_image, empty, len(levels) - 1, seed)
    found = {}

    def loop(run: host.Run):
        drawn = noise.to(run.x_0)
        x_T = levels[0] * drawn[0]
        xs, zs = record(run.denoise, x_T, levels, eta, flow, drawn[1:], run.on_step)
        found.update(xs=xs.cpu(), zs=zs.cpu())
        return xs[-1]

    samples = host.run(guider, empty, sigmas, loop)
    info = host.describe(guider, method="recorded", scheduler=scheduler, seed=seed)
    maps = NoiseMaps(**found, sigmas=levels, eta=eta, flow=flow, skipped=0, info=info)
    check_noise_maps(maps)
    return maps, samples
