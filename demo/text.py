"""The demo model's text encoder: words of captions, embedded with the host's own classes.

It sees the order of the words, as a caption of two things needs: "a red circle and a blue square"
and "a blue circle and a red square" hold the same words.
"""

import re
from collections.abc import Callable

import torch
from comfy import ops, sd1_clip
from comfy.ldm.modules.attention import BasicTransformerBlock
from torch import Tensor, nn

from .world import COLOURS, GROUNDS, SHAPES, SIZES

WORDS = ("", "a", "and", "on", *filter(None, SIZES), *COLOURS, *SHAPES, *GROUNDS)  # "" pads
TOKENS = 12  # one more than the longest caption has
WIDTH, HEADS, LAYERS = 64, 2, 2


def word_tokens(text: str) -> list[int]:
    """Tokens of the known words, in order, unpadded."""
    return [WORDS.index(word) for word in words_of(text) if word in WORDS]


def words_of(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


class WordTokenizer:
    """`warn` is told the words that are left out of a text."""

    def __init__(self, warn: Callable[[str], None], embedding_directory=None, tokenizer_data=None):
        del embedding_directory, tokenizer_data
        self.warn = warn

    def tokenize_with_weights(self, text: str, return_word_ids: bool = False, **kwargs) -> dict:
        """The host's `(word:1.2)` weights; sections of TOKENS tokens, the last one padded."""
        unknown = ", ".join(sorted(set(words_of(text)) - set(WORDS)))
        if unknown:
            known = ", ".join(WORDS[1:])
            self.warn(f"The demo model ignores words it does not know: {unknown}. Use {known}.")
        weighted = [
            (token, weight)
            for segment, weight in sd1_clip.token_weights(sd1_clip.escape_important(text), 1.0)
            for token in word_tokens(sd1_clip.unescape_important(segment))
        ]
        weighted += [(0, 1.0)] * (-len(weighted) % TOKENS or (0 if weighted else TOKENS))
        if return_word_ids:
            weighted = [
                (token, weight, i + 1 if token else 0) for i, (token, weight) in enumerate(weighted)
            ]
        return {"demo": [weighted[i : i + TOKENS] for i in range(0, len(weighted), TOKENS)]}

    def untokenize(self, tokens: list) -> list:
        return [(token, WORDS[token[0]]) for token in tokens]

    def state_dict(self) -> dict:
        return {}


class WordEncoder(nn.Module, sd1_clip.ClipTokenWeightEncoder):
    """Embeddings of words and positions, then transformer blocks that see the padding too."""

    special_tokens = {"pad": 0}

    def __init__(self, device=None, dtype=None, model_options=None):
        super().__init__()
        made = {"device": device, "dtype": dtype}
        self.words = ops.manual_cast.Embedding(len(WORDS), WIDTH, **made)
        self.positions = ops.manual_cast.Embedding(TOKENS, WIDTH, **made)
        self.blocks = nn.ModuleList(
            BasicTransformerBlock(WIDTH, HEADS, WIDTH // HEADS, operations=ops.manual_cast, **made)
            for _ in range(LAYERS)
        )
        self.norm = ops.manual_cast.LayerNorm(WIDTH, **made)
        self.dtypes = {dtype}
        self.requires_grad_(False)

    def set_clip_options(self, options: dict) -> None:
        """Neither layers nor projections to choose from."""

    def reset_clip_options(self) -> None:
        """As `set_clip_options`."""

    def encode(self, tokens: list[list[int]]) -> tuple[Tensor, Tensor]:
        words = torch.tensor(tokens, device=self.words.weight.device)
        places = torch.arange(words.shape[1], device=words.device)
        x = self.words(words, out_dtype=torch.float32)
        x = x + self.positions(places, out_dtype=torch.float32)
        for block in self.blocks:
            x = block(x)
        z = self.norm(x)
        return z, z.mean(1)

    def encode_token_weights(self, token_weight_pairs: dict) -> tuple:
        return super().encode_token_weights(token_weight_pairs["demo"])

    def load_sd(self, state_dict: dict):
        return self.load_state_dict(state_dict, strict=False)
