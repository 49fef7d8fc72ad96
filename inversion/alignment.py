"""Which tokens of a source prompt the tokens of its target prompt answer to.

Prompt-to-Prompt (Hertz et al. 2023) takes the source's attention for what both prompts share. Two
prompts of as many words are compared word by word (replacement), all others by the longest sequence
of tokens that they have in common (refinement).

A mapper is (source tokens, target tokens): column j says from which of the source's maps, and with
which weights, the map of target token j is made.
"""

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor


class Prompt(NamedTuple):
    """A prompt as the network sees it: `tokens`, special ones and padding included, and each word
    with the positions of its tokens, in order.
    """

    tokens: tuple[int, ...]
    words: tuple[tuple[str, tuple[int, ...]], ...]

    def positions(self, word: str) -> list[int]:
        """The positions of every word spelled like this, in small or capital letters, with or
        without the punctuation behind it.
        """
        wanted = _bare(word)
        return [i for name, at in self.words if _bare(name) == wanted for i in at]

    @property
    def special(self) -> list[int]:
        """The positions that belong to no word: start, end, padding."""
        of_words = {i for _, at in self.words for i in at}
        return [i for i in range(len(self.tokens)) if i not in of_words]


def _bare(word: str) -> str:
    return word.strip(".,;:!?\"'()").lower() or word


def find(parts: Sequence[Prompt], word: str) -> list[int]:
    """Where a word stands in the embeddings of several tokenizers, one after another."""
    found, offset = list[int](), 0
    for part in parts:
        found += [offset + i for i in part.positions(word)]
        offset += len(part.tokens)
    return found


def positions(parts: Sequence[Prompt], word: str) -> list[int]:
    """As `find`; ValueError with the words that there are where this is not one."""
    found = find(parts, word)
    if not found:
        known = ", ".join(dict.fromkeys(name for name, _ in parts[0].words)) or "none, it is empty"
        raise ValueError(f"The prompt has no word {word!r}: use one of its words ({known}).")
    return found


def align(source: Sequence[Prompt], target: Sequence[Prompt]) -> tuple[Tensor, Tensor]:
    """The mapper (source tokens, target tokens) and, for each target token, 1 where the source has
    a map for it, else 0: by replacement for as many words, else by refinement. The prompts are
    given once for each tokenizer whose embeddings the network sees, one after another.
    """
    parts, found = zip(*(_aligned(*pair) for pair in zip(source, target, strict=True)), strict=True)
    mapper = cast(Tensor, torch.block_diag(*parts))  # pyright: ignore[reportUnknownMemberType]
    return mapper, torch.cat(found)


def _aligned(source: Prompt, target: Prompt) -> tuple[Tensor, Tensor]:
    if len(source.words) == len(target.words):
        pairs, found = _replaced(source, target), torch.ones(len(target.tokens))
    else:
        pairs, found = _refined(source, target)
    mapper = torch.zeros(len(source.tokens), len(target.tokens))
    pairs += _specials(source, target)
    for i, j, weight in pairs:
        mapper[i, j] = weight
    return mapper, found


def _specials(source: Prompt, target: Prompt) -> list[tuple[int, int, float]]:
    """Entries of start, end and padding: each answers to its like, in order. What one prompt has
    more of, as one of more blocks of tokens has, goes with the last, so no attention is lost.
    """
    pairs = list[tuple[int, int, float]]()
    for token in {target.tokens[j] for j in target.special}:
        before = [i for i in source.special if source.tokens[i] == token]
        after = [j for j in target.special if target.tokens[j] == token]
        surplus = max(0, len(after) - len(before))
        for k in range(max(len(before), len(after)) if before else 0):
            i, j = before[min(k, len(before) - 1)], after[min(k, len(after) - 1)]
            pairs.append((i, j, 1 / (1 + surplus) if i == before[-1] else 1.0))
    return pairs


def _replaced(source: Prompt, target: Prompt) -> list[tuple[int, int, float]]:
    """Entries of words in order. A word of another number of tokens shares out what its counterpart
    got, evenly.
    """
    pairs = list[tuple[int, int, float]]()
    for (_, before), (_, after) in zip(source.words, target.words, strict=True):
        if len(before) == len(after):
            pairs += [(i, j, 1.0) for i, j in zip(before, after, strict=True)]
        else:
            pairs += [(i, j, 1 / len(after)) for i in before for j in after]
    return pairs


def _refined(source: Prompt, target: Prompt) -> tuple[list[tuple[int, int, float]], Tensor]:
    """Entries of tokens that both prompts hold, and which target tokens have one."""
    before = [i for _, at in source.words for i in at]
    after = [j for _, at in target.words for j in at]
    common = longest_common([source.tokens[i] for i in before], [target.tokens[j] for j in after])
    found = torch.ones(len(target.tokens))
    found[after] = 0
    pairs = [(before[i], after[j], 1.0) for i, j in common]
    found[[j for _, j, _ in pairs]] = 1
    return pairs, found


def longest_common(before: Sequence[int], after: Sequence[int]) -> list[tuple[int, int]]:
    """Index pairs of the longest sequence that both hold in order (Needleman-Wunsch with gaps for
    nothing); the last one of several equally long.
    """
    best = [[0] * (len(after) + 1) for _ in range(len(before) + 1)]
    for i, a in enumerate(before, 1):
        for j, b in enumerate(after, 1):
            either = max(best[i - 1][j], best[i][j - 1])
            best[i][j] = max(either, best[i - 1][j - 1] + 1) if a == b else either
    i, j, pairs = len(before), len(after), list[tuple[int, int]]()
    while i and j:
        if best[i][j] == best[i][j - 1]:
            j -= 1
        elif best[i][j] == best[i - 1][j]:
            i -= 1
        else:
            i, j = i - 1, j - 1
            pairs.append((i, j))
    return pairs[::-1]
