"""Words of a prompt, and which tokens of its embedding are theirs."""

from comfy import sd1_clip
from torch import Tensor

from ...inversion.alignment import Prompt

# Which tokenizers' embeddings a network sees one after another, by the length that they have.
_ORDERS = (("l", "t5xxl"), ("l",), ("t5xxl",))


def encode(clip, text: str, name: str) -> tuple[list, list[Prompt]]:
    """The CONDITIONING of a text, and the text once for each tokenizer whose embeddings the network
    sees; ValueError, with the input's `name`, where its words cannot be told apart.
    """
    if clip is None:
        raise ValueError(
            "clip is None: connect the CLIP of a checkpoint, of DualCLIPLoader or of Load Demo "
            "Model."
        )
    if not isinstance(text, str):
        raise ValueError(f"{name} holds a {type(text).__name__}: write the prompt as text.")
    conditioning = clip.encode_from_tokens_scheduled(clip.tokenize(text))
    length = _embedding(conditioning, name).shape[1]
    prompts = prompts_by_tokenizer(clip, text)
    orders = [order for order in _ORDERS if all(key in prompts for key in order)]
    for order in orders or [tuple(prompts)[:1]]:
        parts = [prompts[key] for key in order]
        if sum(len(part.tokens) for part in parts if part) == length and all(parts):
            return conditioning, [part for part in parts if part]
    raise ValueError(
        f"The words of {name} are not found among this CLIP's tokens ({', '.join(prompts)}): "
        "connect the CLIP of Stable Diffusion 1, 2, XL, 3 or of Flux, and write plain words with "
        "blanks between."
    )


def prompts_by_tokenizer(clip, text: str) -> dict[str, Prompt | None]:
    """The text as each of a CLIP's tokenizers sees it; None where its words do not add up to its
    tokens.
    """
    tokens = clip.tokenize(text, return_word_ids=True)
    return {key: _prompt(clip, key, sections, text) for key, sections in tokens.items()}


def _embedding(conditioning: list, name: str) -> Tensor:
    if len(conditioning) != 1:
        raise ValueError(
            f"This CLIP gives {len(conditioning)} embeddings for {name}, as hooks with keyframes "
            "make it do, but attention control needs one: connect the CLIP without hooks."
        )
    return conditioning[0][0]


def _prompt(clip, key: str, sections: list, text: str) -> Prompt | None:
    flat = [entry for section in sections for entry in section]
    tokens = tuple(
        # An embedding from a file has no number; it is the same as no other.
        token if isinstance(token, int) else -id(token)
        for token, *_ in flat
    )
    of_words = [i for i, (_, _, word) in enumerate(flat) if word]
    for words in (_plain(text).split(), text.split()):
        counts = [_count(clip, key, word) for word in words]
        if sum(counts) == len(of_words):
            found, first = [], 0
            for word, count in zip(words, counts, strict=True):
                if count:
                    found.append((word, tuple(of_words[first : first + count])))
                first += count
            return Prompt(tokens, tuple(found))
    return None


def _plain(text: str) -> str:
    """The text without the host's weights, `(word:1.2)`."""
    weighted = sd1_clip.token_weights(sd1_clip.escape_important(text), 1.0)
    return "".join(sd1_clip.unescape_important(segment) for segment, _ in weighted)


def _count(clip, key: str, word: str) -> int:
    sections = clip.tokenize(word, return_word_ids=True)[key]
    return sum(1 for section in sections for _, _, number in section if number)
