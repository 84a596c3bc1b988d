"""T5 embeddings of prompts, computed once a text."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch

from inference.offloading import Residence
from inference.pipeline import Pipeline

MAX_TEXT_TOKENS = 226
"""How many tokens CogVideoX reads, the end mark included. Another length changes the video: it is pinned."""


@dataclass(frozen=True, slots=True)
class PromptEmbedding:
    """A text as the transformer reads it.

    `hidden_states` has shape (1, MAX_TEXT_TOKENS, T5 width) and lies in CPU memory; `tokens` counts those of
    the whole text with its end mark; `cut` is the end of the text that did not fit, empty where all did.
    """

    hidden_states: torch.Tensor
    tokens: int
    cut: str

    @property
    def size_bytes(self) -> int:
        """Memory that the hidden states take."""
        return self.hidden_states.nbytes


class PromptEmbeddings:
    """The embeddings of the texts used last, within a bound in bytes; the least recently used goes first.

    Not safe for several threads at once: it belongs to the thread that owns the device.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        residence: Residence,
        *,
        capacity_bytes: int = 128 * 2**20,  # of CogVideoX-5B 72 texts: 226 tokens, 4096 wide, in bf16
    ) -> None:
        self._pipeline = pipeline
        self._residence = residence
        self._capacity_bytes = capacity_bytes
        self._size_bytes = 0
        self._by_text: OrderedDict[str, PromptEmbedding] = OrderedDict()

    def embed(self, text: str) -> PromptEmbedding:
        """Return the embedding of `text`, which may be empty."""
        embedding = self._by_text.get(text)
        if embedding is None:
            embedding = self._compute(text)
            self._by_text[text] = embedding
            self._size_bytes += embedding.size_bytes
            while self._size_bytes > self._capacity_bytes:
                _, oldest = self._by_text.popitem(last=False)
                self._size_bytes -= oldest.size_bytes
        else:
            self._by_text.move_to_end(text)
        return embedding

    @torch.no_grad()
    def _compute(self, text: str) -> PromptEmbedding:
        with self._residence.of(self._pipeline.text_encoder):
            hidden_states, _ = self._pipeline.encode_prompt(
                text,
                do_classifier_free_guidance=False,
                max_sequence_length=MAX_TEXT_TOKENS,
                device=self._residence.device,
            )
        ids = self._pipeline.tokenizer(text).input_ids
        # What is cut lies between the last token kept and the end mark, which is always kept.
        cut = ids[MAX_TEXT_TOKENS - 1 : -1] if len(ids) > MAX_TEXT_TOKENS else []
        return PromptEmbedding(
            hidden_states=hidden_states.cpu(),
            tokens=len(ids),
            cut=self._pipeline.tokenizer.decode(cut) if cut else "",
        )
