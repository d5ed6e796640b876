"""Kills a real `dvse ingest` and a real `dvse serve`, and with `--source pulsar` a real broker, at random moments while records
stream in, and checks the promise:

the collection equals what was sent (nothing lost, nothing twice, the last value of each point), `vector-indexed` tells each
commit once after de-duplication by log position, and the dead letters are exactly the records that are poison.

    python tests/python/ingest_crash.py --rounds 100 --seed 1
    DVSE_PULSAR_JARS=$(.ci/pulsar-jars) python tests/python/ingest_crash.py --source pulsar --rounds 100 --broker-every 25
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import math
import os
import pathlib
import random
import signal
import subprocess
import tempfile
import time

import logs
import topics
from rest import Rest
from server import BINARY, Server

IDS = 400
WORDS = "river boat stone bird cloud glass winter music bread letter garden engine signal paper copper island".split()
DIM = 256


class Sent:
    """What went into the stream, and what has to come of it."""

    def __init__(self, seed: int):
        self.random = random.Random(seed)
        self.count = 0
        # id -> (number of the record, its vector or None if it had a text)
        self.points: dict[int, tuple[int, list[float] | None]] = {}
        self.poison: set[bytes] = set()

    def line(self) -> bytes:
        self.count += 1
        number, point_id, kind = self.count, self.random.randrange(IDS), self.random.random()
        record = {"source_id": f"s{point_id}", "timestamp": 1_700_000_000_000, "id": point_id, "payload": {"n": number}}
        text = " ".join(self.random.choices(WORDS, k=6)) + f" {number}"
        if kind < 0.06:
            line = self.poisoned(record, number)
            self.poison.add(line)
            return line
        if kind < 0.18:
            self.points.pop(point_id, None)
            return json.dumps(record | {"op": "delete"}).encode()
        if kind < 0.40:
            vector = [round(self.random.gauss(0, 1), 4) for _ in range(DIM)]
            self.points[point_id] = (number, vector)
            return json.dumps(record | {"vector": vector}).encode()
        self.points[point_id] = (number, None)
        return json.dumps(record | {"text": text}).encode()

    def poisoned(self, record: dict, number: int) -> bytes:
        match number % 6:
            case 0:
                return f"not json {number}".encode()
            case 1:
                return json.dumps(record | {"vector": [1.0, 2.0]}).encode()
            case 2:
                return json.dumps(record | {"text": "  "}).encode()
            case 3:
                return json.dumps(record | {"timestamp": -5, "text": "x"}).encode()
            case 4:
                return b'{"source_id": "\xff\xfe", "n": ' + str(number).encode() + b"}"
            case _:
                # The collection refuses it: a vector without a direction.
                return json.dumps(record | {"vector": [0.0] * DIM}).encode()


class Ingest:
    def __init__(self, folder: pathlib.Path, place: str, url: str):
        self.text = folder / "ingest.txt"
        self.command = [str(BINARY), "ingest", "--from", place, "--url", url, "--collection", "c", "--batch", "64"]
        self.process: subprocess.Popen | None = None

    def spawn(self, *more: str) -> None:
        with open(self.text, "ab") as output:
            self.process = subprocess.Popen([*self.command, *more], stdout=output, stderr=output)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def told(self) -> str:
        return self.text.read_text(errors="replace")[-3000:]


def unit(vector) -> list[float]:
    length = math.sqrt(sum(value * value for value in vector))
    return [value / length for value in vector]


def close(one, other) -> bool:
    return len(one) == len(other) and all(abs(a - b) < 1e-5 for a, b in zip(one, other))


def check(rest: Rest, log: logs.Folder | logs.Cluster, sent: Sent) -> str:
    points = {}
    offset = None
    while True:
        body = {"limit": 1000, "with_vector": True, "with_payload": True} | ({"offset": offset} if offset else {})
        page = rest.call("POST", "/collections/c/points/scroll", body)
        points |= {point["id"]: point for point in page["points"]}
        offset = page["next_page_offset"]
        if offset is None:
            break
    assert points.keys() == sent.points.keys(), f"differ in {points.keys() ^ sent.points.keys()}"
    for point_id, (number, vector) in sent.points.items():
        found = points[point_id]
        assert found["payload"] == {"n": number}, f"point {point_id}: {found['payload']}, sent {number}"
        if vector is not None:
            assert close(found["vector"], unit(vector)), f"the vector of point {point_id} is another one"

    events, twice = {}, 0
    for record in log.records("vector-indexed"):
        event = topics.event(record.payload) | {"commit_ts": 0}
        identity = (event["log_position"], event["ordinal"])
        older = events.setdefault(identity, event)
        if older is not event:
            twice += 1
            same = {name: value for name, value in event.items() if name != "embedding"}
            assert same == {name: older[name] for name in same}, f"two events of one identity: {older} {event}"
            assert close(older["embedding"], event["embedding"])
    sources = [(event["source_partition"], int(event["source_position"])) for event in events.values()]
    assert len(sources) == len(set(sources)), "a record took effect twice"
    replayed = {}
    for identity in sorted(events):
        event = events[identity]
        if event["operation"] == 1:
            replayed.pop(int(event["vector_id"]), None)
        else:
            replayed[int(event["vector_id"])] = event
    assert replayed.keys() == points.keys(), f"events differ in {replayed.keys() ^ points.keys()}"
    for point_id, event in replayed.items():
        assert json.loads(event["payload"]) == points[point_id]["payload"], f"events of point {point_id}"
        assert close(unit(event["embedding"]), points[point_id]["vector"]), f"events of point {point_id}"

    listed = subprocess.run(
        [str(BINARY), "dead-letters", "list", "--from", log.place, "--format", "jsonl", "--all"],
        capture_output=True,
        check=True,
    )
    letters = [json.loads(line) for line in listed.stdout.splitlines()]
    dead = [(a["record"].encode() if "record" in a else base64.b64decode(a["record_base64"])) for a in letters]
    assert sorted(dead) == sorted(sent.poison), f"dead letters differ: {len(dead)} for {len(sent.poison)}"
    marks = rest.call("GET", "/collections/c/sources")
    there = {(mark["partition"], int(mark["position"])) for mark in marks if mark["position"]}
    last: dict[int, int] = {}
    raw = 0
    for record in log.records("raw-events"):
        last[record.partition] = record.position
        raw += 1
    assert raw == sent.count, f"the log has {raw} records, sent were {sent.count}"
    assert there == set(last.items()), f"marks {there}, records {last}"
    return f"{len(points)} points, {len(events)} events ({twice} of them twice), {len(dead)} dead letters"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--source", choices=["file", "pulsar"], default="file")
    parser.add_argument("--broker-every", type=int, default=10, help="kill the broker once in so many rounds")
    arguments = parser.parse_args()
    print(f"ingest crash test on {arguments.source}: {arguments.rounds} rounds, seed {arguments.seed}", flush=True)
    moments = random.Random(arguments.seed)
    sent = Sent(arguments.seed)
    kills = {"ingest": 0, "serve": 0, "broker": 0}
    with tempfile.TemporaryDirectory(prefix="dvse-ingest-crash-") as name, contextlib.ExitStack() as stack:
        folder = pathlib.Path(name)
        log = stack.enter_context(logs.opened(arguments.source, folder))
        server = Server(folder, {"storage.growing_rows_max": "1000"})
        ingest = Ingest(folder, log.place, server.url)
        produce = subprocess.Popen(
            [str(BINARY), "produce", "--to", log.place, "--file", "-", "--quiet"], stdin=subprocess.PIPE
        )
        try:
            # The pipeline starts before its server is there.
            ingest.spawn()
            server.start()
            for number in range(arguments.rounds):
                until = time.monotonic() + moments.uniform(0.02, 0.6)
                while time.monotonic() < until:
                    for _ in range(moments.randrange(1, 40)):
                        produce.stdin.write(sent.line() + b"\n")
                    produce.stdin.flush()
                    time.sleep(moments.uniform(0.0, 0.01))
                who = moments.random()
                if log.broker and number % arguments.broker_every == arguments.broker_every // 2:
                    # While records are under way, and `ingest` and `produce` go on waiting.
                    log.broker.kill()
                    kills["broker"] += 1
                    time.sleep(moments.uniform(0.0, 1.0))
                    log.broker.start()
                if who < 0.7:
                    ingest.kill()
                    kills["ingest"] += 1
                if who > 0.5:
                    server.kill()
                    kills["serve"] += 1
                    if moments.random() < 0.5:
                        time.sleep(moments.uniform(0.0, 0.2))
                    server.start()
                if who < 0.7:
                    ingest.spawn()
                assert ingest.process.poll() is None, f"ingest ended by itself:\n{ingest.told()}"
            produce.stdin.close()
            assert produce.wait(timeout=120) == 0
            ingest.process.send_signal(signal.SIGTERM)
            # One that was started a moment ago may not watch for signals yet.
            status = ingest.process.wait(timeout=60)
            assert status in (0, -signal.SIGTERM), f"status {status}:\n{ingest.told()}"
            ingest.spawn("--until-empty")
            assert ingest.process.wait(timeout=300) == 0, ingest.told()
            try:
                told = check(Rest(server.port), log, sent)
            except AssertionError:
                print(f"seed {arguments.seed}; ingest's log ends:\n{ingest.told()}\nthe server's:\n{server.log_text()}")
                if "DVSE_KEEP" in os.environ:
                    os.rename(folder, os.environ["DVSE_KEEP"])
                raise
            assert server.stop() == 0, server.log_text()
            assert "panicked" not in server.log_text() + ingest.told()
        finally:
            for process in (produce, ingest.process, server.process):
                if process and process.poll() is None:
                    process.kill()
                    process.wait()
    killed = f"{kills['ingest']} kills of ingest, {kills['serve']} of serve, {kills['broker']} of the broker"
    print(f"{killed}, {sent.count} records sent; {told}")
    print("1 passed, 0 failed")


if __name__ == "__main__":
    main()
