"""The small model's tokenizer: T5's class, with pieces that are chosen, not trained."""

from __future__ import annotations

from itertools import product
from string import ascii_letters, ascii_lowercase, digits, punctuation

import transformers

from inference.prompt_embeddings import MAX_TEXT_TOKENS
from training.captions import words
from training.vocabulary import OTHER_WORDS, TRIPLES

_SENTINELS = 100  # T5's <extra_id_n>


def new_tokenizer() -> transformers.T5Tokenizer:
    """Make the tokenizer. Each word of a caption is one token, capitalised or not; no text has unknown ones."""
    known = {f"▁{cased}" for word in (*words(), *OTHER_WORDS) for cased in (word, word.capitalize())}
    letters = {*ascii_letters, *digits, *punctuation, "▁"}
    pairs = {"".join(pair) for pair in product(ascii_lowercase, repeat=2)}
    pairs |= {f"▁{letter}" for letter in ascii_letters}
    # Log-probabilities: of all spellings the one of the fewest pieces wins.
    pieces = {
        **dict.fromkeys(sorted(letters), -10.0),
        **dict.fromkeys(sorted(pairs), -11.0),
        **dict.fromkeys(sorted(set(TRIPLES)), -12.0),
        **dict.fromkeys(sorted(known), -8.0),
    }
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    sentinels = [(f"<extra_id_{number}>", 0.0) for number in reversed(range(_SENTINELS))]
    return transformers.T5Tokenizer(
        vocab=[*special, *pieces.items(), *sentinels], extra_ids=_SENTINELS, model_max_length=MAX_TEXT_TOKENS
    )
