"""Adapters: each has a `load(path)` that returns an embedder.

An embedder is what `dvse ingest --embedder python:MODULE:CALLABLE` takes: a callable `embed(list[str])` that returns a
`numpy.ndarray` of float32, C-contiguous, with one row a text. Attributes `model_name`, `model_revision` and `model_hash`
say which model it is.
"""
