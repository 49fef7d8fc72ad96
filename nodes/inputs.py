"""Socket types and inputs that two or more files share, and what is read off them."""

import hashlib

import torch
from comfy_api.latest import io
from torch import Tensor

from ..inversion.noise_maps import NoiseMaps
from ._host.models import SCHEDULERS

CATEGORY = "Imprint"
MAX_STEPS = 10_000
# What those search for who do not know the methods.
EDITING = ("edit image", "edit photo", "change", "image editing", "img2img edit")

NoiseMapsType = io.Custom("NOISE_MAPS")
AttentionControlType = io.Custom("ATTENTION_CONTROL")


def model_inputs(positive: str, negative: str) -> list:
    """MODEL with the two prompts, whose tooltips are given."""
    return [
        io.Model.Input(
            "model", tooltip="The diffusion model, with LoRAs and other patches already applied."
        ),
        io.Conditioning.Input("positive", tooltip=positive),
        io.Conditioning.Input("negative", tooltip=negative),
    ]


def guider_inputs() -> list:
    """GUIDER and SIGMAS in place of a model with prompts, cfg and schedule."""
    return [
        io.Guider.Input("guider", tooltip="Model, source prompt and cfg to invert with."),
        io.Sigmas.Input("sigmas", tooltip="Falling sigmas of the whole schedule, not flipped."),
    ]


def latent_input() -> io.Latent.Input:
    return io.Latent.Input(
        "latent_image",
        tooltip="The image to invert, from VAE Encode. Its noise_mask is ignored: give the mask "
        "to Inverted Sampler.",
    )


def noise_maps_input(tooltip: str) -> io.Input:
    return NoiseMapsType.Input("noise_maps", tooltip=tooltip)


def mask_input(tooltip: str) -> io.Mask.Input:
    return io.Mask.Input("mask", optional=True, tooltip=tooltip)


def seed_input(control: bool | io.ControlAfterGenerate, tooltip: str) -> io.Int.Input:
    """A seed; `control` is what the browser does with it after a run."""
    return io.Int.Input(
        "seed",
        default=0,
        min=0,
        max=0xFFFFFFFFFFFFFFFF,
        control_after_generate=control,
        tooltip=tooltip,
    )


def steps_input(default: int) -> io.Int.Input:
    return io.Int.Input(
        "steps",
        default=default,
        min=1,
        max=MAX_STEPS,
        tooltip="Steps of the whole schedule. Every number gives the image back; more steps "
        "edit finer and cost more. 50 to 100 is usual.",
    )


def cfg_input(default: float, tooltip: str) -> io.Float.Input:
    return io.Float.Input(
        "cfg", default=default, min=0.0, max=100.0, step=0.1, round=0.01, tooltip=tooltip
    )


def scheduler_input() -> io.Combo.Input:
    return io.Combo.Input(
        "scheduler",
        options=SCHEDULERS,
        default="ddim_uniform",
        tooltip="How the noise levels are spaced. ddim_uniform is the paper's; for flow models "
        "simple or normal works better.",
    )


def eta_input() -> io.Float.Input:
    return io.Float.Input(
        "eta",
        default=1.0,
        min=0.0,
        max=1.0,
        step=0.01,
        optional=True,
        advanced=True,
        tooltip="How much of DDPM's noise each step adds. 1 is the paper's; lower puts less of "
        "the image into the maps.",
    )


def check_noisy(eta: float) -> None:
    """ValueError at eta 0, where DDPM has no noise to look for."""
    if eta == 0:
        raise ValueError(
            "eta is 0, where steps add no noise and so have no noise maps: use DDIM Invert, or set "
            "eta to 1."
        )


def check_noise_maps(maps: NoiseMaps) -> None:
    """ValueError where something else came in by wire."""
    if not isinstance(maps, NoiseMaps):
        raise ValueError(
            f"noise_maps holds a {type(maps).__name__}: connect the noise_maps output of an "
            "Invert node."
        )


def chosen(node: str, menu: io.DynamicCombo.Input, value) -> tuple[str, dict]:
    """Choice and settings of a dynamic menu; the host does not check what is wired or unknown."""
    options = {option.key: option.inputs for option in menu.options}
    given = value if isinstance(value, dict) else {menu.id: value}
    settings = {key: setting for key, setting in given.items() if setting is not None}
    name = settings.pop(menu.id, None)
    inputs = options.get(name, []) if isinstance(name, str) else []
    needed, known = {i.id for i in inputs if not i.optional}, {i.id for i in inputs}
    wired = [key for key, setting in settings.items() if type(setting) is list]
    if name not in [*options] or not needed <= set(settings) <= known or wired:
        raise ValueError(
            f"{node} does not know this {menu.id} ({str(value)[:60]}): choose "
            f"{', '.join(options)} in its menu, with all settings."
        )
    return name, settings


def seeded_noise(latent: dict, samples: Tensor, steps: int, seed: int) -> Tensor:
    """Unit normal noise (steps + 1, *samples.shape). Each item's follows from the seed and its
    number in the LATENT's batch_index: alone and in a batch it gets the same.
    """
    noise = torch.empty(steps + 1, *samples.shape)
    for row, index in enumerate(latent.get("batch_index", range(len(samples)))):
        digest = hashlib.sha256(f"{seed} {index}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big"))
        noise[:, row] = torch.randn(steps + 1, *samples.shape[1:], generator=generator)
    return noise


def prompt_input(name: str, tooltip: str) -> io.String.Input:
    return io.String.Input(name, multiline=True, dynamic_prompts=True, tooltip=tooltip)


def fraction_input(name: str, default: float, tooltip: str) -> io.Float.Input:
    return io.Float.Input(name, default=default, min=0.0, max=1.0, step=0.05, tooltip=tooltip)


def size_input(name: str, tooltip: str) -> io.Int.Input:
    return io.Int.Input(
        name, default=16, min=4, max=128, optional=True, advanced=True, tooltip=tooltip
    )


def attention_control_output() -> io.Output:
    return AttentionControlType.Output(
        display_name="attention_control", tooltip="For Inverted Sampler's attention_control."
    )


def source_input() -> io.Conditioning.Input:
    return io.Conditioning.Input(
        "source", tooltip="What the image shows: the prompt of the inversion."
    )


def span_inputs(first: str, last: str) -> list:
    """A range of steps, with the tooltips of its ends."""
    return [
        io.Int.Input(
            "first_step",
            default=0,
            min=0,
            max=MAX_STEPS,
            optional=True,
            advanced=True,
            tooltip=first,
        ),
        io.Int.Input(
            "last_step",
            default=-1,
            min=-1,
            max=MAX_STEPS,
            optional=True,
            advanced=True,
            tooltip=last,
        ),
    ]


def step_span(first: int, last: int, steps: int) -> range:
    """The steps `first` to `last` of noise maps; -1 is their last one."""
    end = steps if last == -1 else last + 1
    if not 0 <= first < end <= steps:
        raise ValueError(
            f"first_step is {first} and last_step is {last}, but the noise maps hold steps 0 to "
            f"{steps - 1}: set first_step to 0 and last_step to -1 for all of them."
        )
    return range(first, end)


def check_source(source) -> None:
    """ValueError where no prompt came in by wire."""
    if not isinstance(source, list) or not source:
        raise ValueError(
            f"source holds no prompt ({type(source).__name__}): connect the "
            "prompt of the inversion, from CLIP Text Encode."
        )
