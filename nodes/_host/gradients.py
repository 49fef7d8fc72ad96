"""Gradients through the host's network, which is built for inference only.

The host runs nodes and loaders under inference mode, may cast every weight into a buffer that the
next layer overwrites, and picks attention kernels without a derivative. `differentiable` and
`run_with_gradients` lift each of these for one run; nothing of it outlives the run, also not after
an error or interrupt.
"""

import contextlib
import inspect
from collections.abc import Callable, Iterator
from functools import partial
from weakref import WeakKeyDictionary

import comfy.model_management as mm
import torch
from comfy.ldm.modules import attention
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ...inversion.schedule import Schedule
from .messages import tell
from .progress import Cost
from .sampling import Run, T, run

# What a backward pass keeps besides the copies of weights, as a multiple of the host's estimate for
# a plain step (benchmarks/memory.py). Too low a value costs one attempt that runs out of memory.
_KEPT = 5

_OVERRIDE = "optimized_attention_override"
# The host hands an override its attention without the wrapper that looks for overrides.
_DIFFERENTIABLE = [
    inspect.unwrap(function)
    for function in (
        attention.attention_pytorch,
        attention.attention_basic,
        attention.attention_split,
        attention.attention_sub_quad,
    )
]


def differentiable(model):
    """A clone of this MODEL whose layers compute with copies of their weights.

    A copy is an ordinary tensor that nothing overwrites before the backward pass: right for weights
    that were loaded under inference mode, stream through shared buffers (dynamic and low VRAM), or
    are quantised (a layer that copies computes with the dequantised weight).
    """
    clone = model.clone()
    clone.remove_additional_models("multigpu")  # its worker threads run without gradients
    for path, module in clone.model.named_modules():
        if hasattr(module, "weight_function"):
            for name in ("weight", "bias"):
                if name in module.state_dict():
                    clone.add_weight_wrapper(f"{path}.{name}", torch.clone)
    options = clone.model_options["transformer_options"]
    options[_OVERRIDE] = partial(_differentiable_attention, options.get(_OVERRIDE))
    return clone


def _differentiable_attention(override: Callable | None, function: Callable, *args, **kwargs):
    """Attention by a kernel that has a derivative, inside the user's own override where that has
    one too.
    """
    if function not in _DIFFERENTIABLE:
        function = _DIFFERENTIABLE[0]
    if override:
        out = override(function, *args, **kwargs)
        if out.requires_grad or not any(isinstance(a, Tensor) and a.requires_grad for a in args):
            return out
    return function(*args, **kwargs)


def run_with_gradients(
    guider, latent: Tensor, schedule: Schedule, loop: Callable[[Run], T]
) -> tuple[T, Cost]:
    """`sampling.run` with gradients through the guider's model, which is a `differentiable` one.

    Activations are recomputed in the backward pass where they would not fit into memory.
    """
    attempt = partial(_attempt, guider, latent, schedule, loop)
    short = _memory_is_short(guider.model_patcher, latent)
    with _training():
        try:
            return attempt(recompute=short)
        except Exception as error:
            if "backward through the graph a second time" in str(error):
                raise ValueError(
                    "A patch of the connected model (such as APG with momentum) adds up the "
                    "predictions of several calls, so no gradient can be taken: connect the "
                    "model without the patch."
                ) from error
            if not mm.is_oom(error) or short:
                raise
        mm.soft_empty_cache()
        tell("Memory is short: activations are computed twice, which is slower.")
        return attempt(recompute=True)


def _attempt(
    guider, latent: Tensor, schedule: Schedule, loop: Callable[[Run], T], recompute: bool
) -> tuple[T, Cost]:
    def recorded(run: Run) -> T:
        with _recordable(guider.inner_model.diffusion_model, recompute):
            return loop(run)

    # The host's ControlNets and FreeU add to activations in place.
    with torch.inference_mode(False), torch.enable_grad(), _changeable_activations():
        return run(guider, latent.clone(), schedule, recorded)


class _Originals(WeakKeyDictionary):
    """Saved activations by their handles, each kept as long as its handle.

    torch lets go of one that was changed in place and goes on knowing it by its address, at which
    a later activation would be taken for it.
    """

    def __delitem__(self, handle) -> None:
        pass


@contextlib.contextmanager
def _changeable_activations() -> Iterator[None]:
    """Lets a network change in place what autograd has saved."""
    with torch.autograd.graph.allow_mutation_on_saved_tensors() as saved:
        saved.original = _Originals()
        yield


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
    """Lets autograd save the network's own parameters, and recomputes each block's activations in
    the backward pass if so asked.
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
