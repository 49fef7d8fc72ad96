"""Small models of the host's own classes with arbitrary weights, as the host loads them."""

import importlib
import json
from types import SimpleNamespace

import torch
from comfy import model_sampling, samplers
from imprint_pack.benchmarks.tiny_networks import draw_weights, patcher


def tiny_demo(prediction: str):
    """The demo network, untrained."""
    model = importlib.import_module("imprint_pack.demo.model").build_model(prediction)
    draw_weights(model.diffusion_model)
    return patcher(model)


def quantised(family, kind: str):
    """A tiny model of a family whose linear layers hold the host's quantised weights."""
    network = family.model().model.diffusion_model
    state, most = network.state_dict(), {"float8_e4m3fn": 448, "int8_tensorwise": 127}[kind]
    for name, module in network.named_modules():
        if isinstance(module, torch.nn.Linear):
            weight = state[f"{name}.weight"]
            scale = weight.abs().max() / most
            rounded = weight / scale
            if kind == "int8_tensorwise":
                rounded = rounded.round().to(torch.int8)
            state[f"{name}.weight"], state[f"{name}.weight_scale"] = rounded, scale
            mark = torch.tensor(list(json.dumps({"format": kind}).encode()), dtype=torch.uint8)
            state[f"{name}.comfy_quant"] = mark
    config = family.config()
    config.quant_config = {"mixed_ops": True}
    config.set_inference_dtype(torch.float32, torch.float32)
    model = config.get_model({}, device=torch.device("cpu"))
    model.diffusion_model.load_state_dict(state)
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
