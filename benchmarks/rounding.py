"""What separates rounding from the weakest edits? The rule of `inversion.anchoring`, measured.

    make bench NAME=rounding

Drawn pictures and patches of a photograph are inverted in float32. From some latents of the bundle
one step is taken with other kernels, batches and precisions, and with weak edits; its distance from
the bundle's next latent is given in units of the distance that the rule explains by rounding. Below
1 a step is set back, above 1 it stays. Then whole reconstructions, and edits: one that is not set
back at its first step keeps all its bits, for what has left the path is never set back.
"""

from collections.abc import Callable
from importlib.resources import as_file, files
from typing import NamedTuple

import numpy as np
import torch
from comfy.ldm.modules import attention
from comfy.model_patcher import ModelPatcher
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from ..demo.model import encode_captions, load_demo
from ..demo.world import SHAPES, SIZE, captions
from ..inversion.noise_maps import NoiseMaps
from ..nodes._host import models, prompts, sampling
from .demo_model import SCHEDULERS
from .measure import options, picture_path, print_table, write_results
from .task import Task, edit_task

STEPS, EVERY = 10, 5  # of the steps, which ones are looked at
CFGS = (1.0, 3.5, 15.0)
SKIP = 4  # of the edits
PATCHES = 1  # of the photograph
COPIES = 3  # of the pictures, in a larger batch
KERNELS = "attention_basic", "attention_split", "attention_sub_quad", "attention_pytorch"
PRECISIONS = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


class Setting(NamedTuple):
    """A model, what prompts it, and by how much the cfg and the batch are larger."""

    model: ModelPatcher
    prompt: list
    more_cfg: float = 0.0
    copies: int = 1


def photograph(count: int) -> Tensor:
    """Patches (count, 32, 32, 3) in a row of the portrait that matplotlib ships."""
    with as_file(files("matplotlib") / "mpl-data" / "sample_data" / "grace_hopper.jpg") as path:
        picture = np.asarray(Image.open(path).convert("RGB").resize((4 * SIZE, 4 * SIZE))) / 255
    rows = torch.from_numpy(picture).float().unfold(0, SIZE, SIZE).unfold(1, SIZE, SIZE)
    return rows.flatten(0, 1).movedim(1, -1)[4 : 4 + count]


def in_precision(model: ModelPatcher, name: str) -> ModelPatcher:
    model = model.clone()
    if name != "float32":
        model.set_model_compute_dtype(PRECISIONS[name])
    return model


def with_kernel(model: ModelPatcher, name: str) -> ModelPatcher:
    """A clone whose attention is one of the host's functions."""
    model, function = model.clone(), getattr(attention, name)

    def attend(chosen: Callable, *args, transformer_options=None, **kwargs) -> Tensor:
        del chosen, transformer_options  # which would lead back here
        return function(*args, **kwargs)

    model.model_options["transformer_options"]["optimized_attention_override"] = attend
    return model


def departures(setting: Setting, empty: list, maps: NoiseMaps, levels: range) -> Tensor:
    """Of one step from these of the bundle's latents, in units of the rule (levels, images)."""
    guider = prompts.cfg_guider(
        setting.model, setting.prompt, empty, (maps.cfg or 1.0) + setting.more_cfg
    )
    explained = models.rounding_distances(setting.model, maps, guider.cfg)

    def loop(run: sampling.Run) -> Tensor:
        own, images, found = maps.to(run.x_0), maps.xs.shape[1], []
        for i in levels:
            step = maps.schedule.steps[i]
            x = own.xs[i].repeat(setting.copies, 1, 1, 1)
            denoised = run.denoise(x, x.new_full(x.shape[:1], step.sigma))[:images]
            off = step.mean(own.xs[i], denoised) + step.scale * own.zs[i] - own.xs[i + 1]
            found.append(off.flatten(1).square().mean(1).sqrt() / explained[i])
        return torch.stack(found)

    picture = maps.xs[-1].repeat(setting.copies, 1, 1, 1)
    found, _ = sampling.run(guider, picture, maps.schedule, loop)
    return found


def settings(model: ModelPatcher, source: list, word: list, weight: list) -> dict:
    """By kind and name what takes the steps: without an edit, and with a weak one."""
    same: dict[str, Setting] = {
        f"{COPIES} copies in a batch": Setting(model, source, copies=COPIES),
        **{name: Setting(with_kernel(model, name), source) for name in KERNELS},
    }
    edits: dict[str, Setting] = {}
    for name in PRECISIONS:
        rounded = in_precision(model, name)
        if name != "float32":
            same[name] = Setting(rounded, source)
        edits[f"another colour, {name}"] = Setting(rounded, word)
        edits[f"cfg + 0.1, {name}"] = Setting(rounded, source, more_cfg=0.1)
        edits[f"a weight of 1.05, {name}"] = Setting(rounded, weight)
    return {"rounding": same, "edits": edits}


def single_steps(prediction: str, worlds: int, seed: int) -> dict[str, dict[str, Tensor]]:
    """Departures by kind and name, over all pictures, levels and cfgs."""
    model, clip, vae = load_demo(prediction)
    task = edit_task("colour", worlds, seed)._replace(model=model)
    pictures = torch.cat([task.source, photograph(PATCHES)])

    def prompt(texts: list[str]) -> list:
        return encode_captions(clip, (texts * len(pictures))[: len(pictures)])

    before, after = captions(task.edits.source), captions(task.edits.target)
    shape = {name: f"({name}:1.05)" for name in SHAPES}
    weighted = [" ".join(shape.get(word, word) for word in text.split()) for text in before]
    source, word, weight = (prompt(texts) for texts in (before, after, weighted))
    found: dict[str, dict[str, list[Tensor]]] = {"rounding": {}, "edits": {}}
    for cfg in CFGS:
        wires = task._replace(source_prompt=source)
        x_0, scheduler = vae.encode(pictures), SCHEDULERS[prediction]
        maps = wires.invert(x_0, STEPS, cfg, batch_timesteps=1, scheduler=scheduler)
        for kind, rows in settings(model, source, word, weight).items():
            for name, setting in rows.items():
                values = departures(setting, task.empty, maps, range(0, STEPS, EVERY)).flatten()
                found[kind].setdefault(name, []).append(values)
    return {kind: {n: torch.cat(v) for n, v in rows.items()} for kind, rows in found.items()}


def row(values: Tensor) -> dict[str, float]:
    values = values.double()
    least, most = (extreme.item() for extreme in values.aminmax())
    set_back = (values <= 1).double().mean().item()
    return {"least": least, "median": values.median().item(), "most": most, "set back": set_back}


def whole_runs(task: Task) -> dict[str, float]:
    """By precision and cfg the largest error of a reconstruction of a float32 bundle."""
    errors = {}
    for cfg in CFGS:
        maps = task.invert(task.x_0, STEPS, cfg)
        for name in PRECISIONS:
            wires = task._replace(model=in_precision(task.model, name))
            error = wires.replay(maps, task.source_prompt, cfg) - task.x_0
            errors[f"{name}, cfg {cfg:g}"] = error.abs().max().item()
    return errors


def first_steps(prediction: str, worlds: int, seed: int) -> dict[str, int]:
    """By precision and cfg how many edits by one word are not set back at their first step."""
    model, clip, _ = load_demo(prediction)
    task = edit_task("colour", worlds, seed)
    texts = captions(task.edits.source), captions(task.edits.target), [""]
    source, target, empty = (encode_captions(clip, text) for text in texts)
    task = task._replace(model=model, source_prompt=source, empty=empty)
    counts, scheduler = {}, SCHEDULERS[prediction]
    for cfg in CFGS:
        maps = task.invert(task.x_0, STEPS, cfg, skip=SKIP, scheduler=scheduler)
        for name in PRECISIONS:
            setting = Setting(in_precision(task.model, name), target)
            left = departures(setting, empty, maps, range(1)) > 1
            counts[f"{name}, cfg {cfg:g}"] = int(left.sum())
    return counts


def draw(found: dict[str, dict[str, dict[str, Tensor]]]) -> Figure:
    """One box for each condition, from the least to the most, all families together."""
    figure = Figure((11, 6), layout="constrained")
    axes = figure.subplots()
    names = [(kind, name) for kind in ("rounding", "edits") for name in found["v"][kind]]
    for i, (kind, name) in enumerate(reversed(names)):
        values = torch.cat([families[kind][name] for families in found.values()])
        colour = {"color": "#4c78a8" if kind == "rounding" else "#e45756"}
        parts = ("boxprops", "whiskerprops", "capprops", "medianprops")
        axes.boxplot(
            [values[values > 0].log10().numpy()],
            positions=[i],
            orientation="horizontal",
            whis=(0, 100),
            widths=0.7,
            **dict.fromkeys(parts, colour),
        )
    axes.axvline(0, color="black", linewidth=1)
    axes.set_yticks(range(len(names)), [name for _, name in reversed(names)])
    axes.set(xlabel="log10 of the departure of one step, in units of what rounding explains")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


@torch.inference_mode()
def main() -> None:
    args = options(__doc__, worlds=64).parse_args()
    few = max(1, args.worlds // 64)
    found = {prediction: single_steps(prediction, few, args.seed) for prediction in SCHEDULERS}
    tables = {
        prediction: {name: row(values) for kind in rows.values() for name, values in kind.items()}
        for prediction, rows in found.items()
    }
    errors = whole_runs(edit_task("colour", few, args.seed))
    edits = {prediction: first_steps(prediction, args.worlds, args.seed) for prediction in found}
    runs = {
        name: {"error": error, **{prediction: edits[prediction][name] for prediction in found}}
        for name, error in errors.items()
    }
    for table in (*tables.values(), runs):
        print_table(table)
    draw(found).savefig(picture_path(args.out, "rounding"), dpi=100)
    setup = {"worlds": args.worlds, "steps": STEPS, "skip": SKIP, "pictures": few + PATCHES}
    write_results(args.out, "rounding", {**setup, "families": tables, "runs": runs})
