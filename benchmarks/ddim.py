"""How far does DDIM inversion miss the image, and when does its noise stop being Gaussian?

    python tools/in_host.py benchmarks.ddim --worlds 4

Round-trip error without residuals, over the number of steps, for both places of evaluation and for
fixed-point steps; and over the cfg of the inversion, with the standard deviation of x_T in units of
the noise it should be. Writes `benchmarks/results/ddim.json` and `out/ddim.png`.
"""

import argparse

import torch
from matplotlib.figure import Figure

from ..demo.model import encode_captions, load_demo
from ..demo.world import captions, draw_worlds, render
from ..nodes.invert_ddim import DDIMInvert
from ..nodes.sample import InvertedSampler
from .report import ROOT, print_table, write_results

STEPS = (10, 20, 50, 100, 250, 999)
CFGS = (1.0, 1.5, 2.0, 3.0, 5.0, 7.5)
VARIANTS = {
    "target": ("target", 0),
    "current": ("current", 0),
    "target, 3 fixed-point steps": ("target", 3),
}


def round_trip(model, prompts, latent: dict, steps: int, cfg: float, variant: str) -> dict:
    """Root mean square error of the latent, and the spread of x_T."""
    maps = DDIMInvert.execute(
        model, *prompts, latent, steps, cfg, "simple", *VARIANTS[variant]
    ).result[0]
    (out,) = InvertedSampler.execute(model, *prompts, maps, cfg, 0, residual=0.0).result
    error = (out["samples"] - latent["samples"]).square().mean().sqrt()
    spread = maps.xs[0].std() / (1 + maps.sigmas[0] ** 2) ** 0.5
    row = {"variant": variant, "steps": steps, "cfg": cfg}
    return row | {"error": error.item(), "std of x_T": spread.item()}


def plot(by_steps: list[dict], by_cfg: list[dict]) -> None:
    figure = Figure((11, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for variant in VARIANTS:
        rows = [row for row in by_steps if row["variant"] == variant]
        left.loglog([r["steps"] for r in rows], [r["error"] for r in rows], "o-", label=variant)
    left.set(xlabel="steps", ylabel="error of the round trip (rms)", title="inversion cfg 1")
    left.legend(frameon=False)
    cfgs = [row["cfg"] for row in by_cfg]
    right.plot(cfgs, [row["error"] for row in by_cfg], "o-", label="error of the round trip (rms)")
    right.plot(cfgs, [row["std of x_T"] for row in by_cfg], "s-", label="standard deviation of x_T")
    right.axhline(1, color="grey", linewidth=1)
    right.set(xlabel="inversion cfg", title="50 steps, target", ylim=(0, None))
    right.legend(frameon=False)
    for axes in (left, right):
        axes.grid(color="#e8e8e8")
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(ROOT / "out" / "ddim.png", dpi=100)


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worlds", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    model, clip, vae = load_demo("v")
    worlds = draw_worlds(args.worlds, torch.Generator().manual_seed(args.seed))
    latent = {"samples": vae.encode(render(worlds)[0])}
    prompts = encode_captions(clip, captions(worlds)), encode_captions(clip, [""])
    by_steps = [
        round_trip(model, prompts, latent, steps, 1.0, variant)
        for variant in VARIANTS
        for steps in STEPS
        if steps <= 250 or variant == "target"
    ]
    by_cfg = [round_trip(model, prompts, latent, 50, cfg, "target") for cfg in CFGS]
    (ROOT / "out").mkdir(exist_ok=True)
    print_table(by_steps)
    print_table(by_cfg)
    plot(by_steps, by_cfg)
    write_results("ddim", {"worlds": args.worlds, "steps": by_steps, "cfg": by_cfg})
