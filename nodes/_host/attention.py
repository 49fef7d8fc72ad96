"""Where an attention control is hooked into the host's networks.

Everything is a patch on a clone of the model, for one run: functions before and around attention,
and around each call of the network.
"""

import copy
import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import comfy.samplers
import torch
from comfy import patcher_extension, sampler_helpers
from comfy.ldm.flux.model import Flux
from comfy.ldm.modules.attention import SpatialTransformer, SpatialVideoTransformer
from comfy.ldm.modules.diffusionmodules.mmdit import MMDiT
from comfy.ldm.modules.diffusionmodules.openaimodel import ResBlock, UNetModel
from torch import Tensor, nn

from ...inversion.attention import Control, Layer, Moment
from ...inversion.noise_maps import NoiseMaps
from ...inversion.schedule import Schedule
from . import models
from .gradients import differentiable, run_with_gradients
from .sampling import Run, run

_OVERRIDE = "optimized_attention_override"
_Part = tuple[float, float]
_STAGES = {"input": "input_blocks", "middle": "middle_block", "output": "output_blocks"}


class AttentionControl(NamedTuple):
    """What an `attention_control` socket carries: a method's rules and the source CONDITIONING."""

    rules: Control
    source: list


def controlled(guider, control: AttentionControl, maps: NoiseMaps) -> tuple:
    """A guider like this one whose model is steered, and its Steering, for one run of a bundle."""
    if not isinstance(control, AttentionControl):
        raise ValueError(
            f"attention_control holds a {type(control).__name__}: connect the attention_control "
            "output of Prompt-to-Prompt, Plug-and-Play, MasaCtrl or pix2pix-zero."
        )
    models.check_without_cache(guider.model_patcher)
    by_gradient = control.rules.guidance > 0
    patcher = guider.model_patcher
    patcher = differentiable(patcher) if by_gradient else patcher.clone()
    changed = copy.copy(guider)
    source = sampler_helpers.convert_cond(control.source)
    changed.original_conds = {**guider.original_conds, "source": source}
    changed.model_patcher, changed.model_options = patcher, patcher.model_options
    steering = Steering(changed, control.rules, maps.skipped, maps.skipped + len(maps.zs))
    steering.install(patcher)
    return changed, steering


class Steering:
    """A `walk.Steer` for one run: the source call before each step, the hooks for both calls."""

    def __init__(self, guider, rules: Control, skipped: int, steps: int):
        self.guider, self.rules = guider, rules
        self.skipped, self.steps = skipped, steps
        self.run: Run | None = None
        self.network = _supported(guider.model_patcher.model.diffusion_model)
        self.blocks = _blocks(self.network)
        self.phase, self.moment = "", Moment(0, steps)  # phase "": the hooks do nothing
        self.kept = dict[object, tuple[Layer, list[Tensor]]]()
        self.awaited: tuple[object, Layer] | None = None  # a layer whose attention comes next
        self.text, self.latent, self.chunks, self.joint = 0, (0, 0), list[bool](), 0

    def install(self, patcher) -> None:
        """Hooks it into this model, a clone."""
        options = patcher.model_options["transformer_options"]
        options[_OVERRIDE] = partial(self._attention, options.get(_OVERRIDE))
        patcher.add_wrapper(patcher_extension.WrappersMP.APPLY_MODEL, self._call)
        if isinstance(self.network, UNetModel):
            patcher.set_model_attn1_patch(partial(self._before_attention, "self"))
            patcher.set_model_attn2_patch(partial(self._before_attention, "cross"))
            for path, module, decoder in _residual_blocks(self.network):
                hooked = partial(self._features, module.out_layers.forward, path, decoder)
                patcher.add_object_patch(f"diffusion_model.{path}.out_layers.forward", hooked)

    def sample(self, picture: Tensor, schedule: Schedule, loop: Callable[[Run], Tensor]):
        """`sampling.run` of its guider, with gradients where the method needs them."""
        try:
            if not self.rules.guidance:
                return run(self.guider, picture, schedule, loop)
            return run_with_gradients(self.guider, picture, schedule, torch.no_grad()(loop))
        finally:
            self.stop()

    def start(self, run: Run) -> "Steering":
        """Binds it to a run inside its guider."""
        self.run, self.rules = run, self.rules.for_run(run.x_0.device)
        return self

    def before(self, i: int, x: Tensor, own: Tensor, sigma: Tensor) -> Tensor:
        """The latent to go on with, after the network saw the bundle's own under the source."""
        self.moment = Moment(self.skipped + i, self.steps)
        if not self.rules.active(self.moment):
            return x
        self.phase = "source"
        self._predict("source", own, sigma)
        self.phase = "target"
        if self.rules.guidance:
            x = self._guided(x, sigma)
            self.phase = ""
        return x

    def after(self, x_next: Tensor, own: Tensor) -> Tensor:
        """The latent after a step."""
        self.stop()
        return self.rules.blend(self.moment, x_next, own)

    def stop(self) -> None:
        """Lets go of what was kept; the hooks do nothing from here on."""
        self.phase, self.awaited = "", None
        self.kept.clear()

    def _predict(self, prompt: str, x: Tensor, sigma: Tensor) -> None:
        assert self.run is not None
        self.run.denoise.count(len(x))
        options = self.run.extra_args["model_options"]
        conds = [self.guider.conds[prompt]]
        comfy.samplers.calc_cond_batch(self.guider.inner_model, conds, x, sigma, options)

    def _guided(self, x: Tensor, sigma: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x.detach().clone().requires_grad_()
            self._predict("positive", x, sigma)
            (gradient,) = torch.autograd.grad(self.rules.taken_loss(), x)
        return x.detach() - self.rules.guidance * gradient

    def _call(self, executor, x, t, c_concat=None, c_crossattn=None, *args, **kwargs):
        """Around each call of the network."""
        if not self.phase or c_crossattn is None:
            return executor(x, t, c_concat, c_crossattn, *args, **kwargs)
        options = next(a for a in args if isinstance(a, dict) and "uuids" in a)
        prompts = self.guider.conds["source" if self.phase == "source" else "positive"]
        ours = {prompt["uuid"] for prompt in prompts}
        self.chunks = [uuid in ours for uuid in options["uuids"]]
        if self.phase == "source" and (self.kept or len(self.chunks) > 1):
            raise ValueError(
                "Attention control needs one source prompt for the whole picture, but areas or "
                "several prompts at once are connected: use a mask at Inverted Sampler instead."
            )
        self.text, self.latent, self.joint = c_crossattn.shape[1], tuple(x.shape[-2:]), 0
        out = executor(x, t, c_concat, c_crossattn, *args, **kwargs)
        self._check_hooked()
        return out

    def _before_attention(self, kind: str, q: Tensor, k: Tensor, v: Tensor, options: dict):
        self._check_hooked()
        if self.phase:
            key = options["block"], options["block_index"]
            number, decoder = self.blocks[key]
            grid = _grid(q.shape[1], self.latent)
            text = self.text if kind == "cross" else 0
            layer = Layer(kind, number / len(self.blocks), decoder, grid, text)
            self.awaited = (kind, key), layer
        return q, k, v

    def _check_hooked(self) -> None:
        """ValueError where a patch took the place of attention that was to be recorded."""
        awaited, self.awaited = self.awaited, None
        if awaited and self.phase == "source" and self.rules.acts(awaited[1], self.moment):
            raise ValueError(
                "A patch of the connected model (such as IPAdapter) computes attention itself, "
                "where attention control cannot reach it: connect the model without the patch."
            )

    def _attention(
        self, override: Callable | None, function: Callable, q, k, v, heads, *rest, **kw
    ):
        """In place of the host's attention."""
        usual = function if override is None else partial(override, function)
        found = self._layer(q) if self.phase else None
        if found is None or not self.rules.acts(found[1], self.moment):
            return usual(q, k, v, heads, *rest, **kw)
        if (rest and rest[0] is not None) or kw.get("mask") is not None:
            raise ValueError(
                "The connected model masks its attention, which attention control cannot keep to: "
                "connect the model and prompts without attention masks."
            )
        key, layer = found
        flat = not kw.pop("skip_reshape", False)
        flat_out = not kw.pop("skip_output_reshape", False)
        qkv = [x.unflatten(2, (heads, -1)).transpose(1, 2) if flat else x for x in (q, k, v)]

        split = partial(usual, skip_reshape=True, skip_output_reshape=True)

        def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return split(q, k, v, heads, *rest, **kw)

        if self.phase == "source":
            self.kept[key] = layer, self.rules.keep(layer, *qkv, attend)
            out = attend(*qkv)
        else:
            kept = self._kept(key, layer)

            def use(*part: Tensor) -> Tensor:
                return self.rules.use(layer, self.moment, kept, list(part), attend)

            out = self._by_chunks(use, attend, *qkv)
        return out.transpose(1, 2).flatten(2) if flat_out else out

    def _layer(self, q: Tensor) -> tuple[object, Layer] | None:
        if isinstance(self.network, UNetModel):
            awaited, self.awaited = self.awaited, None
            return awaited
        number, self.joint = self.joint, self.joint + 1
        patch = self.network.patch_size
        grid = tuple(math.ceil(side / patch) for side in self.latent)
        tokens = q.shape[2] if isinstance(self.network, Flux) else q.shape[1]
        text = tokens - math.prod(grid)
        if text not in (0, self.text):
            raise ValueError(
                f"The connected model attends to {text} tokens beside the picture, but the prompt "
                f"has {self.text}: attention control cannot be used with reference images."
            )
        layers = len(self.blocks)
        kind = "joint" if text else "self"
        return number, Layer(kind, min(number / layers, 1.0), None, grid, text)

    def _kept(self, key: object, layer: Layer) -> list[Tensor]:
        before, kept = self.kept.get(key, (None, []))
        if before is None or before.grid != layer.grid:
            raise ValueError(
                "The target prompt holds for a part of the picture only, which attention control "
                "cannot compare with the source: use a mask at Inverted Sampler instead."
            )
        return kept

    def _by_chunks(self, ours: Callable, usual: Callable, *tensors: Tensor) -> Tensor:
        """`ours` of the rows that belong to the target prompt, `usual` of all others."""
        if not any(self.chunks):
            return usual(*tensors)
        rows = [x.chunk(len(self.chunks)) for x in tensors]
        parts = [
            (ours if is_ours else usual)(*part)
            for is_ours, part in zip(self.chunks, zip(*rows, strict=True), strict=True)
        ]
        return torch.cat(parts)

    def _features(self, forward: Callable, path: str, decoder: _Part, x: Tensor) -> Tensor:
        """Around the last layers of a residual block of the decoder."""
        h = forward(x)
        if not self.phase:
            return h
        layer = Layer("features", 1.0, decoder, (h.shape[-2], h.shape[-1]))
        if not self.rules.acts(layer, self.moment):
            return h
        if self.phase == "source":
            self.kept[path] = layer, [h]
            return h
        (features,) = self._kept(path, layer)
        return self._by_chunks(lambda _: features, lambda own: own, h)


def _supported(network: nn.Module):
    video = any(isinstance(m, SpatialVideoTransformer) for m in network.modules())
    if isinstance(network, UNetModel | MMDiT | Flux) and not video:
        return network
    raise ValueError(
        f"Attention control knows the networks of Stable Diffusion 1, 2, XL and 3 and of Flux, but "
        f"the connected model is a {type(network).__name__}: leave attention_control unconnected."
    )


def _blocks(network: nn.Module) -> dict[object, tuple[int, _Part | None]]:
    """The transformer blocks by how the host names them, in order, each with its number and where
    in the decoder it lies.
    """
    if isinstance(network, Flux):
        count = len(network.double_blocks) + len(network.single_blocks)
        return {i: (i, None) for i in range(count)}
    if isinstance(network, MMDiT):
        return {i: (i, None) for i in range(len(network.joint_blocks))}
    found = dict[object, tuple[int, _Part | None]]()
    for stage, name in _STAGES.items():
        stages = getattr(network, name)
        parts = [stages] if stage == "middle" else stages
        for i, part in enumerate(parts or []):
            decoder = (i / len(parts), (i + 1) / len(parts)) if stage == "output" else None
            for module in part.modules():
                if isinstance(module, SpatialTransformer):
                    for j in range(len(module.transformer_blocks)):
                        found[(stage, i), j] = len(found), decoder
    return found


def _residual_blocks(network: UNetModel) -> list[tuple[str, ResBlock, _Part]]:
    """The decoder's residual blocks with their paths and where in the decoder they lie."""
    count = len(network.output_blocks)
    return [
        (f"output_blocks.{i}.{name}", module, (i / count, (i + 1) / count))
        for i, block in enumerate(network.output_blocks)
        for name, module in block.named_children()
        if isinstance(module, ResBlock)
    ]


def _grid(places: int, latent: tuple[int, int]) -> tuple[int, int]:
    """The sides of a layer of so many places: those of the latent, halved a few times."""
    for halvings in range(8):
        grid = tuple(math.ceil(side / 2**halvings) for side in latent)
        if math.prod(grid) == places:
            return grid
    raise ValueError(
        f"A patch of the connected model (such as ToMe or HyperTile) attends among {places} "
        f"places, which no scale of a latent of {latent[1]} x {latent[0]} has: connect the model "
        "without the patch."
    )
