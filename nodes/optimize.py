"""From a DDIM inversion to one unconditional embedding per step: null text."""

import logging

import torch
from comfy.utils import repeat_to_batch_size
from comfy_api.latest import io
from torch import Tensor

from ..inversion import Guide, NoiseMaps, NullText, check_noise_maps, optimize
from . import _checks as checks
from . import _conditioning as conditioning
from . import _gradients as gradients
from . import _host as host
from ._sockets import CATEGORY, NoiseMapsType, cfg_input, model_inputs, null_text_methods


class NullTextOptimize(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ImprintNullTextOptimize",
            display_name="Null-Text Optimize",
            category=CATEGORY,
            description="Fits the negative prompt, step by step, so that guided sampling returns "
            "to the image of a DDIM inversion.",
            search_aliases=["null text inversion", "npi", "negative prompt inversion", "pivotal"],
            inputs=[
                *model_inputs(
                    "The prompt of the inversion: what the image shows.",
                    "The negative prompt to start from, usually empty; it is replaced.",
                ),
                NoiseMapsType.Input(
                    "noise_maps", tooltip="The image from DDIM Invert at cfg 1, the pivot."
                ),
                cfg_input(
                    7.5,
                    "Guidance of the edit (the paper's 7.5; 2 to 3 for the demo model). Sample "
                    "with the same: each cfg has its own null text.",
                ),
                null_text_methods(),
            ],
            outputs=[
                NoiseMapsType.Output(
                    display_name="noise_maps",
                    tooltip="The image with its null text, for Inverted Sampler.",
                ),
                io.Conditioning.Output(
                    display_name="positive", tooltip="The positive prompt, unchanged."
                ),
                io.Conditioning.Output(
                    display_name="negative",
                    tooltip="The null text as negative prompt for stock samplers: one entry per "
                    "step. Conditioning Set Timestep Range behind it destroys it.",
                ),
            ],
        )

    @classmethod
    def execute(cls, model, positive, negative, noise_maps, cfg, method=None) -> io.NodeOutput:
        checks.check_pivot(model, noise_maps, cfg)
        maps = find_null_text(model, positive, negative, noise_maps, cfg, method)
        check_noise_maps(maps)
        _, options = conditioning.only_prompt(negative, "negative")
        steering = [options for _, options in positive]
        entries = conditioning.null_text(model, maps, steering, options)
        return io.NodeOutput(maps, positive, entries)


def find_null_text(model, positive, negative, maps: NoiseMaps, cfg: float, method) -> NoiseMaps:
    """The bundle of this pivot with an unconditional embedding for each step."""
    inputs = {option.key: option.inputs for option in null_text_methods().options}
    name, settings = checks.chosen("Null-Text Optimize", "method", method, inputs)
    info = {**maps.info, "method": f"{maps.info.get('method', 'DDIM')}, {name}", "cfg": cfg}
    if name == "negative_prompt":
        source, options = conditioning.only_prompt(positive, "positive")
        uncond = repeat_to_batch_size(source, maps.xs.shape[1]).float().cpu()
        pooled = options.get("pooled_output")
        return maps._replace(
            uncond=uncond.expand(len(maps.zs), *uncond.shape).contiguous(),
            uncond_pooled=None if pooled is None else pooled.float().cpu(),
            info=info,
        )
    start, _ = conditioning.only_prompt(negative, "negative")
    if settings.pop("start_from", "negative") == "positive":
        start, _ = conditioning.only_prompt(positive, "positive")
    guider = host.cfg_guider(gradients.prepare(model), positive, negative, cfg)
    found = _optimize(guider, maps, start, online=name == "online", **settings)
    info["updates"] = found.updates.float().mean(1).sum().item()  # of one image
    host.tell(
        f"Null text: {info['updates']:.0f} updates in {len(maps.zs)} steps, error "
        f"{found.losses[-1].mean():.2g}.",
        logging.INFO,
    )
    xs = torch.cat([found.xs[:-1], maps.xs[-1:]])
    zs = torch.zeros_like(maps.zs)
    zs[-1] = maps.xs[-1] - found.xs[-1]
    return maps._replace(xs=xs, zs=zs, uncond=found.uncond, info=info)


def _optimize(guider, maps: NoiseMaps, start: Tensor, **settings) -> NullText:
    steps, found = len(maps.zs), {}

    def loop(run: host.Run, guide: Guide):
        def on_step(done: int, x: Tensor, denoised: Tensor, updates: Tensor, loss: Tensor) -> None:
            host.show(
                f"Step {done} of {steps}: {updates.float().mean():.3g} updates, error "
                f"{loss.mean():.2g}"
            )
            run.on_step(done, x, denoised)

        # Copies, as these were made under inference mode.
        pivot = maps.xs.to(run.x_0).clone()
        uncond = repeat_to_batch_size(start.to(run.x_0), len(run.x_0)).clone()
        result = optimize(guide, pivot, maps.sigmas, maps.flow, uncond, on_step=on_step, **settings)
        found.update(result=NullText(*(part.cpu() for part in result)))
        return run.x_0

    picture = guider.model_patcher.model.process_latent_out(maps.xs[-1])
    gradients.run(guider, picture, torch.tensor(maps.sigmas), loop)
    return found["result"]
