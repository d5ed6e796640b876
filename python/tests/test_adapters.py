"""The adapters with real frameworks; each is left out where its framework is not installed."""

from __future__ import annotations

import numpy
import pytest

import make_models
from dvse.adapters.tokens import HashTokenizer

# Computed apart: BLAKE2b with 8 bytes, little-endian, modulo 32767, plus 1.
FIXED = {"boat": 28028, "été": 17046}
TEXTS = ["a boat on the river", "Stone!", "glass " * 400, "été 東京 🙂", "x"]


def test_the_reference_tokenizer_is_fixed():
    tokenizer = HashTokenizer()
    ids, mask = tokenizer(["A boat, a BOAT", "🙂 "])
    assert ids.dtype == mask.dtype == numpy.int64
    assert ids.shape == mask.shape == (2, 5)
    assert mask.tolist() == [[1] * 5, [1, 0, 0, 0, 0]]
    assert ids[0, 0] == ids[0, 3] and ids[0, 1] == ids[0, 4]
    assert tokenizer.ids("boat") == [FIXED["boat"]] and tokenizer.ids("été") == [FIXED["été"]]
    assert len(tokenizer.ids("glass " * 400)) == 256
    assert tokenizer.ids(" ") == tokenizer.ids(" ") and len(tokenizer.ids("")) == 1



@pytest.mark.parametrize("settings", [{"vocabulary": 1}, {"tokens_max": 0}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        HashTokenizer(**settings)


def check(module, file):
    model = module.load(str(file))
    rows = model(TEXTS)
    assert rows.dtype == numpy.float32 and rows.shape == (5, 768) and rows.flags.c_contiguous
    numpy.testing.assert_allclose(rows, make_models.expected(*HashTokenizer()(TEXTS)), rtol=1e-4, atol=1e-5)
    # A text's vector does not depend on what is embedded with it.
    numpy.testing.assert_allclose(model(["Stone!"])[0], rows[1], rtol=1e-4, atol=1e-5)
    assert model.model_name == "model" and len(model.model_hash) == 64
    assert model.model_hash != module.load(str(file), HashTokenizer(vocabulary=100)).model_hash
    with pytest.raises(FileNotFoundError, match="nowhere"):
        module.load("nowhere.file")


def test_torchscript(tmp_path):
    pytest.importorskip("torch")
    from dvse.adapters import torchscript

    make_models.torchscript(tmp_path / "model.pt")
    check(torchscript, tmp_path / "model.pt")


def test_onnx(tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    from dvse.adapters import onnx

    make_models.onnx(tmp_path / "model.onnx")
    check(onnx, tmp_path / "model.onnx")
    # Memory that nobody else has goes to the log without a copy.
    rows = onnx.load(str(tmp_path / "model.onnx"))(TEXTS)
    assert rows.flags.owndata and rows.base is None


def test_an_onnx_model_with_other_inputs_is_refused(tmp_path):
    pytest.importorskip("onnxruntime")
    helper = pytest.importorskip("onnx.helper")
    import onnx as onnx_package

    from dvse.adapters import onnx

    value = helper.make_tensor_value_info("pixels", onnx_package.TensorProto.FLOAT, ["texts", 2])
    output = helper.make_tensor_value_info("vectors", onnx_package.TensorProto.FLOAT, ["texts", 2])
    graph = helper.make_graph([helper.make_node("Identity", ["pixels"], ["vectors"])], "same", [value], [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx_package.save(model, str(tmp_path / "image.onnx"))
    with pytest.raises(ValueError, match="pixels.*expected input_ids"):
        onnx.load(str(tmp_path / "image.onnx"))
