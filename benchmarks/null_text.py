"""What does null text buy? One word changed on random worlds at high guidance.

    python tools/in_host.py benchmarks.null_text --worlds 32

For plain DDIM, the paper's null text, its start from the positive prompt, negative-prompt inversion
(NPI) and the node's default: PSNR of the reconstruction without residuals, PSNR to the ideal edit
and rate of right words with the sampler's defaults, network evaluations per image (a backward pass
counts 2), and time relative to DDIM inversion, for machines with nothing else to do. The default is
compared with each by a paired bootstrap over worlds. Writes `benchmarks/results/null_text.json` and
sheets of pictures in `out/`.
"""

import argparse
import time

import torch
from torch import Tensor

from ..demo.model import load_demo
from ..nodes.invert_ddim import DDIMInvert
from ..nodes.optimize import NullTextOptimize
from ..nodes.sample import InvertedSampler
from .editing import Task, score, word_task
from .report import print_table, write_results, write_sheet

STEPS = 50
CFGS = (3.0, 7.5)
RESAMPLES = 2000
PAPER = {
    "method": "null_text",
    "inner_steps": 10,
    "learning_rate": 0.01,
    "tolerance": 1e-5,
    "start_from": "negative",
}
METHODS = {
    "DDIM, cfg 1": None,
    "DDIM": None,
    "null text": PAPER,
    "from positive": {**PAPER, "start_from": "positive"},
    "NPI": {"method": "negative_prompt"},
    "default": {"method": "online", "inner_steps": 1, "learning_rate": 0.05},
}


def psnr(images: Tensor, reference: Tensor) -> Tensor:
    square = (images - reference).square().flatten(1).mean(1)
    return -10 * square.clamp(min=1e-15).log10()


def measure(model, vae, task: Task, pivot, name: str, cfg: float) -> tuple[dict, dict, Tensor]:
    """A row of means, the values per world, and the edited images."""
    source, target, empty = task.prompts
    settings, started = METHODS[name], time.perf_counter()
    maps = pivot
    if settings:
        maps = NullTextOptimize.execute(model, source, empty, pivot, cfg, settings).result[0]
    seconds = time.perf_counter() - started
    cfg = 1.0 if name == "DDIM, cfg 1" else cfg

    def sample(prompt, residual: float) -> Tensor:
        (out,) = InvertedSampler.execute(
            model, prompt, empty, maps, cfg, 0, residual=residual
        ).result
        return vae.decode(out["samples"])

    images = sample(target, 1.0)
    found = score(task, images)
    values = {
        "reconstruction": psnr(sample(source, 0.0), task.source),
        "ideal": found.ideal,
        "background": found.background,
        "right": found.right,
    }
    updates = maps.info.get("updates")
    costs = {
        "updates per step": 0.0 if updates is None else updates / STEPS,
        "evaluations": 0 if updates is None else round(2 * STEPS + 3 * updates),
        "time": seconds,
    }
    means = {key: value.mean().item() for key, value in values.items()}
    return {"method": name, **means, **costs}, values, images


def differences(values: dict[str, dict[str, Tensor]]) -> list[dict]:
    """The default minus each other method, in dB, with 95 % intervals over resampled worlds."""
    generator = torch.Generator().manual_seed(0)
    rows = []
    for other in [name for name in METHODS if name != "default"]:
        row: dict = {"against": other}
        for key in ("reconstruction", "ideal"):
            gain = (values["default"][key] - values[other][key]).double()
            draws = torch.randint(len(gain), (RESAMPLES, len(gain)), generator=generator)
            low, high = gain[draws].mean(1).quantile(gain.new_tensor([0.025, 0.975])).tolist()
            row |= {key: gain.mean().item(), f"{key} from": low, f"{key} to": high}
        rows.append(row)
    return rows


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worlds", type=int, default=32)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--attribute", choices=["colour", "shape"], default="colour")
    args = parser.parse_args()
    model, clip, vae = load_demo("v")
    results = []
    task = word_task(clip, args.worlds, args.seed, args.attribute)
    for cfg in CFGS:
        source, _, empty = task.prompts
        latent = {"samples": vae.encode(task.source)}
        started = time.perf_counter()
        pivot = DDIMInvert.execute(model, source, empty, latent, STEPS, 1.0, "ddim_uniform").result[
            0
        ]
        unit = time.perf_counter() - started
        found = [measure(model, vae, task, pivot, name, cfg) for name in METHODS]
        rows = [{**row, "time": row["time"] / unit} for row, _, _ in found]
        compared = differences({row["method"]: values for row, values, _ in found})
        print(f"\ncfg {cfg:g}")
        print_table(rows)
        print_table(compared)
        results.append({"cfg": cfg, "methods": rows, "differences": compared})
        write_sheet(
            f"null_text_{cfg:g}",
            [task.source[:12], task.ideal[:12], *(images[:12] for *_, images in found)],
        )
    found = {"attribute": args.attribute, "worlds": args.worlds, "steps": STEPS}
    write_results("null_text", {**found, "settings": results})
