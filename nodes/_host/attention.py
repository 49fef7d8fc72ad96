"""Where an attention control is hooked into the host's networks.

Everything is a patch on a clone of the model, for one run: functions before and around attention,
and around each call of the network.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from comfy import patcher_extension
from comfy.ldm.flux.model import Flux
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from torch import Tensor

from ...inversion.attention import Attend, Control, Layer, Moment
from .networks import Part, residual_blocks, supported, transformer_blocks

_OVERRIDE = "optimized_attention_override"
_SPLIT: Any = {"skip_reshape": True, "skip_output_reshape": True}  # by heads, in and out


class Hooks:
    """What a control's rules keep of the source call and put into the target call.

    `phase` is "source" or "target", or "", where nothing is done; `conds` are the prompts of the
    phase, as the host has them, and `moment` is the step. Each prompt is controlled once a step:
    patches such as perturbed attention guidance ask for it again, in another state of the network.
    """

    def __init__(self, network, rules: Control):
        self.network: Any = supported(network)
        self.rules = rules
        self.joint_network = not isinstance(self.network, UNetModel)
        self.blocks = transformer_blocks(self.network)
        self.phase, self.moment, self.conds = "", Moment(0, 1), list[dict]()
        self.kept = dict[object, tuple[Layer, list[Tensor]]]()
        self.done = set[object]()
        # Of the call that runs: its rows and which of its parts are ours, a layer whose attention
        # comes next, how many joint layers went by, tokens of the text, sides of the latent.
        self.rows, self.chunks, self.awaited = 0, list[bool](), None
        self.joint, self.text, self.latent = 0, 0, (0, 0)

    def install(self, patcher) -> None:
        """Hooks it into this model, a clone."""
        options = patcher.model_options["transformer_options"]
        options[_OVERRIDE] = partial(self._attention, options.get(_OVERRIDE))
        patcher.add_wrapper(patcher_extension.WrappersMP.APPLY_MODEL, self._call)
        if not self.joint_network:
            patcher.set_model_attn1_patch(partial(self._before_attention, "self"))
            patcher.set_model_attn2_patch(partial(self._before_attention, "cross"))
            for path, decoder in residual_blocks(self.network):
                name = f"diffusion_model.{path}.out_layers.forward"
                # Not the network's own attribute, which may be the hook of a run before.
                forward = patcher.get_model_object(name)
                patcher.add_object_patch(name, partial(self._features, forward, path, decoder))

    def enter(self, phase: str, conds: list[dict]) -> None:
        """Begins a phase with its prompts."""
        self.phase, self.conds = phase, conds
        self.done.clear()

    def stop(self) -> None:
        """Lets go of what was kept; the hooks do nothing from here on."""
        self.enter("", [])
        self.chunks, self.awaited = [], None
        self.kept.clear()

    def _call(self, executor, x, t, c_concat=None, c_crossattn=None, *args, **kwargs):
        """Around each call of the network."""
        options: dict = next((a for a in args if isinstance(a, dict) and "uuids" in a), {})
        uuids = options.get("uuids", [])
        ours = {prompt["uuid"] for prompt in self.conds} - self.done
        self.chunks = [c_crossattn is not None and uuid in ours for uuid in uuids]
        if c_crossattn is not None and any(self.chunks):
            self._check_call(options)
            self.rows = len(x)
            self.done |= ours & set(uuids)
            self.text, self.latent, self.joint = c_crossattn.shape[1], tuple(x.shape[-2:]), 0
        out = executor(x, t, c_concat, c_crossattn, *args, **kwargs)
        self._check_hooked()
        return out

    def _check_call(self, options: dict) -> None:
        """ValueError where the call cannot be followed."""
        if self.phase == "source" and (self.done or sum(self.chunks) > 1):
            raise ValueError(
                "Attention control needs one source prompt for the whole picture, but areas or "
                "several prompts at once are connected: use a mask at Inverted Sampler instead."
            )
        if "dit" in options.get("patches_replace", {}):
            raise ValueError(
                "A patch of the connected model (such as skip layer guidance) leaves out layers, "
                "which attention control cannot follow: connect the model without the patch."
            )

    def _before_attention(self, kind: str, q: Tensor, k: Tensor, v: Tensor, options: dict):
        self._check_hooked()
        if any(self.chunks):
            key = options["block"], options["block_index"]
            number, decoder = self.blocks[key]
            height, width = options["activations_shape"][2:]
            if q.shape[:2] != (self.rows, height * width):
                raise ValueError(
                    "A patch of the connected model (such as ToMe or HyperTile) attends among "
                    "parts of the picture, which attention control cannot follow: connect the "
                    "model without the patch."
                )
            text, depth = self.text if kind == "cross" else 0, number / len(self.blocks)
            layer = Layer(kind, depth, decoder, (height, width), self._cells, text)
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
        usual: Callable[..., Tensor] = function if override is None else partial(override, function)
        found = self._layer(q) if any(self.chunks) else None
        if found is None or not self.rules.acts(found[1], self.moment):
            return usual(q, k, v, heads, *rest, **kw)
        if (rest and rest[0] is not None) or kw.get("mask") is not None:
            raise ValueError(
                "The connected model masks its attention, which attention control cannot keep to: "
                "connect the model and prompts without attention masks."
            )
        flat = not kw.pop("skip_reshape", False)
        flat_out = not kw.pop("skip_output_reshape", False)

        def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return usual(q, k, v, heads, *rest, **kw, **_SPLIT)

        qkv = [x.reshape(*x.shape[:2], heads, -1).transpose(1, 2) if flat else x for x in (q, k, v)]
        out = self._controlled(*found, qkv, attend)
        return out.transpose(1, 2).flatten(2) if flat_out else out

    def _controlled(self, key: object, layer: Layer, qkv: list[Tensor], attend: Attend) -> Tensor:
        q, k, v = qkv
        if self.phase == "source":
            own = (self._ours(x) for x in qkv)
            self.kept[key] = layer, self.rules.keep(layer, *own, attend=attend)
            return attend(q, k, v)
        kept = self._kept(key, layer)

        def use(*part: Tensor) -> Tensor:
            return self.rules.use(layer, self.moment, kept, list(part), attend)

        return self._by_chunks(use, attend, q, k, v)

    def _layer(self, q: Tensor) -> tuple[object, Layer] | None:
        if not self.joint_network:
            awaited, self.awaited = self.awaited, None
            return awaited
        patch = self.network.patch_size
        grid = tuple(math.ceil(side / patch) for side in self.latent)
        text = (q.shape[2] if isinstance(self.network, Flux) else q.shape[1]) - math.prod(grid)
        if text not in (0, self.text):
            raise ValueError(
                f"The connected model attends to {text} tokens beside the picture, but the prompt "
                f"has {self.text}: attention control cannot be used with reference images."
            )
        number = self.joint
        if not text:  # a second attention of the same block, among places
            number -= 1
        self.joint = number + 1
        kind, depth = "joint" if text else "self", number / len(self.blocks)
        return (kind, number), Layer(kind, depth, None, grid, self._cells, text)

    @property
    def _cells(self) -> int:
        return math.prod(self.latent)

    def _kept(self, key: object, layer: Layer) -> list[Tensor]:
        before, kept = self.kept.get(key, (None, []))
        if before is None or before.grid != layer.grid:
            raise ValueError(
                "The source or target prompt holds for a part of the picture or of the steps only, "
                "so attention control cannot compare them: use a mask at Inverted Sampler instead."
            )
        return kept

    def _ours(self, x: Tensor) -> Tensor:
        """The rows of the source prompt."""
        return x.chunk(len(self.chunks))[self.chunks.index(True)]

    def _by_chunks(self, ours: Callable, usual: Callable, *tensors: Tensor) -> Tensor:
        """`ours` of the rows that belong to the target prompt, `usual` of all others."""
        rows = [x.chunk(len(self.chunks)) for x in tensors]
        parts = [
            (ours if is_ours else usual)(*part)
            for is_ours, part in zip(self.chunks, zip(*rows, strict=True), strict=True)
        ]
        return torch.cat(parts)

    def _features(self, forward: Callable, path: str, decoder: Part, x: Tensor) -> Tensor:
        """Around the last layers of a residual block of the decoder."""
        h = forward(x)
        if not any(self.chunks):
            return h
        layer = Layer("features", 1.0, decoder, (h.shape[-2], h.shape[-1]), self._cells)
        if not self.rules.acts(layer, self.moment):
            return h
        if self.phase == "source":
            self.kept[path] = layer, [self._ours(h)]
            return h
        (features,) = self._kept(path, layer)
        return self._by_chunks(lambda _: features, lambda own: own, h)
