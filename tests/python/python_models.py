"""`dvse ingest` with real models in Python, some records being poison for them.

    VIRTUAL_ENV=… DVSE_BIN=… python tests/python/python_models.py

The binary must be built with the feature `python` for the Python of VIRTUAL_ENV.
"""

from __future__ import annotations

import collections
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy
from rest import Rest
from server import BINARY, ROOT, Server

sys.path[:0] = [str(ROOT / "python"), str(ROOT / "python" / "tests")]
import make_models  # noqa: E402
from dvse.adapters.tokens import HashTokenizer  # noqa: E402

DIM = 8
# What it does with a text is in the text.
MODEL = """
import numpy

model_name = "letters"
model_revision = "1"

def embed(texts):
    rows = numpy.zeros((len(texts), 8), dtype="float32")
    for row, text in enumerate(texts):
        for letter in text:
            rows[row, ord(letter) % 8] += 1
        if "raise" in text:
            raise ValueError(f"cannot read {text!r}")
        if "nan" in text:
            rows[row, 3] = numpy.nan
        while "hang" in text:
            pass
    if any("short" in text for text in texts):
        return rows[:-1]
    if any("double" in text for text in texts):
        return rows.astype("float64")
    if len(texts) > 40:
        raise MemoryError("too many at once")
    return rows
"""

POISON = {
    "raise": "the model raised ValueError: cannot read",
    "nan": "it got a vector with NaN in column 3",
    "hang": "the model did not return within 2s",
    "short": "the model returned 0 rows for 1 texts",
    "double": 'an array of float64, expected float32: convert it with .astype("float32")',
    " ": "it is empty or only white space",
}


def letters(text: str) -> numpy.ndarray:
    row = numpy.zeros(DIM, dtype=numpy.float32)
    for letter in text:
        row[ord(letter) % DIM] += 1
    return row / numpy.linalg.norm(row)


class Place:
    """A folder with a log, the models, and a server."""

    def __init__(self, folder: pathlib.Path, server: Server):
        self.folder = folder
        self.server = server
        self.rest = Rest(server.port)

    def dvse(self, *arguments: str, said: str = "", reading: str = "") -> subprocess.CompletedProcess:
        environment = os.environ | {"DVSE_URL": self.server.url, "PYTHONPATH": str(ROOT / "python")}
        ran = subprocess.run(
            [str(BINARY), *arguments], cwd=self.folder, env=environment, input=reading, capture_output=True, text=True, timeout=300
        )
        assert said in ran.stdout + ran.stderr, f"no {said!r} in:\n{ran.stdout}{ran.stderr}"
        assert (ran.returncode == 0) is not ran.stderr.startswith("error: "), ran
        return ran

    def restart(self, **more) -> None:
        self.server.stop()
        self.server.start(**more)
        self.rest = Rest(self.server.port)

    def produce(self, log: str, texts: list[str]) -> None:
        records = [
            {"source_id": str(number), "timestamp": 1_700_000_000_000, "id": number, "payload": {"text": text}, "text": text}
            for number, text in enumerate(texts)
        ]
        lines = "".join(json.dumps(record) + "\n" for record in records)
        self.dvse("produce", "--quiet", "--to", f"file:{log}", "--file", "-", "--partitions", "2", reading=lines)

    def ingest(self, log: str, collection: str, embedder: str, said: str, *more: str) -> subprocess.CompletedProcess:
        return self.dvse(
            *("ingest", "--quiet", "--until-empty", "--from", f"file:{log}", "--collection", collection),
            *("--embedder", embedder, *more),
            said=said,
        )

    def vectors(self, collection: str) -> dict[int, numpy.ndarray]:
        body = {"limit": 10_000, "with_vector": True, "with_payload": False}
        points = self.rest.call("POST", f"/collections/{collection}/points/scroll", body)["points"]
        return {point["id"]: numpy.array(point["vector"], dtype=numpy.float32) for point in points}


def poison_becomes_letters(place: Place) -> str:
    (place.folder / "letters.py").write_text(MODEL)
    texts = [f"plain words number {number}" for number in range(300)]
    # A text that hangs takes the model's time for each half it is in: one is enough.
    poison = {7: "raise", 8: "raise", 120: "nan", 121: " ", 180: "hang", 240: "short", 299: "double"}
    for index, kind in poison.items():
        texts[index] = f"this will {kind} for {index}" if kind.strip() else kind
    place.produce("log", texts)
    # The whole of a batch fails for its size as well, so that halving is what finds the vectors.
    place.ingest("log", "letters", "python:letters:embed", "300 records: 293 changes", "--model-timeout", "2", "--model-batch", "64")
    found = place.vectors("letters")
    assert set(found) == set(range(300)) - set(poison), set(range(300)) - set(poison) ^ set(found)
    for number, vector in found.items():
        numpy.testing.assert_allclose(vector, letters(texts[number]), rtol=1e-5)
    listed = place.dvse("dead-letters", "list", "--from", "file:log", "--format", "jsonl")
    reasons = {json.loads(letter["record"])["id"]: letter["reason"] for letter in map(json.loads, listed.stdout.splitlines())}
    assert set(reasons) == set(poison), reasons
    for index, kind in poison.items():
        assert POISON[kind] in reasons[index], reasons[index]
    return f"{len(found)} points, {len(reasons)} letters"


def questions_go_through_the_model(place: Place) -> str:
    """A server that has the model embeds questions with it; one that has not says which it has."""
    asked = "plain words number 33"
    refused = place.dvse("query", asked, "--collection", "letters", said="are of model \"letters@1#")
    assert refused.returncode == 1, refused
    arguments = ["--embedder", "python:letters:embed", "--model-timeout", "2"]
    place.restart(arguments=arguments, environment={"PYTHONPATH": str(place.folder)})
    try:
        texts = [asked, "plain words number 292", "numb"]
        found = place.vectors("letters")
        for text in texts:
            shown = place.dvse("query", text, "--collection", "letters", "--limit", "3", "--exact", "--format", "jsonl")
            scores = [json.loads(line)["score"] for line in shown.stdout.splitlines()]
            best = sorted((float(vector @ letters(text)) for vector in found.values()), reverse=True)[:3]
            numpy.testing.assert_allclose(scores, best, rtol=1e-4)
        # A model that hangs ends its own question, and the next one is answered.
        late = place.dvse("query", "hang", "--collection", "letters", said="did not return within 2s")
        assert late.returncode == 1
        place.dvse("query", asked, "--collection", "letters", said="plain words")
    finally:
        place.restart()
    return f"{len(texts)} questions"


def records_come_through_the_model_of_the_server(place: Place) -> str:
    """One model for the records of a pipeline inside the server and for questions."""
    log = f"file:{place.folder / 'inside'}"
    arguments = ["--ingest", log, "--collection", "inside", "--embedder", "python:letters:embed", "--model-timeout", "2"]
    texts = [f"plain words number {number}" for number in range(120)]
    texts[30], texts[31] = "this will raise", "this will hang"
    place.produce(str(place.folder / "inside"), texts)
    place.restart(arguments=arguments, environment={"PYTHONPATH": str(place.folder)})
    try:
        place.dvse("ingest", "drain", "--timeout", "120", said="drained")
        found = place.vectors("inside")
        assert set(found) == set(range(120)) - {30, 31}, set(range(120)) ^ set(found)
        for number, vector in found.items():
            numpy.testing.assert_allclose(vector, letters(texts[number]), rtol=1e-5)
        status = json.loads(place.dvse("ingest", "status", "--format", "jsonl").stdout)
        assert (status["model"].split("#")[0], status["dead_letters"]) == ("letters@1", 2), status
        place.dvse("query", "plain words number 33", "--collection", "inside", said="plain words")
    finally:
        place.restart()
    return f"{len(found)} points"


def models_are_kept_apart(place: Place) -> str:
    """A collection knows its model; another one, or a changed one, is refused."""
    kept = place.rest.call("GET", "/collections/letters")["models"][""]
    assert kept.startswith("letters@1#") and len(kept) == len("letters@1#") + 64, kept
    source = place.folder / "letters.py"
    source.write_text(MODEL + "# another version\n")
    refused = place.ingest("log", "letters", "python:letters:embed", f"are of model {kept}, not of letters@1#")
    assert refused.returncode == 1
    assert place.ingest("log", "letters", "static", f"are of model {kept}, not of wordllama").returncode == 1
    source.write_text(MODEL)
    place.ingest("log", "letters", "python:letters:embed", "0 records")
    # What is gone as a whole stops at the start.
    for embedder, says in (
        ("python:nowhere:embed", "there is no Python module nowhere"),
        ("python:letters:encode", "has no encode"),
        ("onnx:nowhere.onnx", "there is no file 'nowhere.onnx'"),
    ):
        assert place.ingest("log", "new", embedder, says).returncode == 1
    names = [entry["name"] for entry in place.rest.call("GET", "/collections")["collections"]]
    assert sorted(names) == ["inside", "letters"], names
    return "3 other models refused"


def a_model_that_breaks_is_waited_for(place: Place) -> str:
    """While it fails for plain texts, too, no record is given up; when it is well again, all go in."""
    (place.folder / "sick.py").write_text(
        "import pathlib\nimport letters\ncalls = 0\n"
        "def embed(texts):\n    global calls\n    calls += 1\n"
        "    if 1 < calls < 9:\n        raise RuntimeError('out of memory')\n    return letters.embed(texts)\n"
    )
    place.produce("sick-log", [f"words {number}" for number in range(20)])
    place.ingest("sick-log", "sick", "python:sick:embed", "20 records: 20 changes in")
    listed = place.dvse("dead-letters", "list", "--from", "file:sick-log", "--format", "jsonl")
    assert listed.stdout == "", listed.stdout
    return "20 of 20 records"


def adapters(place: Place) -> str:
    made = collections.Counter()
    texts = [f"a boat, a stone and glass: {number}" * (1 + number % 5) for number in range(100)]
    rows = make_models.expected(*HashTokenizer()(texts))
    rows /= numpy.linalg.norm(rows, axis=1, keepdims=True)
    for make, file, kind in ((make_models.torchscript, "model.pt", "torchscript"), (make_models.onnx, "model.onnx", "onnx")):
        try:
            make(place.folder / file)
        except ImportError as error:
            print(f"{kind} is left out: {error}")
            continue
        place.produce(f"{kind}-log", texts)
        place.ingest(f"{kind}-log", kind, f"{kind}:{file}", "100 records: 100 changes")
        found = place.vectors(kind)
        numpy.testing.assert_allclose(numpy.array([found[index] for index in range(100)]), rows, rtol=1e-3, atol=1e-5)
        info = place.rest.call("GET", f"/collections/{kind}")
        assert info["config"]["params"]["vectors"]["size"] == 768 and info["models"][""].startswith("model@"), info
        made[kind] += len(found)
    assert made, "neither torch nor ONNX is there"
    return ", ".join(f"{count} points by {kind}" for kind, count in made.items())


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="dvse-models-") as name:
        folder = pathlib.Path(name)
        with Server(folder) as server:
            server.start()
            place = Place(folder, server)
            tests = (
                poison_becomes_letters,
                questions_go_through_the_model,
                records_come_through_the_model_of_the_server,
                models_are_kept_apart,
                a_model_that_breaks_is_waited_for,
                adapters,
            )
            for test in tests:
                print(f"{test.__name__}: {test(place)}", flush=True)
            assert server.stop() == 0, server.log_text()
    print("6 passed, 0 failed")


if __name__ == "__main__":
    main()
