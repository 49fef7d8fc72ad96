"""pix2pix-zero: a direction between prompts, and cross-attention that is held by gradient."""

import torch
from comfy_api.latest import io
from torch import Tensor

from ..inversion.cross_guidance import CrossGuidance
from ._host.steering import AttentionControl
from .inputs import CATEGORY, attention_control_output, check_source, chosen, source_input

_DIRECTION = io.DynamicCombo.Input(
    "direction",
    tooltip="Between what the edit goes: two lists of sentences, or two prompts.",
    options=[
        io.DynamicCombo.Option(
            "sentences",
            [
                io.Clip.Input("clip", tooltip="The CLIP that belongs to the model."),
                io.String.Input(
                    "before",
                    default="a cat",
                    multiline=True,
                    tooltip="Sentences with what the image shows, one a line. Many different ones "
                    "find the direction better.",
                ),
                io.String.Input(
                    "after",
                    default="a dog",
                    multiline=True,
                    tooltip="Sentences with what the result should show instead, one a line.",
                ),
            ],
        ),
        io.DynamicCombo.Option(
            "prompts",
            [
                io.Conditioning.Input("before", tooltip="A prompt with what the image shows."),
                io.Conditioning.Input("after", tooltip="A prompt with what it should show."),
            ],
        ),
    ],
)


class Pix2PixZero(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ImprintPix2PixZero",
            display_name="pix2pix-zero",
            category=CATEGORY,
            description="Moves the source prompt in the direction of an edit, and holds the "
            "image's layout by the gradient of its cross-attention.",
            search_aliases=["p2p zero", "edit direction", "attention control", "zero-shot"],
            inputs=[
                source_input(),
                _DIRECTION,
                io.Float.Input(
                    "amount",
                    default=0.1,
                    min=0.0,
                    max=10.0,
                    step=0.01,
                    tooltip="How strongly each step is drawn to the source's layout. 0 only moves "
                    "the prompt.",
                ),
            ],
            outputs=[
                io.Conditioning.Output(
                    display_name="target",
                    tooltip="The moved prompt, for Inverted Sampler's positive.",
                ),
                attention_control_output(),
            ],
        )

    @classmethod
    def execute(cls, source, direction, amount) -> io.NodeOutput:
        check_source(source)
        _, given = chosen("pix2pix-zero", _DIRECTION, direction)
        before, after = _mean(given, "before"), _mean(given, "after")
        target = [_moved(prompt, before, after) for prompt in source]
        return io.NodeOutput(target, AttentionControl(CrossGuidance(amount), source))


def _mean(given: dict, name: str) -> tuple[Tensor, Tensor | None]:
    """The mean embedding (1, tokens, width), and the mean pooled vector where there is one."""
    if "clip" not in given:
        prompts = given[name]
    else:
        lines = [line.strip() for line in given[name].splitlines() if line.strip()]
        clip = given["clip"]
        prompts = [
            prompt
            for line in lines
            for prompt in clip.encode_from_tokens_scheduled(clip.tokenize(line))
        ]
    if not prompts:
        raise ValueError(f"{name} is empty: write at least one sentence, or connect a prompt.")
    if len({embedding.shape[1:] for embedding, _ in prompts}) > 1:
        raise ValueError(
            f"The sentences of {name} have different numbers of tokens, so they have no mean: "
            "write short ones."
        )
    pooled = [options["pooled_output"] for _, options in prompts if "pooled_output" in options]
    embedding = torch.stack([embedding for embedding, _ in prompts]).mean(0)
    return embedding, torch.stack(pooled).mean(0) if len(pooled) == len(prompts) else None


def _moved(prompt: list, before: tuple, after: tuple) -> list:
    """A prompt of the source, moved from `before` to `after`."""
    embedding, options = prompt
    for given in (before[0], after[0]):
        if given.shape[1:] != embedding.shape[1:]:
            raise ValueError(
                f"The source prompt has embeddings {tuple(embedding.shape[1:])}, the direction "
                f"{tuple(given.shape[1:])}: use the same CLIP, and prompts of similar length."
            )
    moved, pooled = dict(options), options.get("pooled_output")
    if pooled is not None and before[1] is not None and after[1] is not None:
        moved["pooled_output"] = pooled + after[1] - before[1]
    return [embedding + after[0] - before[0], moved]
