"""What a file of weights says about itself."""

from __future__ import annotations

import hashlib
import pathlib
import re


def of_file(path: pathlib.Path, tokenizer: object) -> tuple[str, str]:
    """Name and hash of a model: the file's name, and the SHA-256 of the file and the tokenizer's name and settings."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    settings = sorted((key, value) for key, value in vars(tokenizer).items() if isinstance(value, (int, str)))
    name = getattr(tokenizer, "name", type(tokenizer).__qualname__)
    digest.update(repr((name, settings)).encode())
    return re.sub(r"[\s\x00-\x1f\x7f]+", "-", path.stem), digest.hexdigest()


def existing(path: str) -> pathlib.Path:
    """The path of a file that is there."""
    file = pathlib.Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"there is no file {path!r} (in {pathlib.Path.cwd()})")
    return file
