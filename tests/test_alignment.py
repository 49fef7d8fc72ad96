"""Which tokens of two prompts belong together, against tables written out by hand."""

import pytest
import torch
from imprint_pack.inversion.alignment import Prompt, align, longest_common, positions

START, END, PAD, LENGTH = 1, 2, 0, 16


def prompt(text: str) -> Prompt:
    """Words, of which `-` parts the tokens: "hip-po" has two. As CLIP has it, a start token, the
    words, an end token and padding.
    """
    tokens, words = [START], []
    for word in text.split():
        pieces = word.split("-")
        words.append((word.replace("-", ""), tuple(range(len(tokens), len(tokens) + len(pieces)))))
        tokens += [100 + sum(map(ord, piece)) for piece in pieces]
    tokens += [END, *[PAD] * (LENGTH - len(tokens) - 1)]
    return Prompt(tuple(tokens), tuple(words))


def table(source: str, target: str) -> list[str]:
    """For each token of the target's words, "source positions" with their weights, or "new"."""
    before, after = prompt(source), prompt(target)
    mapper, found = align([before], [after])
    rows = []
    for j in (j for _, at in after.words for j in at):
        column = mapper[:, j]
        entries = [f"{i}" + ("" if w == 1 else f"*{w:.3g}") for i, w in enumerate(column) if w]
        rows.append("+".join(entries) if found[j] else "new")
    return rows


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        # As many words: word answers to word.
        ("a cat", "a dog", ["1", "2"]),
        ("a red circle on grass", "a blue circle on grass", ["1", "2", "3", "4", "5"]),
        ("a cat on grass", "a grass on cat", ["1", "2", "3", "4"]),
        ("a hip-po swims", "a rhi-no swims", ["1", "2", "3", "4"]),
        ("a cat swims", "a hip-po swims", ["1", "2*0.5", "2*0.5", "3"]),
        ("a hip-po swims", "a cat swims", ["1", "2+3", "4"]),
        ("a hip-po swims", "a kan-ga-roo swims", ["1", *["2*0.333+3*0.333"] * 3, "4"]),
        # Another number of words: what both hold, in order.
        ("a cat", "a black cat", ["1", "new", "2"]),
        ("a house", "a house in the snow", ["1", "2", "new", "new", "new"]),
        ("a black cat", "a cat", ["1", "3"]),
        ("a white horse runs", "a zebra runs", ["1", "new", "4"]),
        ("two birds", "three small birds", ["new", "new", "2"]),
        ("a river , a", "a map of a river , a", ["1", "new", "new", "new", "2", "3", "4"]),
        ("a hip-po", "a big hip-po", ["1", "new", "2", "3"]),
        ("cat", "dog and bird", ["new", "new", "new"]),
        ("", "a cat", ["new", "new"]),
    ],
)  # fmt: skip
def test_words_answer_to(source, target, expected):
    assert table(source, target) == expected


def test_painting_of_takes_the_article_next_to_what_it_knows():
    # Two articles could be the source's; the one beside the shared words is no better or worse by
    # number, and the last comparison wins, as the authors' does.
    assert longest_common([5, 6, 7], [5, 8, 9, 5, 6, 7]) == [(0, 0), (1, 4), (2, 5)]


@pytest.mark.parametrize(
    ("source", "target"), [("a cat", "a dog"), ("a cat", "a black cat sits"), ("a b c d", "a")]
)
def test_start_end_and_padding_answer_to_their_like(source, target):
    before, after = prompt(source), prompt(target)
    mapper, found = align([before], [after])
    like = torch.tensor(before.tokens)[mapper.argmax(0)]
    for j in after.special:
        assert like[j] == after.tokens[j]
        assert found[j] == 1


def test_columns_of_found_tokens_share_out_what_there_is():
    mapper, _ = align([prompt("a cat swims")], [prompt("a kan-ga-roo swims")])
    assert mapper[2].sum() == pytest.approx(1)  # the cat's attention, no more and no less


def test_two_tokenizers_stay_apart():
    before, after = prompt("a cat"), prompt("a dog")
    mapper, found = align([before, before], [after, after])
    single, _ = align([before], [after])
    assert mapper[:LENGTH, :LENGTH].equal(single)
    assert mapper[LENGTH:, LENGTH:].equal(single)
    assert not mapper[LENGTH:, :LENGTH].any()
    assert len(found) == 2 * LENGTH
    assert positions([before, before], "cat") == [2, LENGTH + 2]


def test_words_are_found_with_their_punctuation_and_in_any_case():
    words = prompt("A river, a River")
    assert positions([words], "river") == [2, 4]


def test_a_word_that_is_not_there_is_an_error_with_those_that_are():
    with pytest.raises(ValueError, match=r"no word 'dog': use one of its words \(a, black, cat\)"):
        positions([prompt("a black cat")], "dog")
    with pytest.raises(ValueError, match=r"\(none, it is empty\)"):
        positions([prompt("")], "dog")


@pytest.mark.parametrize(("before", "after"), [(3, 3), (3, 30), (30, 3), (30, 33)])
def test_no_attention_is_lost_between_prompts_of_several_blocks(before, after):
    def blocks(count: int) -> Prompt:
        """Words of one token in blocks of 16, each with a start token and one end at least."""
        tokens, words = [], []
        for i in range(count):
            tokens += [START] if i % 14 == 0 else []
            words.append((f"word{i}", (len(tokens),)))
            tokens += [100 + i, *([END] if i % 14 == 13 else [])]
        tokens += [END] * (-len(tokens) % LENGTH)
        return Prompt(tuple(tokens), tuple(words))

    source, target = blocks(before), blocks(after)
    mapper, _ = align([source], [target])
    kept = mapper.sum(1)
    assert kept[source.special] == pytest.approx(torch.ones(len(source.special)))
    assert mapper.sum() == pytest.approx(len(source.tokens) - max(0, before - after))
