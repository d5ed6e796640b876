"""Records that nothing can be made of, between good ones, through a real `dvse produce`, log, `dvse ingest` and `dvse serve`: each is one
dead letter that names what is wrong, its neighbours of the same batch go in, and the next records, too.

    python tests/python/bad_records.py
    DVSE_PULSAR_JARS=$(.ci/pulsar-jars) python tests/python/bad_records.py --source pulsar
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import pathlib
import subprocess
import tempfile

import logs
from broker import Broker
from loaded import resident_bytes
from rest import Rest
from server import BINARY, Server

DIM = 256
GOOD = {"source_id": "g", "timestamp": 1_700_000_000_000, "payload": {"n": 1}, "text": "a boat on the river"}
MIB = 1 << 20


def changed(**fields) -> bytes:
    """A good record with other fields; `None` takes one away."""
    record = {name: value for name, value in (GOOD | fields).items() if value is not None}
    return json.dumps(record).encode()


def raw(field: str) -> bytes:
    """A good record with a field as it is written here."""
    return changed(vector=None, text=None)[:-1] + b", " + field.encode() + b"}"


def nested(levels: int) -> str:
    return "[" * levels + "1" + "]" * levels


# A record, the code of its letter, and what its reason says: which field, what stands there, what is to be done.
BAD: list[tuple[bytes, str, list[str]]] = [
    (b"not json", "not_an_event", ["expected ident", '"not json"', "send one JSON object"]),
    (b'{"source_id": "cut', "not_an_event", ["EOF", "cut"]),
    (b"[1, 2]", "not_an_event", ["expected an object"]),
    (b'"text"', "not_an_event", ["expected an object"]),
    (b'{"source_id": "\xff\xfe"}', "not_utf8", ["byte 15", "UTF-8"]),
    (changed(source_id=None), "invalid_field", ["`source_id` is missing", "name the record"]),
    (changed(source_id=5), "invalid_field", ["`source_id`", "integer `5`", "expected a string"]),
    (changed(source_id=""), "invalid_field", ["`source_id` has 0 bytes", "1 to 1024"]),
    (changed(source_id="x" * 2000), "invalid_field", ["`source_id` has 2000 bytes"]),
    (changed(timestamp=None), "invalid_field", ["`timestamp` is missing", "milliseconds since 1970"]),
    (changed(timestamp=-1), "invalid_field", ["`timestamp` is -1", "milliseconds since 1970"]),
    (changed(timestamp=253_402_300_800_000), "invalid_field", ["253402300800000", "9999"]),
    (changed(timestamp=1.5), "invalid_field", ["`timestamp` is 1.5", "whole milliseconds"]),
    (changed(timestamp=10**30), "invalid_field", ["`timestamp` is 1e", "9999"]),
    (changed(timestamp="10000-01-01T00:00:00Z"), "invalid_field", ["`timestamp` is", "RFC 3339"]),
    (changed(timestamp="-000001-01-01T00:00:00Z"), "invalid_field", ["`timestamp` is", "RFC 3339"]),
    (changed(timestamp={}), "invalid_field", ["`timestamp` is {}", "RFC 3339"]),
    (changed(payload=None), "invalid_field", ["`payload` is missing", "send an object"]),
    (changed(payload=[1]), "invalid_field", ["`payload`", "invalid type: sequence"]),
    (raw(f'"text": "x", "more": 1, "payload": {{"k": {nested(100)}}}').replace(b'"payload": {"n": 1}, ', b""), "invalid_field", ["`payload` is nested", "levels"]),
    (raw(f'"text": "x", "payload": {nested(50_000)}').replace(b'"payload": {"n": 1}, ', b""), "invalid_field", ["`payload`"]),
    (changed(text=None), "invalid_field", ["`vector` is missing", "`text`"]),
    (changed(text=7), "invalid_field", ["`text`", "integer `7`"]),
    (changed(text=" \n"), "text_not_embeddable", ["empty or only white space"]),
    (changed(vector=[1.0, 2.0]), "invalid_field", ["`vector` has 2 dimensions", "the collection has 256"]),
    (changed(vector=["a"] * DIM), "invalid_field", ["`vector`", "invalid type: string"]),
    (changed(vector=[0.0] * DIM), "refused", ["cosine"]),
    (changed(vector=[float("nan")] * DIM), "not_an_event", ["`vector`", "NaN"]),
    (changed(vector=[float("inf")] * DIM), "not_an_event", ["`vector`", "Infinity"]),
    (raw('"vector": [' + "1e400, " * 255 + "1]"), "invalid_field", ["`vector`", "number out of range"]),
    (raw('"vector": [' + "1e39, " * 255 + "1]"), "invalid_field", ["`vector`"]),
    (changed(id=-1), "invalid_field", ["`id` is -1", "UUID"]),
    (changed(id=1.5), "invalid_field", ["`id` is 1.5"]),
    (changed(id=2**64), "invalid_field", ["`id` is 1.8", "below 2^64"]),
    (changed(id="7"), "invalid_field", ['`id` is "7"', "UUID"]),
    (changed(id="x" * 100_000), "invalid_field", ["`id` is", "UUID"]),
    (raw('"text": "x", "id": 1, "id": 2'), "invalid_field", ["`id`", "there twice"]),
    (changed(op="update"), "invalid_field", ['`op` is "update"', '"delete"']),
]


class Path:
    """A log with a server, and what is sent through it."""

    def __init__(self, log: logs.Folder | logs.Cluster, server: Server):
        self.log, self.server, self.rest = log, server, Rest(server.port)
        self.good = 0

    def dvse(self, *arguments: str, said: bytes = b"", status: int = 0) -> str:
        done = subprocess.run([str(BINARY), *arguments], input=said, capture_output=True, timeout=300)
        assert done.returncode == status, (arguments, done.returncode, done.stdout, done.stderr)
        return (done.stdout if status == 0 else done.stderr).decode()

    def neighbour(self, number: int) -> bytes:
        self.good += 1
        return json.dumps(GOOD | {"id": 1000 + self.good, "payload": {"n": number}}).encode()

    def produce(self, lines: list[bytes], status: int = 0) -> str:
        return self.dvse("produce", "--to", self.log.place, "--file", "-", said=b"\n".join(lines) + b"\n", status=status)

    def ingest(self) -> str:
        return self.dvse(
            *["ingest", "--from", self.log.place, "--url", self.server.url, "--collection", "c", "--until-empty"]
        )

    def letters(self) -> dict[bytes, dict]:
        told = self.dvse("dead-letters", "list", "--from", self.log.place, "--format", "jsonl", "--all")
        letters = [json.loads(line) for line in told.splitlines()]
        sent = [letter["record"].encode() if "record" in letter else base64.b64decode(letter["record_base64"]) for letter in letters]
        assert len(set(sent)) == len(sent), "a record has two letters"
        return dict(zip(sent, letters))

    def check_good(self) -> None:
        count = self.rest.call("POST", "/collections/c/points/count", {"exact": True})["count"]
        assert count == self.good, f"{count} points of {self.good} good records"


def check_letter(letter: dict, code: str, says: list[str]) -> None:
    reason = letter["reason"]
    assert letter["code"] == code and all(text in reason for text in says), (code, says, letter["code"], reason)
    assert len(reason) < 800, len(reason)


def check_bad(path: Path) -> None:
    lines = []
    for number, (record, _, _) in enumerate(BAD):
        lines += [path.neighbour(number), record]
    path.produce([*lines, path.neighbour(-1)])
    told = path.ingest()
    assert f"{len(BAD)} dead letters; 0 records left" in told, told
    letters = path.letters()
    for record, code, says in BAD:
        check_letter(letters.pop(record), code, says)
    assert not letters, letters
    path.check_good()


def produce_watched(path: Path, lines: bytes) -> tuple[int, str, int]:
    """Runs `dvse produce`, and returns its status, what it said, and the most memory it had while it read."""
    with tempfile.TemporaryFile() as told:
        command = [str(BINARY), "produce", "--to", path.log.place, "--file", "-"]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=told, stderr=told)
        peak = 0
        with contextlib.suppress(BrokenPipeError), process.stdin:
            for at in range(0, len(lines), MIB):
                process.stdin.write(lines[at : at + MIB])
                process.stdin.flush()
                with contextlib.suppress(KeyError, OSError):
                    peak = max(peak, resident_bytes(process.pid)["VmHWM"])
        status = process.wait(timeout=120)
        told.seek(0)
        return status, told.read().decode(), peak


def check_large(path: Path, bytes_max: int) -> None:
    """100 MiB in one record: `produce` says which and why not, in bounded memory. Noise cannot be packed."""
    noise = base64.b64encode(os.urandom(75 * MIB)).decode()
    large = json.dumps(GOOD | {"payload": {"n": noise}}).encode()
    assert len(large) > 100 * MIB
    status, told, peak = produce_watched(path, b"\n".join([path.neighbour(0), large, b"never sent"]))
    says = [f"record 2 has {len(large)} bytes", "more than the 16777216", "send a reference", "the first 1 records are sent"]
    assert status == 1 and all(text in told for text in says), told
    assert peak < 128 * MIB, f"produce took {peak} bytes"
    print(f"produce refused a record of {len(large) / MIB:.0f} MiB with at most {peak / MIB:.0f} MiB")
    if path.log.broker:
        told = path.produce([changed(payload={"n": noise[: 10 * MIB]})], status=1)
        assert "bytes is larger than the limit of" in told and "send a reference" in told, told
    # As large as a record may be, nearly.
    path.good += 1
    fits = json.dumps(GOOD | {"id": 1000 + path.good, "payload": {"n": noise[: bytes_max - 4000]}}).encode()
    path.produce([fits, path.neighbour(1)])
    assert "0 dead letters; 0 records left" in path.ingest()
    path.check_good()


def check_foreign(path: Path, broker: Broker) -> None:
    """What other programs send: cut into chunks, in batches with bad records between good ones, and what is packed into nonsense."""
    import pulsar

    client = pulsar.Client(broker.url, logger=pulsar.ConsoleLogger(pulsar.LoggerLevel.Error))
    topic = "persistent://dvse/ingest/raw-events"
    known = set(path.letters())
    large = json.dumps(GOOD | {"payload": {"n": "x" * (12 * MIB)}}).encode()
    producer = client.create_producer(topic, chunking_enabled=True, batching_enabled=False)
    producer.send(large, partition_key="1")
    producer.close()
    producer = client.create_producer(topic, batching_enabled=True, batching_max_publish_delay_ms=1000, compression_type=pulsar.CompressionType.ZSTD)
    for number in range(20):
        producer.send_async(path.neighbour(number), None, partition_key="1")
        producer.send_async(f"bad in a batch {number}".encode(), None, partition_key="1")
    producer.send_async(b"", None, partition_key="1")
    producer.flush()
    producer.close()
    client.close()
    path.ingest()
    letters = {record: letter for record, letter in path.letters().items() if record not in known}
    chunks = [letter for letter in letters.values() if letter["code"] == "unreadable"]
    assert len(chunks) >= 3, chunks
    for letter in chunks:
        check_letter(letter, "unreadable", [f"of {len(chunks)} of a larger message", "without chunking"])
    for number in range(20):
        check_letter(letters.pop(f"bad in a batch {number}".encode()), "not_an_event", ["JSON object"])
    check_letter(letters.pop(b""), "not_an_event", ["EOF"])
    assert len(letters) == len(chunks), letters.keys()
    path.check_good()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", choices=["file", "pulsar"], default="file")
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="dvse-bad-records-") as name,
        logs.opened(arguments.source, pathlib.Path(name)) as log,
        Server(pathlib.Path(name)) as server,
    ):
        server.start()
        path = Path(log, server)
        check_bad(path)
        check_large(path, 5 * MIB if log.broker else 16 * MIB)
        if log.broker:
            check_foreign(path, log.broker)
        assert server.stop() == 0, server.log_text()
    print(f"{len(BAD)} kinds of bad records, {path.good} good ones between them")
    print("1 passed, 0 failed")


if __name__ == "__main__":
    main()
