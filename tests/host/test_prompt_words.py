"""Words, alignments and intervals of real tokenizers, against tables of Prompt-to-Prompt's own code
(golden/README.md).
"""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from comfy.sd1_clip import SD1Tokenizer
from comfy.sdxl_clip import SDXLTokenizer
from comfy.text_encoders.sd3_clip import SD3Tokenizer
from imprint_pack.inversion.alignment import align, positions
from imprint_pack.inversion.attention import Moment
from imprint_pack.nodes._host.words import encode, prompts_by_tokenizer
from imprint_pack.nodes.prompt_to_prompt import prompt_to_prompt

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "p2p.json").read_text())
PAIRS = pytest.mark.parametrize("pair", GOLDEN, ids=[pair["target"] for pair in GOLDEN])
STEPS = 10


@pytest.fixture(scope="module")
def read():
    """A text as Stable Diffusion 1 reads it."""
    clip = SimpleNamespace(tokenize=SD1Tokenizer().tokenize_with_weights)
    return lambda text: prompts_by_tokenizer(clip, text)["l"]


@PAIRS
def test_tokens_and_words_are_the_authors(read, pair):
    for text, tokens in (
        (pair["source"], pair["source_tokens"]),
        (pair["target"], pair["target_tokens"]),
    ):
        assert read(text).tokens[: len(tokens)] == tuple(tokens)
    words = dict(read(pair["target"]).words)
    assert {word: list(at) for word, at in words.items()} == pair["words"]


@PAIRS
def test_refinement_is_the_authors(read, pair):
    source, target = read(pair["source"]), read(pair["target"])
    if len(source.words) == len(target.words):
        target = target._replace(words=(*target.words, ("", ())))  # another number of words
    mapper, found = align([source], [target])
    for j, (i, alpha) in enumerate(zip(pair["refine_mapper"], pair["refine_alphas"], strict=True)):
        assert found[j] == alpha
        if alpha:
            assert mapper[:, j].nonzero().tolist() == [[i]]
            assert mapper[i, j] == 1


@PAIRS
def test_replacement_is_the_authors(read, pair):
    source, target = read(pair["source"]), read(pair["target"])
    if pair["replace_mapper"] is None or not pair["replace_same_length"]:
        assert pair["replace_mapper"] is not None or len(source.words) != len(target.words)
        return
    mapper, found = align([source], [target])
    size = len(pair["target_tokens"])
    expected = torch.zeros(77, size)
    for i, j, weight in pair["replace_mapper"]:
        expected[i, j] = weight
    assert mapper[:, :size].equal(expected)
    assert found.all()


@PAIRS
def test_intervals_are_the_authors(read, pair):
    source, target = read(pair["source"]), read(pair["target"])
    size = len(pair["target_tokens"])
    last = target.words[-1][0]
    plain = prompt_to_prompt([source], [target], 0.8, 0.0)
    timed = prompt_to_prompt([source], [target], 0.4, 0.0, word_fractions=f"{last}: 0.2 0.9")
    for step in range(STEPS + 1):
        used = plain.used(Moment(step, STEPS))
        assert set(used.tolist()) == {pair["cross_0.8_of_10_steps"][step]}
        expected = pair["cross_default_0.4_last_word_0.2_to_0.9"][step]
        assert timed.used(Moment(step, STEPS))[:size].tolist() == expected


@pytest.mark.parametrize(
    ("text", "word", "at"),
    [
        ("a (cat:1.3) on grass", "cat", [2]),
        ("a ((black cat)) on grass", "cat", [3]),
        (r"a cat \(small\) here", "cat", [2]),
        ("a photorealistic hippopotamus", "hippopotamus", [4, 5, 6]),
        ("a cat\nand a cat", "cat", [2, 5]),
        ("river, and more", "river", [1, 2]),
    ],
)
def test_weights_and_punctuation(read, text, word, at):
    assert positions([read(text)], word) == at


def test_prompts_of_more_than_77_tokens(read):
    prompt = read(" ".join(["cat"] * 80 + ["dog"]))
    assert len(prompt.tokens) == 2 * 77
    (at,) = positions([prompt], "dog")
    assert at == 77 + 1 + 80 - 75


@pytest.mark.parametrize(
    ("tokenizer", "keys"), [(SDXLTokenizer, {"l", "g"}), (SD3Tokenizer, {"l", "g", "t5xxl"})]
)
def test_every_tokenizer_finds_the_words(tokenizer, keys):
    clip = SimpleNamespace(tokenize=tokenizer().tokenize_with_weights)
    prompts = prompts_by_tokenizer(clip, "a photorealistic hippopotamus, (asleep:1.2)")
    assert set(prompts) == keys
    for prompt in prompts.values():
        assert [word for word, _ in prompt.words] == [
            "a",
            "photorealistic",
            "hippopotamus,",
            "asleep",
        ]


def test_the_demo_models_words(node):
    _, clip, _ = node("LoadDemoModel")
    conditioning, (prompt,) = encode(clip, "a (red:1.5) circle on grass", "prompt")
    assert conditioning[0][0].shape[1] == len(prompt.tokens)
    assert positions([prompt], "red") == [1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"word_weights": "dog: 2"}, "The prompt has no word 'dog': use one of its words"),
        ({"word_weights": "cat 2"}, "word_weights has the line 'cat 2': write a word, a colon"),
        ({"word_weights": "cat: much"}, "such as circle: 2"),
        ({"word_fractions": "cat: 1 2 3"}, "such as circle: 0.4 or circle: 0.2 0.9"),
        ({"word_weights": "cat: nan"}, "such as circle: 2"),
        ({"word_fractions": "cat: inf"}, "such as circle: 0.4 or circle: 0.2 0.9"),
        ({"word_fractions": "cat: 0.9 0.2"}, "act from 0.9 to 0.2: write two rising numbers"),
        ({"blend_words": "cat dog"}, "The prompt has no word 'dog'"),
    ],
)
def test_what_is_not_a_word_or_a_number_is_named(read, settings, message):
    prompts = [read("a cat")], [read("a black cat")]
    with pytest.raises(ValueError, match=message):
        prompt_to_prompt(*prompts, 0.8, 0.4, **settings)
