"""Example workflows of DDIM inversion and null text, by the name of their file."""

from typing import NamedTuple

from example_graphs import (
    DEMO_IMAGE,
    DEMO_MODEL,
    MODEL,
    PHOTO_CAPTION,
    PHOTO_EDIT,
    PROMPTS,
    SD15,
    SOURCE,
    decode,
    measured,
    photo,
    round_trip,
    sampler,
    side_by_side,
    target_prompt,
    until_inversion,
)
from workflow_page import Node, Note

SCHEDULE = {"steps": 50, "scheduler": "ddim_uniform"}
DEMO_PICTURE = (DEMO_MODEL, {"image": DEMO_IMAGE}, ("image", 1))
ONLINE = {"method": "online", "method.inner_steps": 1, "method.learning_rate": 0.05}
NPI = {"method": "negative_prompt"}
PAPER = {
    "method": "null_text",
    "method.inner_steps": 10,
    "method.learning_rate": 0.01,
    "method.tolerance": 1e-5,
    "method.start_from": "negative",
}


class Result(NamedTuple):
    """A sampler, the name of the result that its own is measured against, and is it shown?"""

    node: Node
    against: str = ""
    shown: bool = True


def inverted(loader: Node, picture: dict[str, Node], caption) -> dict[str, Node]:
    inputs = {
        **PROMPTS,
        **SCHEDULE,
        "positive": SOURCE,
        "latent_image": ("encode", 0),
        "cfg": 1.0,
        "evaluate_at": "target",
        "fixed_point_steps": 0,
    }
    invert = Node(2, "ImprintDDIMInvert", inputs)
    return {**until_inversion(loader, picture, caption), "invert": invert}


def with_results(graph: dict, results: dict[str, Result], title: str, scale: bool = True) -> dict:
    """`graph` with each result decoded, measured and shown beside the picture."""
    graph = graph | {"reference_picture": round_trip()}
    row = ["reference_picture"]
    for name, (node, against, shown) in results.items():
        picture = f"{name}_picture"
        graph |= {name: node, picture: decode(5, name, collapsed=True)}
        if against:
            column, question = 5 if shown else 6, f"{node.title}: how exact?"
            graph |= measured(column, picture, f"{against}_picture", question)
        row += [picture] if shown else []
    return graph | side_by_side(7, row, title, scale=scale)


def optimized(graph: dict, method: dict, cfg: float) -> dict:
    """`graph` with the null text of its inversion."""
    inputs = {**PROMPTS, **method, "positive": SOURCE, "noise_maps": ("invert", 0), "cfg": cfg}
    return graph | {"optimize": Node(3, "ImprintNullTextOptimize", inputs)}


def with_targets(graph: dict, edits: list[str]) -> tuple[dict, list[str]]:
    """`graph` with a prompt for each edit, and their names."""
    targets = {f"target{i}": target_prompt(words) for i, words in enumerate(edits)}
    return graph | targets, list(targets)


def round_trip_graph() -> dict:
    def replay(title: str, residual: float) -> Result:
        return Result(sampler(4, "invert", SOURCE, title, cfg=1.0, residual=residual), "reference")

    results = {"plain": replay("Plain DDIM", 0.0), "exact": replay("With residuals", 1.0)}
    return with_results(inverted(*DEMO_PICTURE), results, "source | plain DDIM | exact")


def null_text_graph(
    picture: tuple, method: dict, *, cfg: float, edits: list[str], scale: bool = True
) -> dict:
    def sample(
        title: str, prompt: tuple = SOURCE, maps: str = "optimize", residual: float = 0.0
    ) -> Node:
        return sampler(4, maps, prompt, title, cfg=cfg, residual=residual)

    graph, targets = with_targets(optimized(inverted(*picture), method, cfg), edits)
    both = sample("Null text and residuals", residual=1.0)
    results = {
        "plain": Result(sample(f"Plain DDIM at cfg {cfg:g}", maps="invert"), "reference"),
        "null_text": Result(sample("Null text alone"), "reference"),
        "exact": Result(both, "reference", shown=False),
        **{f"edit_{name}": Result(sample("Edit", (name, 0))) for name in targets},
    }
    return with_results(graph, results, "source | plain DDIM | null text | edits", scale)


def ksampler_graph(*, cfg: float, edits: list[str]) -> dict:
    def sample(title: str, prompt: tuple) -> Node:
        inputs = {
            **SCHEDULE,
            "model": MODEL,
            "positive": prompt,
            "negative": ("optimize", 2),
            "latent_image": ("invert", 1),
            "cfg": cfg,
            "sampler_name": "euler",
            "add_noise": "disable",
            "noise_seed": 0,
            "start_at_step": 0,
            "end_at_step": 10000,
            "return_with_leftover_noise": "disable",
        }
        return Node(4, "KSamplerAdvanced", inputs, title)

    graph, targets = with_targets(optimized(inverted(*DEMO_PICTURE), ONLINE, cfg), edits)
    ours = sampler(4, "optimize", SOURCE, "Inverted Sampler", cfg=cfg, residual=0.0)
    results = {
        "ours": Result(ours, "reference", shown=False),
        "stock": Result(sample("KSampler, source prompt", ("optimize", 1)), "ours"),
        **{f"edit_{name}": Result(sample("KSampler, edit", (name, 0))) for name in targets},
    }
    return with_results(graph, results, "source | KSampler: source prompt | edits")


ROUND_TRIP_NOTE = Note(
    0,
    "To the noise and back",
    "**DDIM Invert** walks from the picture up to noise, without randomness. **Inverted Sampler** "
    "walks back.\n\nWith `residual` 0 this is plain DDIM: each step up is a guess, so the picture "
    "comes back almost. The *residuals* are what the steps missed; with `residual` 1 it comes back "
    "exactly.\n\nTry: 10 `steps`, or `fixed_point_steps` 5 in DDIM Invert, and compare the "
    "reports of *Plain DDIM*. With `cfg` 2 in its sampler plain DDIM drifts; see "
    "*demo_null_text_edit*.",
    230,
)
NULL_TEXT_NOTE = Note(
    0,
    "Edit with null text",
    "Guidance makes plain DDIM drift from the picture. **Null-Text Optimize** fits the negative "
    "prompt, step by step, so that guided sampling returns to it. The same null text then serves "
    "the edits.\n\nTry: change one word of a target prompt (red green blue yellow purple white; "
    "circle square triangle cross; grass sky sand night). Another `cfg`: set it in Null-Text "
    "Optimize and in the samplers, as each has its own null text. More `inner_steps` reconstruct "
    "better.\n\n`residual` 0 leaves everything to the null text, as in the paper; with 1 the "
    "source prompt returns the picture exactly.",
    250,
)
NPI_NOTE = Note(
    0,
    "Edit with the source as negative prompt",
    "Negative-prompt inversion (NPI): with `negative_prompt`, **Null-Text Optimize** takes the "
    "source prompt as the null text. That needs no optimisation: under the source prompt both "
    "halves of the guidance agree, so any `cfg` reconstructs.\n\nEdits come out stronger than "
    "with optimised null text: keep `cfg` low.\n\nTry: change one word of a target prompt (red "
    "green blue yellow purple white; circle square triangle cross; grass sky sand night); `cfg` 3 "
    "in Null-Text Optimize and in the samplers.",
    240,
)
KSAMPLER_NOTE = Note(
    0,
    "Null text in the stock sampler",
    "**Null-Text Optimize** gives the null text also as an ordinary negative prompt, with one "
    "entry for each step. **KSampler (Advanced)** starts from the `latent` of DDIM Invert, with "
    "`add_noise` disabled, *euler*, and the same steps, scheduler and cfg.\n\nIts report "
    "compares it with Inverted Sampler at `residual` 0: the same picture.\n\nTry: change one word "
    "of a target prompt (red green blue yellow purple white; circle square triangle cross; grass "
    "sky sand night).",
    230,
)
SD_NOTE = Note(
    0,
    "Edit a photo with null text",
    "1. Load a photo, and describe it in the *source prompt*.\n2. Change words in the *target "
    "prompt*.\n3. Run.\n\nThe settings are those of the paper (Mokady et al. 2023): 50 steps, "
    "inversion at cfg 1, edit at 7.5, up to 10 updates per step.\n\nFaster: `method` *online* "
    "makes one or two updates per step, *negative_prompt* none. The edit changes too much: lower "
    "`cfg`, in Null-Text Optimize and in the samplers.\n\nReconstruction Check compares with the "
    "VAE round trip of the photo, since inversion works on the latent.",
    260,
)

DDIM_EXAMPLES = {
    "demo_ddim_round_trip": (ROUND_TRIP_NOTE, round_trip_graph()),
    "demo_null_text_edit": (
        NULL_TEXT_NOTE,
        null_text_graph(
            DEMO_PICTURE, ONLINE, cfg=3.0, edits=["a yellow circle on grass", "a red circle on sky"]
        ),
    ),
    "demo_npi_edit": (
        NPI_NOTE,
        null_text_graph(
            DEMO_PICTURE, NPI, cfg=1.5, edits=["a blue circle on grass", "a red cross on grass"]
        ),
    ),
    "demo_null_text_ksampler": (
        KSAMPLER_NOTE,
        ksampler_graph(cfg=3.0, edits=["a white circle on sand", "a red circle on night"]),
    ),
    "null_text_sd15": (
        SD_NOTE,
        null_text_graph(
            (SD15, photo(0.25), PHOTO_CAPTION), PAPER, cfg=7.5, edits=[PHOTO_EDIT], scale=False
        ),
    ),
}
