"""Prompt-to-Prompt: an edit whose words attend where the source's words did."""

import math
import re

import torch
from comfy_api.latest import io

from ..inversion.alignment import Prompt, align, find, positions
from ..inversion.prompt_to_prompt import BlendWords, PromptToPrompt
from ..inversion.word_maps import WordMaps
from ._host import words
from ._host.steering import AttentionControl
from .inputs import CATEGORY, attention_control_output, fraction_input, prompt_input, size_input

_BLEND_SIZE = 16  # the authors' layers


class PromptToPromptNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ImprintPromptToPrompt",
            display_name="Prompt-to-Prompt",
            category=CATEGORY,
            description="Two prompts, and an attention control that lets the words of the second "
            "look where those of the first did: the layout stays, the named thing changes.",
            search_aliases=["p2p", "attention control", "cross attention", "word swap", "reweight"],
            inputs=[
                io.Clip.Input("clip", tooltip="The CLIP that belongs to the model."),
                prompt_input("source_prompt", "What the image shows: the prompt of the inversion."),
                prompt_input(
                    "target_prompt",
                    "What the result should show. With as many words as the source, word answers "
                    "to word; else words that both have in common.",
                ),
                fraction_input(
                    "cross_replace",
                    0.8,
                    "Until which part of all steps words look where the source's did. Higher "
                    "keeps the layout, lower lets shapes change.",
                ),
                fraction_input(
                    "self_replace",
                    0.4,
                    "Until which part of all steps places relate to each other as in the source. "
                    "Higher keeps forms and background.",
                ),
                *_word_settings(),
                *_blend_settings(),
            ],
            outputs=_outputs(),
        )

    @classmethod
    def execute(cls, clip, source_prompt, target_prompt, **settings) -> io.NodeOutput:
        source, before = words.encode(clip, source_prompt, "source_prompt")
        target, after = words.encode(clip, target_prompt, "target_prompt")
        rules = prompt_to_prompt(before, after, **settings)
        return io.NodeOutput(source, target, AttentionControl(rules, source))


def prompt_to_prompt(
    source: list[Prompt],
    target: list[Prompt],
    cross_replace: float,
    self_replace: float,
    word_weights: str = "",
    word_fractions: str = "",
    self_size: int = 16,
    blend_words: str = "",
    blend_threshold: float = 0.3,
) -> PromptToPrompt:
    """The rules for two prompts; ValueError where a word or a number is not one."""
    mapper, found = align(source, target)
    weights, spans = torch.ones(len(found)), [(0.0, cross_replace)] * len(found)
    for word, numbers in _lines("word_weights", word_weights, (1,)):
        weights[positions(target, word)] = numbers[0]
    for word, numbers in _lines("word_fractions", word_fractions, (1, 2)):
        first, last = numbers if len(numbers) == 2 else (0.0, numbers[0])
        if not 0 <= first <= last <= 1:
            raise ValueError(
                f"word_fractions lets {word} act from {first:g} to {last:g}: write two rising "
                "numbers from 0 to 1."
            )
        for i in positions(target, word):
            spans[i] = first, last
    blend = _blend(source, target, blend_words, blend_threshold)
    return PromptToPrompt(mapper, found, weights, tuple(spans), self_replace, self_size, blend)


def _blend(
    source: list[Prompt], target: list[Prompt], names: str, threshold: float
) -> BlendWords | None:
    """Where these words are seen in either prompt; a word may stand in one of them only."""
    asked = re.split(r"[\s,]+", (names or "").strip()) if (names or "").strip() else []
    if not asked:
        return None
    for word in asked:
        if not find(source, word):
            positions(target, word)
    at = [[i for word in asked for i in find(prompt, word)] for prompt in (source, target)]
    return BlendWords(WordMaps(at[0], _BLEND_SIZE), WordMaps(at[1], _BLEND_SIZE), threshold)


def _lines(name: str, text: str, counts: tuple[int, ...]) -> list[tuple[str, list[float]]]:
    """Words with their numbers, from lines such as `circle: 2`."""
    found = []
    for line in filter(None, (line.strip() for line in (text or "").splitlines())):
        word, _, given = line.rpartition(":")
        try:
            numbers = [float(number) for number in given.split()]
        except ValueError:
            numbers = []
        finite = all(math.isfinite(number) for number in numbers)
        if not word.strip() or len(numbers) not in counts or not finite:
            example = "circle: 2" if counts == (1,) else "circle: 0.4 or circle: 0.2 0.9"
            raise ValueError(
                f"{name} has the line {line!r}: write a word, a colon and what it gets, such as "
                f"{example}."
            )
        found += [(part, numbers) for part in word.split()]
    return found


def _outputs() -> list:
    return [
        io.Conditioning.Output(
            display_name="source",
            tooltip="The source prompt, for the Invert node. (A CLIP Text Encode of its own "
            "there saves inverting anew whenever the target changes.)",
        ),
        io.Conditioning.Output(
            display_name="target",
            tooltip="The target prompt, for Inverted Sampler's positive.",
        ),
        attention_control_output(),
    ]


def _word_settings() -> list:
    return [
        io.String.Input(
            "word_weights",
            default="",
            multiline=True,
            optional=True,
            advanced=True,
            tooltip="How strongly words of the target act, one a line, such as circle: 2. Above 1 "
            "strengthens, below weakens, negative suppresses. Acts while cross_replace does.",
        ),
        io.String.Input(
            "word_fractions",
            default="",
            multiline=True,
            optional=True,
            advanced=True,
            tooltip="Another cross_replace for single words, one a line: circle: 0.4, or from and "
            "to as in circle: 0.2 0.9.",
        ),
        size_input(
            "self_size",
            "Which layers follow self_replace: those of up to this many places across, for a "
            "picture of 512 pixels; larger ones count in proportion. 16 keeps forms, 32 also fine "
            "structure.",
        ),
    ]


def _blend_settings() -> list:
    return [
        io.String.Input(
            "blend_words",
            default="",
            optional=True,
            advanced=True,
            tooltip="Edit only where these words are seen, in either prompt, such as cat dog. "
            "Empty edits everywhere.",
        ),
        io.Float.Input(
            "blend_threshold",
            default=0.3,
            min=0.0,
            max=0.95,
            step=0.05,
            optional=True,
            advanced=True,
            tooltip="How strongly a word must be seen, of its strongest place. Lower edits a "
            "larger part.",
        ),
    ]
