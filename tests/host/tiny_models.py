"""Small models of the host's own classes with arbitrary weights, as the host loads them."""

import importlib
from types import SimpleNamespace

import torch
from comfy import model_sampling, samplers
from imprint_pack.benchmarks.tiny_networks import draw_weights, patcher


def tiny_demo(prediction: str):
    """The demo network, untrained."""
    model = importlib.import_module("imprint_pack.demo.model").build_model(prediction)
    draw_weights(model.diffusion_model)
    return patcher(model)


def with_sampling(model, *bases: str, **attributes):
    """The model under another of the host's samplings, as the host's own model patches do it."""
    bases = bases if len(bases) > 1 else ("ModelSamplingDiscrete", *bases)
    kind = type("Sampling", tuple(getattr(model_sampling, base) for base in bases), {})
    sampling = kind(model.model.model_config)
    vars(sampling).update(attributes)
    patched = model.clone()
    patched.add_object_patch("model_sampling", sampling)
    return patched


def cfg_guider(wires: dict, cfg: float = 1.0):
    """The host's guider for a model with its two prompts."""
    guider = samplers.CFGGuider(wires["model"])
    guider.set_conds(wires["positive"], wires["negative"])
    guider.set_cfg(cfg)
    return guider


def sigmas_of(model, scheduler: str, steps: int) -> torch.Tensor:
    sampling = model.get_model_object("model_sampling")
    return samplers.calculate_sigmas(sampling, scheduler, steps)


def counting(model, act=lambda count: None) -> SimpleNamespace:
    """Counts the rows of each evaluation of a model's network and calls `act` with the number of
    evaluations so far; `remove` ends it.
    """
    rows = []

    def count(_, args) -> None:
        rows.append(len(args[0]))
        act(len(rows))

    hook = model.model.diffusion_model.register_forward_pre_hook(count)
    return SimpleNamespace(rows=rows, remove=hook.remove)
