"""Gradients through the host's network, which is built for inference only.

The host runs nodes and loaders under inference mode, may cast every weight into a buffer that the
next layer overwrites, and picks attention kernels without a derivative. `prepare` and `run` lift
each of these for one run; nothing of it outlives the run, also not after an error or interrupt.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator

import comfy.conds
import comfy.model_management as mm
import comfy.samplers
import torch
from comfy.ldm.modules import attention
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..inversion import Guide
from . import _host as host

# What a backward pass keeps besides the copies of weights, as a multiple of the host's estimate for
# a plain step (benchmarks/memory.py). Too low a value costs one attempt that runs out of memory.
_KEPT = 5


def prepare(model):
    """A clone of this MODEL whose layers compute with copies of their weights.

    A copy is an ordinary tensor that nothing overwrites before the backward pass: right for weights
    that were loaded under inference mode, stream through shared buffers (dynamic and low VRAM), or
    are quantised (a layer that copies computes with the dequantised weight).
    """
    clone = model.clone()
    clone.remove_additional_models("multigpu")  # its worker threads run without gradients
    for name in clone.model_state_dict():
        if name.endswith((".weight", ".bias")):
            clone.add_weight_wrapper(name, torch.clone)
    options = clone.model_options["transformer_options"]
    options["optimized_attention_override"] = _differentiable_attention
    return clone


def _differentiable_attention(function, *args, **kwargs):
    known = ("attention_basic", "attention_sub_quad", "attention_split", "attention_pytorch")
    if function.__name__ not in known:
        function = attention.attention_pytorch
    return function(*args, **kwargs)


def run(
    guider, latent: Tensor, sigmas: Tensor, loop: Callable[[host.Run, Guide], Tensor]
) -> Tensor:
    """`host.run` with gradients through the guider's model, which comes from `prepare`.

    Activations are recomputed in the backward pass where they would not fit into memory.
    """

    def attempt(recompute: bool) -> Tensor:
        def recorded(run: host.Run) -> Tensor:
            with _recordable(guider.inner_model.diffusion_model, recompute):
                return loop(run, _guide(guider, run.extra_args))

        # The host's ControlNets and FreeU add to activations in place.
        mutable = torch.autograd.graph.allow_mutation_on_saved_tensors()
        with torch.inference_mode(False), torch.enable_grad(), mutable:
            return host.run(guider, latent.clone(), sigmas.clone(), recorded).detach()

    short = _memory_is_short(guider.model_patcher, latent)
    with _training():
        try:
            return attempt(recompute=short)
        except Exception as error:
            if not mm.is_oom(error) or short:
                raise
        mm.soft_empty_cache()
        host.tell("Memory is short: activations are computed twice, which is slower.", logging.INFO)
        return attempt(recompute=True)


def _guide(guider, extra_args: dict) -> Guide:
    """The guider's prediction as a function of the embedding of its only negative prompt."""
    conds, hook = guider.conds, "sampler_calc_cond_batch_function"
    if hook in extra_args["model_options"]:
        raise ValueError(
            "The connected model brings its own way to evaluate its prompts (skip layer guidance, "
            "for example), through which null text cannot be fitted: connect the model without it."
        )

    def predict(row: int, pair: list, x: Tensor, sigma: Tensor, options: dict) -> Tensor:
        # In its place of the pair, as patches ask whether a row is the positive or the negative.
        mm.throw_exception_if_processing_interrupted()
        alone = [prompt if i == row else None for i, prompt in enumerate(pair)]
        return comfy.samplers.calc_cond_batch(guider.inner_model, alone, x, sigma, options)[row]

    def guide(x: Tensor, sigma: Tensor) -> Callable[[Tensor], Tensor]:
        options = extra_args["model_options"]
        with torch.no_grad():
            conditional = predict(0, [conds["positive"], None], x, sigma, options)

        def denoised_with(uncond: Tensor) -> Tensor:
            prompt, context = _only_context(conds["negative"])
            context = {**prompt["model_conds"], "c_crossattn": context._copy_with(uncond)}
            negative = {**prompt, "cross_attn": uncond, "model_conds": context}

            def both(args: dict) -> list[Tensor]:
                return [conditional, predict(1, args["conds"], x, sigma, args["model_options"])]

            guider.conds = {**conds, "negative": [negative]}  # for patches that read the prompts
            try:
                return guider(x, sigma, {**options, hook: both}, extra_args["seed"])
            finally:
                guider.conds = conds

        return denoised_with

    return guide


def _only_context(conds: list[dict]) -> tuple[dict, comfy.conds.CONDRegular]:
    """The only prompt and what the network gets of it, if that is the embedding itself."""
    context = conds[0]["model_conds"].get("c_crossattn") if len(conds) == 1 else None
    if (
        context is None
        or not isinstance(context.cond, Tensor)
        or not context.cond.equal(conds[0]["cross_attn"].to(context.cond))
    ):
        raise ValueError(
            "Null text replaces the one embedding that a network sees as its negative prompt, but "
            "this model or these prompts make something else of it: connect prompts without areas, "
            "and a model whose context is a tensor."
        )
    return conds[0], context


def _memory_is_short(patcher, latent: Tensor) -> bool:
    needed = patcher.model_size() + _KEPT * patcher.memory_required(latent.shape)
    return needed > mm.get_free_memory(patcher.load_device)


@contextlib.contextmanager
def _training() -> Iterator[None]:
    """Makes the host avoid its fused kernels, which have no derivative."""
    before = mm.in_training
    mm.in_training = True
    try:
        yield
    finally:
        mm.in_training = before


@contextlib.contextmanager
def _recordable(network: nn.Module, recompute: bool) -> Iterator[None]:
    """Within it autograd may save the network's own parameters, and each block's activations are
    recomputed in the backward pass if so asked.
    """
    with contextlib.ExitStack() as undo:
        for module in network.modules():
            if hasattr(module, "weight_function"):
                continue  # it computes with copies
            for table in (module._parameters, module._buffers):
                for name, tensor in table.items():
                    if tensor is not None and tensor.is_inference():
                        table[name] = _recordable_view(tensor)
                        undo.callback(table.__setitem__, name, tensor)
        for block in _blocks(network) if recompute else ():
            block.forward = _recomputing(block.forward)
            undo.callback(block.__dict__.pop, "forward")
        yield


def _recordable_view(tensor: Tensor) -> Tensor:
    """The same memory without the mark of inference mode."""
    plain = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
    plain.set_(tensor.untyped_storage(), tensor.storage_offset(), tensor.size(), tensor.stride())
    return nn.Parameter(plain, requires_grad=False) if isinstance(tensor, nn.Parameter) else plain


def _blocks(network: nn.Module) -> Iterator[nn.Module]:
    for child in network.children():
        if isinstance(child, nn.ModuleList | nn.Sequential | nn.ModuleDict):
            yield from _blocks(child)
        else:
            yield child


def _recomputing(forward: Callable) -> Callable:
    def recomputed(*args, **kwargs):
        # The host writes the current block into its option tables, so each computation gets its own
        # copy of what they held at this call.
        tables = [dict(a) if isinstance(a, dict) else a for a in args]
        named = {k: dict(v) if isinstance(v, dict) else v for k, v in kwargs.items()}

        def compute(*args):
            return forward(
                *(dict(a) if isinstance(a, dict) else a for a in args),
                **{k: dict(v) if isinstance(v, dict) else v for k, v in named.items()},
            )

        return checkpoint(compute, *tables, use_reentrant=False, preserve_rng_state=False)

    return recomputed
