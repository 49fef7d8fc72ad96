"""Does a picture come back through every family of the host's models?

    make bench NAME=families

Tiny networks of the host's own classes with arbitrary weights: an arbitrary latent is inverted at
cfg 3.5, and replayed under its own prompt and under another.
"""

from comfy import supported_models
from comfy.model_patcher import ModelPatcher

from ..nodes.ddim import DDIMInvert
from ..nodes.ef_ddpm import EFDDPMInvert
from ..nodes.inverted_sampler import InvertedSampler
from .measure import options, print_table, write_results
from .task import outputs
from .tiny_families import FAMILIES, Family

STEPS, CFG = 4, 3.5


def present(families: dict[str, Family]) -> list[str]:
    """The oldest supported host has fewer of them."""
    return [name for name, family in families.items() if hasattr(supported_models, family.kind)]


def departures(family: Family, model: ModelPatcher) -> dict[str, float]:
    """By how much replays depart from the latent, at most: of EF-DDPM maps under their own prompt
    and under another, and of DDIM maps with their residuals.
    """
    shared = {"model": model, "negative": family.prompt(2), "cfg": CFG}
    source, target = ({**shared, "positive": family.prompt(seed)} for seed in (1, 3))
    latent = family.latent()
    settings = {"latent_image": latent, "steps": STEPS, "scheduler": "normal"}

    def departure(maps, wires: dict) -> float:
        (out,) = outputs(InvertedSampler, **wires, noise_maps=maps, skip_steps=0)
        return (out["samples"] - latent["samples"]).abs().max().item()

    maps, *_ = outputs(EFDDPMInvert, **source, **settings, seed=0, skip_steps=0)
    path, *_ = outputs(DDIMInvert, **source, **settings)
    return {
        "edit-friendly": departure(maps, source),
        "DDIM": departure(path, source),
        "edit": departure(maps, target),
    }


def main() -> None:
    args = options(__doc__, worlds=1).parse_args()
    rows = {}
    for name in present(FAMILIES):
        family = FAMILIES[name]
        rows[name] = {"class": family.kind, **departures(family, family.model())}
    print_table(rows)
    write_results(args.out, "families", {"steps": STEPS, "cfg": CFG, "families": rows})
