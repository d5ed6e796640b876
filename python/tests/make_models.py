"""Makes the same small model, text to 768 numbers, as TorchScript and as ONNX, with a fixed seed.

    python python/tests/make_models.py FOLDER

It is a table of 32 768 rows and a mean over the tokens, then a matrix: what many sentence models end with. What cannot be made, because
torch or onnx is not there, is left out and said.
"""

from __future__ import annotations

import pathlib
import sys

import numpy

VOCABULARY, WIDTH, DIM = 2**15, 64, 768


def weights() -> tuple[numpy.ndarray, numpy.ndarray]:
    random = numpy.random.default_rng(20260731)
    table = random.standard_normal((VOCABULARY, WIDTH), dtype=numpy.float32)
    matrix = random.standard_normal((WIDTH, DIM), dtype=numpy.float32) / numpy.float32(WIDTH**0.5)
    return table, matrix


def expected(ids: numpy.ndarray, mask: numpy.ndarray) -> numpy.ndarray:
    """What both models compute, in NumPy."""
    table, matrix = weights()
    kept = mask[:, :, None].astype(numpy.float32)
    return (table[ids] * kept).sum(axis=1) / kept.sum(axis=1) @ matrix


def torchscript(path: pathlib.Path) -> None:
    import torch

    class Mean(torch.nn.Module):
        def __init__(self, table, matrix):
            super().__init__()
            self.table = torch.nn.Parameter(table, requires_grad=False)
            self.matrix = torch.nn.Parameter(matrix, requires_grad=False)

        def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            kept = mask.unsqueeze(2).to(torch.float32)
            mean = (torch.nn.functional.embedding(ids, self.table) * kept).sum(1) / kept.sum(1)
            return torch.matmul(mean, self.matrix)

    table, matrix = weights()
    torch.jit.save(torch.jit.script(Mean(torch.from_numpy(table), torch.from_numpy(matrix))), str(path))


def onnx(path: pathlib.Path) -> None:
    from onnx import TensorProto, checker, helper, numpy_helper, save

    table, matrix = weights()
    constants = [
        numpy_helper.from_array(table, "table"),
        numpy_helper.from_array(matrix, "matrix"),
        numpy_helper.from_array(numpy.array([2], dtype=numpy.int64), "last"),
        numpy_helper.from_array(numpy.array([1], dtype=numpy.int64), "tokens"),
    ]
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        helper.make_node("Cast", ["attention_mask"], ["flat"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["flat", "last"], ["kept"]),
        helper.make_node("Mul", ["rows", "kept"], ["masked"]),
        helper.make_node("ReduceSum", ["masked", "tokens"], ["sum"], keepdims=0),
        helper.make_node("ReduceSum", ["kept", "tokens"], ["count"], keepdims=0),
        helper.make_node("Div", ["sum", "count"], ["mean"]),
        helper.make_node("MatMul", ["mean", "matrix"], ["vectors"]),
    ]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["texts", "tokens_of_text"])
        for name in ("input_ids", "attention_mask")
    ]
    outputs = [helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["texts", DIM])]
    graph = helper.make_graph(nodes, "mean", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    checker.check_model(model)
    save(model, str(path))


def main() -> None:
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for make, name in ((torchscript, "model.pt"), (onnx, "model.onnx")):
        try:
            make(folder / name)
        except ImportError as error:
            print(f"{name} is left out: {error}")
        else:
            print(f"{name} made")


if __name__ == "__main__":
    main()
