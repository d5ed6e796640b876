"""Models in ONNX, run by ONNX Runtime on the processor.

The model takes int64 tensors of shape [texts, tokens], named `input_ids` and, if it has one, `attention_mask` (1 for a token, 0 for
filling). Its first output is float32 of shape [texts, dimensions]: one vector a text, as it is to be stored.
"""

from __future__ import annotations

import numpy
import onnxruntime

from . import identity, tokens

INPUTS = ("input_ids", "attention_mask")


class OnnxEmbedder:
    """An ONNX model with a tokenizer, as an embedder."""

    def __init__(self, path: str, tokenizer=None, threads: int = 0):
        """`threads` is how many ONNX Runtime uses; 0 leaves that to it."""
        file = identity.existing(path)
        self.tokenizer = tokenizer or tokens.HashTokenizer()
        self.model_name, self.model_hash = identity.of_file(file, self.tokenizer)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        self.inputs = [given.name for given in self.session.get_inputs()]
        unknown = [name for name in self.inputs if name not in INPUTS]
        if "input_ids" not in self.inputs or unknown:
            raise ValueError(f"the model's inputs are {self.inputs}, expected input_ids and, at most, attention_mask")
        output = self.session.get_outputs()[0]
        self.output = output.name
        # Its dimensions, if every result has as many and they are of float32.
        self.dim = None
        if output.type == "tensor(float)" and len(output.shape) == 2 and isinstance(output.shape[1], int):
            self.dim = output.shape[1]

    def __call__(self, texts: list[str]) -> numpy.ndarray:
        given = dict(zip(INPUTS, self.tokenizer(texts)))
        if self.dim is None:
            return self.session.run([self.output], {name: given[name] for name in self.inputs})[0]
        # Into memory of NumPy's, which nobody has but who gets the result: DVSE does not copy that.
        rows = numpy.empty((len(texts), self.dim), numpy.float32)
        binding = self.session.io_binding()
        for name in self.inputs:
            binding.bind_cpu_input(name, given[name])
        binding.bind_output(self.output, "cpu", 0, numpy.float32, rows.shape, rows.ctypes.data)
        self.session.run_with_iobinding(binding)
        return rows


def load(path: str, tokenizer=None) -> OnnxEmbedder:
    """Loads a model; without a tokenizer it gets the reference, `HashTokenizer()`."""
    return OnnxEmbedder(path, tokenizer)
