"""A reference tokenizer without a vocabulary: words become numbers by a hash."""

from __future__ import annotations

import hashlib
import re

import numpy

PIECE = re.compile(r"\w+|[^\w\s]")


class HashTokenizer:
    """Words and punctuation marks, in lower case, each the number that its hash gives.

    Token ids are 1 to `vocabulary - 1`; 0 fills the rows up. The hash is the first 8 bytes of BLAKE2b of the word in UTF-8, read
    as a little-endian number, modulo `vocabulary - 1`, plus 1: the same on every machine and in every version of Python.
    Two words may share a number; with 2**15 numbers few of the words of one text do.

    A model that was trained with another tokenizer needs that one: give `load` any callable
    `tokenizer(list[str]) -> (ids, mask)` with two int64 arrays of shape [texts, tokens].
    """

    name = "hash-blake2b-1"

    def __init__(self, vocabulary: int = 2**15, tokens_max: int = 256):
        if vocabulary < 2:
            raise ValueError(f"vocabulary is {vocabulary}, expected 2 or more")
        if tokens_max < 1:
            raise ValueError(f"tokens_max is {tokens_max}, expected 1 or more")
        self.vocabulary = vocabulary
        self.tokens_max = tokens_max

    def ids(self, text: str) -> list[int]:
        """The numbers of a text; at least one, at most `tokens_max`. What comes later is cut off."""
        words = PIECE.findall(text.lower())[: self.tokens_max] or [text]
        return [self._id(word) for word in words]

    def _id(self, word: str) -> int:
        digest = hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return int.from_bytes(digest, "little") % (self.vocabulary - 1) + 1

    def __call__(self, texts: list[str]) -> tuple[numpy.ndarray, numpy.ndarray]:
        rows = [self.ids(text) for text in texts]
        width = max(map(len, rows), default=1)
        ids = numpy.zeros((len(rows), width), dtype=numpy.int64)
        mask = numpy.zeros((len(rows), width), dtype=numpy.int64)
        for row, tokens in enumerate(rows):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        return ids, mask
