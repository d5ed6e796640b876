"""Models saved with `torch.jit.save`.

The module's `forward(ids, mask)` takes two int64 tensors of shape [texts, tokens], the numbers of the tokens and 1 for a token or 0
for filling, and returns float32 of shape [texts, dimensions], such as 768: one vector a text, as it is to be stored.
"""

from __future__ import annotations

import numpy
import torch

from . import identity, tokens


class TorchScriptEmbedder:
    """A TorchScript module with a tokenizer, as an embedder."""

    def __init__(self, path: str, tokenizer=None):
        file = identity.existing(path)
        self.tokenizer = tokenizer or tokens.HashTokenizer()
        self.model_name, self.model_hash = identity.of_file(file, self.tokenizer)
        self.module = torch.jit.load(str(file), map_location="cpu").eval()

    def __call__(self, texts: list[str]) -> numpy.ndarray:
        ids, mask = self.tokenizer(texts)
        with torch.inference_mode():
            rows = self.module(torch.from_numpy(ids), torch.from_numpy(mask))
            # No copy where it is contiguous already: the array shares the tensor's memory. DVSE copies it, once, as a module may
            # keep what it returned.
            return rows.contiguous().numpy()


def load(path: str, tokenizer=None) -> TorchScriptEmbedder:
    """Loads a module; without a tokenizer it gets the reference, `HashTokenizer()`."""
    return TorchScriptEmbedder(path, tokenizer)
