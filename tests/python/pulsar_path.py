"""The whole path over a real broker: the conformance suite, `dvse topics ensure` twice, records that become searchable, a broker that is
killed in between, errors that say what to do, the collection rebuilt from its events.

    DVSE_PULSAR_JARS=$(.ci/pulsar-jars) python tests/python/pulsar_path.py [COMMAND OF THE SUITE …]
"""

from __future__ import annotations

import base64
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import topics
from broker import Broker
from logs import Cluster
from rest import Rest
from server import BINARY, ROOT, Server, free_port


def dvse(*arguments: str, status: int = 0, stdin: bytes = b"") -> str:
    done = subprocess.run([str(BINARY), *arguments], input=stdin, capture_output=True, timeout=120)
    text = (done.stdout + done.stderr).decode()
    assert done.returncode == status, f"{arguments}: {done.returncode}\n{text}"
    return text


def check_errors_before(broker: Broker) -> None:
    """What is not there is named, with what to do."""
    record = b'{"source_id": "a", "timestamp": 0, "payload": {}, "text": "x"}\n'
    text = dvse("produce", "--to", broker.url, "--file", "-", status=1, stdin=record)
    assert "raw-events" in text and "dvse topics ensure" in text, text
    nobody = f"pulsar://127.0.0.1:{free_port()}"
    text = dvse("dead-letters", "list", "--from", nobody, status=1)
    assert nobody in text and "help:" in text, text
    text = dvse("topics", "ensure", "--pulsar", broker.url, "--admin", broker.admin.replace("http", "ftp"), status=1)
    assert "http://HOST:PORT" in text, text
    assert "--admin" in dvse("topics", "ensure", "--log", broker.url, status=1)
    text = dvse("produce", "--to", broker.admin.replace("http", "pulsar"), "--file", "-", status=1, stdin=record)
    assert "does not speak Pulsar's protocol" in text, text


def check_ensure(broker: Broker, cluster: Cluster) -> None:
    shown = cluster.ensure("--dry-run")
    assert "tenant dvse  new" in shown and "schema JSON" in shown and "kept 24 h" in shown, shown
    assert broker.call("GET", "tenants/dvse")[0] == 404, "a dry run changed something"
    made = cluster.ensure()
    assert made.splitlines() == shown.splitlines()[:-1], f"{shown}\n{made}"
    assert cluster.ensure().splitlines() == ["nothing to change"]
    assert "0 changes" in cluster.ensure("--dry-run")
    assert "order of keys" in dvse(
        *["topics", "ensure", "--pulsar", broker.url, "--admin", broker.admin, "--partitions", "2"], status=1
    )
    listed = dvse("topics", "list", "--log", broker.url, "--admin", broker.admin)
    assert "kept 24 h" in listed and "producers held at 1024 MiB" in listed, listed


RAW_EVENTS = json.loads((ROOT / "docs" / "format" / "raw-events.json").read_text())
MORE = {"name": "language", "type": ["null", "string"], "default": None}
LONG = {"name": "source_id", "type": "long"}


def records_schema(*fields: dict) -> str:
    return json.dumps(RAW_EVENTS | {"fields": list(fields)})


def events_schema(proto: str) -> str:
    """What the registry wants of a file of Protobuf."""
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "vector-indexed.proto").write_text(proto)
        subprocess.run(["protoc", "--descriptor_set_out=set", "vector-indexed.proto"], cwd=folder, check=True)
        descriptors = (pathlib.Path(folder) / "set").read_bytes()
    schema = {
        "fileDescriptorSet": base64.b64encode(descriptors).decode(),
        "rootMessageTypeName": "dvse.ingest.v1.VectorIndexed",
        "rootFileDescriptorName": "vector-indexed.proto",
    }
    return json.dumps(schema)


def check_schemas(broker: Broker, cluster: Cluster) -> None:
    """A schema may get an optional field; another type of a field is refused, by the registry or by `topics ensure`, which says what it
    finds and what to do."""

    def post(topic: str, kind: str, schema: str) -> tuple[int, str]:
        path = f"schemas/dvse/ingest/{topic}/schema"
        status, answer = broker.call("POST", path, {"type": kind, "schema": schema, "properties": {}})
        return status, json.dumps(answer)

    def forget(topic: str) -> None:
        assert broker.call("DELETE", f"schemas/dvse/ingest/{topic}/schema?force=true")[0] == 200

    def refused() -> str:
        return dvse("topics", "ensure", "--pulsar", broker.url, "--admin", broker.admin, status=1)

    ours = RAW_EVENTS["fields"]
    status, answer = post("raw-events", "JSON", records_schema(LONG, *ours[1:]))
    assert status == 409 and "schema compatibility check" in answer, (status, answer)
    # Somebody else's is there: one that ours may follow, and one that it may not.
    forget("raw-events")
    assert post("raw-events", "JSON", records_schema(*ours[:-1]))[0] == 200
    told = cluster.ensure()
    assert "raw-events  schema JSON, over version" in told, told
    forget("raw-events")
    assert post("raw-events", "JSON", records_schema(LONG, *ours[1:]))[0] == 200
    told = refused()
    assert 'field source_id is "long" there and "string" here' in told and "schemas delete" in told, told
    forget("raw-events")
    assert "raw-events  schema JSON" in cluster.ensure()
    # A sender adds an optional field.
    status, answer = post("raw-events", "JSON", records_schema(*ours, MORE))
    assert status == 200, answer
    told = cluster.ensure().splitlines()
    assert told[-1] == "nothing to change" and "is later than ours and has language more; it stays" in told[0], told

    proto = (ROOT / "docs" / "format" / "vector-indexed.proto").read_text()
    end = proto.rindex("}")
    more = events_schema(proto[:end] + "  string language = 13;\n}\n")
    status, answer = post("vector-indexed", "PROTOBUF_NATIVE", more)
    assert status == 200, answer
    told = cluster.ensure()
    assert "vector-indexed  schema PROTOBUF_NATIVE" in told and "has language more" in told, told
    # The registry looks only at the name of the message.
    changed = events_schema(proto.replace("uint64 log_position = 8", "string log_position = 8"))
    assert post("vector-indexed", "PROTOBUF_NATIVE", changed)[0] == 200
    told = refused()
    assert "field log_position is string = 8 there and uint64 = 8 here" in told and "schemas delete" in told, told
    status, answer = post("vector-indexed", "JSON", records_schema(*ours))
    assert status == 409 and "Incompatible schema" in answer, answer
    forget("vector-indexed")
    assert "vector-indexed  schema PROTOBUF_NATIVE" in cluster.ensure()


def send_evolved(broker: Broker) -> None:
    """As a program that knows a field more, with its schema; one whose field has another type is refused when it connects."""
    import _pulsar
    import pulsar

    class Json(pulsar.schema.Schema):
        def __init__(self, text: str):
            super().__init__(bytes, _pulsar.SchemaType.JSON, json.loads(text), "JSON")

        def encode(self, record):
            return record

    # It tries again what is refused, for so long.
    client = pulsar.Client(broker.url, operation_timeout_seconds=3, logger=pulsar.ConsoleLogger(pulsar.LoggerLevel.Error))
    topic, ours = "persistent://dvse/ingest/raw-events", RAW_EVENTS["fields"]
    producer = client.create_producer(topic, schema=Json(records_schema(*ours, MORE)))
    record = {"source_id": "e", "id": 2000, "timestamp": 0, "payload": {}, "text": "evolved", "language": "de"}
    producer.send(json.dumps(record).encode(), partition_key="2000")
    try:
        client.create_producer(topic, schema=Json(records_schema(LONG, *ours[1:])))
        raise AssertionError("a producer with another type of a field was let in")
    except pulsar.PulsarException as error:
        assert "IncompatibleSchema" in str(error), error
    # It sends without a schema all the same.
    record |= {"source_id": 7, "id": 2001}
    client.create_producer(topic).send(json.dumps(record).encode(), partition_key="2001")
    client.close()


def send_in_batches(broker: Broker, numbers: range) -> None:
    """As another program would: the official client, several records in an entry, packed."""
    import pulsar

    client = pulsar.Client(broker.url, logger=pulsar.ConsoleLogger(pulsar.LoggerLevel.Error))
    kinds = [pulsar.CompressionType.LZ4, pulsar.CompressionType.ZSTD, pulsar.CompressionType.SNAPPY]
    for first, kind in enumerate(kinds):
        producer = client.create_producer(
            "persistent://dvse/ingest/raw-events",
            compression_type=kind,
            batching_enabled=True,
            batching_max_publish_delay_ms=100,
        )
        for number in numbers[first::3]:
            record = {"source_id": "b", "id": number, "timestamp": 0, "payload": {"n": number}, "text": f"batch {number}"}
            producer.send_async(json.dumps(record).encode(), None, partition_key=str(number))
        producer.flush()
        producer.close()
    client.close()


def check_path(broker: Broker, folder: pathlib.Path) -> None:
    with Server(folder) as server:
        ingest_log = open(folder / "ingest.txt", "ab")
        # Started before the server, and the broker is killed under it.
        worker = subprocess.Popen(
            [str(BINARY), "ingest", "--from", broker.url, "--url", server.url, "--collection", "docs", "--batch", "16"],
            stdout=ingest_log,
            stderr=ingest_log,
        )
        sender = subprocess.Popen(
            [str(BINARY), "produce", "--to", broker.url, "--file", "-"], stdin=subprocess.PIPE, stderr=ingest_log
        )
        try:
            server.start()
            rest = Rest(server.port)

            def send(number: int, text: str) -> None:
                record = {"source_id": f"s{number}", "id": number, "timestamp": 0, "payload": {"n": number}, "text": text}
                sender.stdin.write(json.dumps(record).encode() + b"\n")
                sender.stdin.flush()

            def wait_for(count: int) -> None:
                deadline = time.monotonic() + 120
                while True:
                    try:
                        if rest.call("POST", "/collections/docs/points/count", {"exact": True})["count"] == count:
                            return
                    except RuntimeError:
                        pass
                    assert worker.poll() is None and time.monotonic() < deadline, (folder / "ingest.txt").read_text()
                    time.sleep(0.05)

            words = ["a wooden boat on the river", "the sun shines on the mountain", "a letter from a friend"]
            for number, text in enumerate(words):
                send(number, text)
            wait_for(3)
            broker.kill()
            for number in range(3, 200):
                send(number, f"record {number} that was sent while the broker was away")
            # Long enough to be told of.
            time.sleep(2)
            broker.start()
            wait_for(200)
            send_in_batches(broker, range(1000, 1300))
            wait_for(500)
            send_evolved(broker)
            wait_for(501)
            send(1, "nothing about weather")
            send(2, "")
            deadline = time.monotonic() + 60
            letters: list[dict] = []
            while len(letters) < 2:
                assert time.monotonic() < deadline, letters
                listed = dvse("dead-letters", "list", "--from", broker.url, "--format", "jsonl")
                letters = [json.loads(line) for line in listed.splitlines() if line.startswith("{")]
            asked = ["query", words[0], "--collection", "docs", "--url", server.url, "--limit", "1", "--format", "jsonl"]
            best = json.loads(dvse(*asked))
            assert best["id"] == 0, best
            by_code = {letter["code"]: letter for letter in letters}
            letter = by_code["text_not_embeddable"]
            assert '"id": 2' in letter["record"], letter
            letter = by_code["invalid_field"]
            assert '"id": 2001' in letter["record"] and "`source_id`" in letter["reason"], letter
            sender.stdin.close()
            assert sender.wait(timeout=60) == 0
            # A second worker on the log is told that there is one.
            second = dvse(
                *["ingest", "--from", broker.url, "--url", server.url, "--collection", "docs", "--until-empty"], status=1
            )
            assert "is being written by" in second, second
            worker.terminate()
            assert worker.wait(timeout=60) == 0, (folder / "ingest.txt").read_text()
            told = (folder / "ingest.txt").read_text()
            assert "waiting: " in told and broker.url in told, told
            assert "2 records sent again" in dvse("dead-letters", "retry", "--from", broker.url)
            assert not dvse("dead-letters", "list", "--from", broker.url, "--format", "jsonl")
            events = [topics.event(record.payload) for record in broker.records("vector-indexed")]
            places = {(event["log_position"], event["ordinal"]) for event in events}
            assert len(places) == 502, len(places)
            assert server.stop() == 0
        finally:
            for process in (worker, sender):
                if process.poll() is None:
                    process.kill()
                    process.wait()
            ingest_log.close()


def check_rebuild(broker: Broker, folder: pathlib.Path) -> None:
    """The collection of the path once more, from the events in the broker alone."""
    restored = folder / "restored"
    told = dvse("rebuild", "--quiet", "--from", broker.url, "--collection", "docs", "--data", str(restored))
    assert "502 changes" in told and "501 points" in told, told
    points = []
    for data in (folder / "data", restored):
        with Server(folder, data=data) as server:
            server.start()
            points.append(dvse("export", "--quiet", "--url", server.url, "--collection", "docs", "--output", "-"))
            # What made it is in it, and so are the places of the records.
            ingest = ["ingest", "--quiet", "--from", broker.url, "--url", server.url, "--collection", "docs"]
            assert "0 changes" in dvse(*ingest, "--until-empty")
            assert server.stop() == 0
    assert points[0] == points[1] and len(points[0].splitlines()) == 501, [len(text) for text in points]


def check_role(broker: Broker, folder: pathlib.Path) -> None:
    """The pipeline inside the server: while the broker is away it waits, says so and ages; then it goes on."""
    with Server(folder) as server:
        server.start(arguments=["--ingest", broker.url, "--collection", "role"])

        def steer(verb: str, *more: str, status: int = 0) -> str:
            return dvse("ingest", verb, "--url", server.url, *more, status=status)

        def look() -> dict:
            return json.loads(steer("status", "--format", "jsonl"))

        steer("drain")
        before = look()["records"]
        steer("resume")
        broker.kill()
        deadline = time.monotonic() + 60
        while (seen := look())["state"] != "waiting":
            assert time.monotonic() < deadline, seen
            time.sleep(0.05)
        assert broker.url in seen["reason"], seen
        text = steer("drain", "--timeout", "1", status=1)
        assert "ingest into role is waiting" in text and "it goes on" in text, text
        assert look()["age_seconds"] > seen["age_seconds"] + 0.9, seen
        assert Rest(server.port).call("POST", "/collections/role/points/count", {})["count"] > 0, "it serves on"
        broker.start()
        record = {"source_id": "r", "timestamp": 0, "payload": {}, "text": "sent when the broker was back"}
        lines = "".join(json.dumps(record | {"id": 5000 + number}) + "\n" for number in range(50))
        dvse("produce", "--quiet", "--to", broker.url, "--file", "-", stdin=lines.encode())
        steer("drain", "--timeout", "120")
        seen = look()
        assert (seen["records"] - before, seen["lag_records"], seen["reason"]) == (50, 0, None), seen
        assert server.stop() == 0
    told = (folder / "log.txt").read_text()
    assert "ingest waits" in told and "ingest ended" in told, told[-4000:]


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="dvse-pulsar-") as name, Broker(pathlib.Path(name) / "broker") as broker:
        print(f"the broker is there after {broker.start():.1f} s", flush=True)
        cluster = Cluster(broker)
        for check in [
            lambda: check_errors_before(broker),
            lambda: check_ensure(broker, cluster),
            lambda: check_schemas(broker, cluster),
            lambda: check_path(broker, pathlib.Path(name)),
            lambda: check_rebuild(broker, pathlib.Path(name)),
            lambda: check_role(broker, pathlib.Path(name)),
        ]:
            started = time.monotonic()
            check()
            print(f"checked in {time.monotonic() - started:.1f} s", flush=True)
        if len(sys.argv) > 1:
            environment = os.environ | {"DVSE_PULSAR": broker.url, "DVSE_PULSAR_ADMIN": broker.admin}
            subprocess.run(sys.argv[1:], check=True, env=environment, cwd=ROOT)
    print("6 passed, 0 failed")


if __name__ == "__main__":
    main()
