"""Kills a real `dvse ingest` and a real `dvse serve`, and with `--source pulsar` a real broker, while records stream in, and checks
the promise:

the collection equals what was sent (nothing lost, nothing twice, the last value of each point), `vector-indexed` tells each
commit once after de-duplication by log position, and the dead letters are exactly the records that are poison.

The moments are random, and with `--steps` also each named step of the protocol in turn; the binary needs the feature `fault-points`
for that. With `--one` there is one process for both, `dvse serve --ingest`.

    python tests/python/ingest_crash.py --rounds 100 --seed 1 --steps
    DVSE_PULSAR_JARS=$(.ci/pulsar-jars) python tests/python/ingest_crash.py --source pulsar --rounds 100 --broker-every 25 --steps
"""

from __future__ import annotations

import argparse
import base64
import collections
import contextlib
import functools
import itertools
import json
import math
import os
import pathlib
import random
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator

import logs
import topics
from rest import Rest
from server import BINARY, Server

IDS = 400
WORDS = "river boat stone bird cloud glass winter music bread letter garden engine signal paper copper island".split()
DIM = 256
# What the server takes in one request: full batches are larger, and are halved.
BODY_BYTES = 64 << 10

# Named steps, and how often one is passed at most before the process is killed there. The more of them a batch has, the more
# places there are.
INGEST_STEPS = {
    "taken_over": 4,
    "recovered": 4,
    "read": 8,
    "embedded": 8,
    "letter": 8,
    "lettered": 6,
    "refused": 4,
    "committed": 8,
    "event": 200,
    "published": 8,
    "acknowledged": 8,
    "read_again": 1,
    "published_again": 1,
}
# Entries on their way to a broker, and what it confirms of them.
PULSAR_STEPS = {"sent": 200, "confirmed": 200}
SERVE_STEPS = {"granted": 4, "asked": 8, "logged": 8}
# Passed only by who finds a batch that was committed and not published.
AFTER_COMMIT = ("read_again", "published_again")


class Sent:
    """What went into the stream, and what has to come of it."""

    def __init__(self, seed: int, has_bodies: bool = True):
        """Whether batches are sent to the server as bodies of requests, whose size it limits."""
        self.random = random.Random(seed)
        self.has_bodies = has_bodies
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
        match number % 7:
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
            case 5 if self.has_bodies:
                # The server takes no request of this size, so the batch is halved until the record is alone. A later record of
                # the same point in its batch would take its place before the server has seen it.
                padded = {"text": "x", "id": IDS + number, "payload": {"n": number, "pad": "x" * BODY_BYTES}}
                return json.dumps(record | padded).encode()
            case _:
                # The collection refuses it: a vector without a direction.
                return json.dumps(record | {"vector": [0.0] * DIM}).encode()


class Ingest:
    def __init__(self, folder: pathlib.Path, place: str, url: str):
        self.text = folder / "ingest.txt"
        self.command = [str(BINARY), "ingest", "--from", place, "--url", url, "--collection", "c", "--batch", "64"]
        self.process: subprocess.Popen | None = None

    def spawn(self, *more: str, kill_at: str | None = None) -> None:
        environment = os.environ | ({"DVSE_KILL_AT": kill_at} if kill_at else {})
        with open(self.text, "ab") as output:
            self.process = subprocess.Popen([*self.command, *more], stdout=output, stderr=output, env=environment)

    def is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def told(self) -> str:
        return self.text.read_text(errors="replace")[-3000:]


class Rounds:
    """Sends records, and kills."""

    is_one_process = False

    def __init__(self, seed: int, log: logs.Folder | logs.Cluster, server: Server, ingest: Ingest):
        self.random = random.Random(seed)
        self.sent = Sent(seed, has_bodies=not self.is_one_process)
        self.log, self.server, self.ingest = log, server, ingest
        self.kills: collections.Counter[str] = collections.Counter()
        self.seconds: collections.Counter[str] = collections.Counter()
        command = [str(BINARY), "produce", "--to", log.place, "--file", "-", "--quiet"]
        self.produce = subprocess.Popen(command, stdin=subprocess.PIPE)

    @contextlib.contextmanager
    def timed(self, what: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        self.seconds[what] += time.monotonic() - started

    def feed(self) -> None:
        for _ in range(self.random.randrange(1, 40)):
            self.produce.stdin.write(self.sent.line() + b"\n")
        self.produce.stdin.flush()
        time.sleep(self.random.uniform(0.0, 0.01))

    def begin(self) -> None:
        # The pipeline starts before its server is there.
        self.ingest.spawn()
        self.start_server()

    def start_server(self) -> None:
        with self.timed("starting serve"):
            self.server.start()

    def kill_server(self) -> None:
        self.server.kill()
        self.kills["serve at random"] += 1

    def kill_ingest(self) -> None:
        self.ingest.kill()
        self.kills["ingest at random"] += 1

    def wait_for(self, process: subprocess.Popen, who: str, kill_at: str, text: pathlib.Path, before: int) -> None:
        """Sends records until the process has killed itself; its part of the text begins behind `before` bytes."""

        def told() -> str:
            return text.read_bytes()[before:].decode(errors="replace")[-3000:]

        deadline = time.monotonic() + 120
        with self.timed(f"until a step of {who}"):
            while process.poll() is None:
                assert time.monotonic() < deadline, f"{who} does not pass {kill_at}; is it built with fault-points?\n{told()}"
                self.feed()
        step, at = kill_at.split(":")
        assert process.returncode == -signal.SIGKILL, f"{who} ended with {process.returncode} before {kill_at}:\n{told()}"
        assert f"killed at {step}, passing {at}" in told().splitlines(), f"{kill_at}:\n{told()}"
        self.kills[f"{who} at {step}"] += 1

    def ingest_at(self, step: str) -> None:
        """Has `ingest` killed at a step."""
        if self.ingest.is_alive():
            self.kill_ingest()
        for step in ("committed", step) if step in AFTER_COMMIT else (step,):
            kill_at = f"{step}:{self.random.randint(1, (INGEST_STEPS | PULSAR_STEPS)[step])}"
            before = self.ingest.text.stat().st_size
            self.ingest.spawn(kill_at=kill_at)
            self.wait_for(self.ingest.process, "ingest", kill_at, self.ingest.text, before)

    def serve_at(self, step: str) -> None:
        """Has `serve` killed at a step. Only who starts asks to take a partition over."""
        self.kill_server()
        if step == "granted" and self.ingest.is_alive():
            self.kill_ingest()
        kill_at = f"{step}:{self.random.randint(1, SERVE_STEPS[step])}"
        # Whoever waits for it may be at the step before anybody else has seen it ready.
        text = self.server.folder / "log.txt"
        before = text.stat().st_size
        self.server.spawn(environment={"DVSE_KILL_AT": kill_at})
        if not self.ingest.is_alive():
            self.ingest.spawn()
        self.wait_for(self.server.process, "serve", kill_at, text, before)
        self.server.log.close()
        self.start_server()

    def at_random(self) -> None:
        if not self.ingest.is_alive():
            self.ingest.spawn()
        until = time.monotonic() + self.random.uniform(0.02, 0.6)
        with self.timed("until a random moment"):
            while time.monotonic() < until:
                self.feed()
        who = self.random.random()
        if who < 0.7:
            self.kill_ingest()
        if who > 0.5:
            self.kill_server()
            if self.random.random() < 0.5:
                time.sleep(self.random.uniform(0.0, 0.2))
            self.start_server()
        if who < 0.7:
            self.ingest.spawn()

    def broker_at_random(self) -> None:
        """While records are under way, and `ingest` and `produce` go on waiting."""
        if not self.ingest.is_alive():
            self.ingest.spawn()
        until = time.monotonic() + self.random.uniform(0.5, 2.0)
        with self.timed("until a random moment"):
            while time.monotonic() < until:
                self.feed()
        self.log.broker.kill()
        self.kills["broker at random"] += 1
        time.sleep(self.random.uniform(0.0, 1.0))
        with self.timed("starting the broker"):
            self.log.broker.start()

    def schedule(self, rounds: int, broker_every: int, with_steps: bool) -> Iterator[Callable[[], None]]:
        """Each step in turn, in an order that is another one each time, and a random moment for every three of them."""
        steps = INGEST_STEPS | (PULSAR_STEPS if self.log.broker else {})
        named = [functools.partial(self.ingest_at, step) for step in steps]
        named += [functools.partial(self.serve_at, step) for step in SERVE_STEPS]
        cycle: list[Callable[[], None]] = []
        for number in range(rounds):
            if self.log.broker and number % broker_every == broker_every // 2:
                yield self.broker_at_random
                continue
            if not cycle:
                cycle = [*(named if with_steps else []), *[self.at_random] * (1 + len(named) // 3)]
                self.random.shuffle(cycle)
            yield cycle.pop()

    def check_alive(self) -> None:
        """Nothing has ended but what was killed."""
        if not self.ingest.is_alive():
            assert self.ingest.process.returncode == -signal.SIGKILL, f"ingest ended by itself:\n{self.ingest.told()}"

    def finish(self) -> None:
        """Lets everything come to its end."""
        self.produce.stdin.close()
        assert self.produce.wait(timeout=120) == 0
        if self.ingest.is_alive():
            self.ingest.process.send_signal(signal.SIGTERM)
            # One that was started a moment ago may not watch for signals yet.
            status = self.ingest.process.wait(timeout=60)
            assert status in (0, -signal.SIGTERM), f"status {status}:\n{self.ingest.told()}"
        with self.timed("the rest"):
            self.ingest.spawn("--until-empty")
            assert self.ingest.process.wait(timeout=300) == 0, self.ingest.told()

    def end(self) -> None:
        for process in (self.produce, self.ingest.process, self.server.process):
            if process and process.poll() is None:
                process.kill()
                process.wait()


class OneProcess(Rounds):
    """The same where the server ingests. It is killed as a whole, and takes no bodies of its own."""

    is_one_process = True

    def arguments(self) -> list[str]:
        return ["--ingest", self.log.place, "--collection", "c"]

    def begin(self) -> None:
        self.start_server()

    def start_server(self) -> None:
        with self.timed("starting serve"):
            self.server.start(arguments=self.arguments())

    def is_alive(self) -> bool:
        return self.server.process.poll() is None

    def ingest_at(self, step: str) -> None:
        if self.is_alive():
            self.kill_server()
        for step in ("committed", step) if step in AFTER_COMMIT else (step,):
            kill_at = f"{step}:{self.random.randint(1, min(4, (INGEST_STEPS | PULSAR_STEPS)[step]))}"
            text = self.server.folder / "log.txt"
            before = text.stat().st_size
            self.server.spawn(arguments=self.arguments(), environment={"DVSE_KILL_AT": kill_at})
            self.wait_for(self.server.process, "serve --ingest", kill_at, text, before)
            self.server.log.close()

    def at_random(self) -> None:
        if not self.is_alive():
            self.start_server()
        until = time.monotonic() + self.random.uniform(0.02, 0.6)
        with self.timed("until a random moment"):
            while time.monotonic() < until:
                self.feed()
        self.kill_server()

    def broker_at_random(self) -> None:
        if not self.is_alive():
            self.start_server()
        until = time.monotonic() + self.random.uniform(0.5, 2.0)
        with self.timed("until a random moment"):
            while time.monotonic() < until:
                self.feed()
        self.log.broker.kill()
        self.kills["broker at random"] += 1
        with self.timed("starting the broker"):
            self.log.broker.start()

    def schedule(self, rounds: int, broker_every: int, with_steps: bool) -> Iterator[Callable[[], None]]:
        kills = super().schedule(1_000_000, broker_every, with_steps)
        # Nobody else asks the server to write, and no batch is refused.
        others = [functools.partial(self.serve_at, step) for step in SERVE_STEPS] + [functools.partial(self.ingest_at, "refused")]
        skipped = [(kill.func.__name__, *kill.args) for kill in others]
        mine = (kill for kill in kills if not isinstance(kill, functools.partial) or (kill.func.__name__, *kill.args) not in skipped)
        return itertools.islice(mine, rounds)

    def check_alive(self) -> None:
        told = (self.server.folder / "log.txt").read_text(errors="replace")
        assert "ingest stopped" not in told, told[-5000:]

    def finish(self) -> None:
        """The rest is taken by a process of its own, which fences the one before."""
        if self.is_alive():
            self.kill_server()
        with self.timed("starting serve"):
            self.server.start()
        super().finish()


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
    differ = sorted({line[:150] for line in sent.poison ^ set(dead)})
    assert sorted(dead) == sorted(sent.poison), f"{len(dead)} dead letters for {len(sent.poison)}; they differ in {differ[:20]}"
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
    parser.add_argument("--one", action="store_true", help="one process, dvse serve --ingest")
    parser.add_argument("--steps", action="store_true", help="kill at named steps, too (feature fault-points)")
    arguments = parser.parse_args()
    print(f"ingest crash test on {arguments.source}: {arguments.rounds} rounds, seed {arguments.seed}", flush=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="dvse-ingest-crash-") as name, contextlib.ExitStack() as stack:
        folder = pathlib.Path(name)
        log = stack.enter_context(logs.opened(arguments.source, folder))
        settings = {"storage.growing_rows_max": "1000"} | ({} if arguments.one else {"limits.body_bytes_max": str(BODY_BYTES)})
        server = Server(folder, settings)
        ingest = Ingest(folder, log.place, server.url)
        rounds = (OneProcess if arguments.one else Rounds)(arguments.seed, log, server, ingest)
        try:
            rounds.begin()
            for kill in rounds.schedule(arguments.rounds, arguments.broker_every, arguments.steps):
                kill()
                rounds.check_alive()
            rounds.finish()
            try:
                told = check(Rest(server.port), log, rounds.sent)
            except AssertionError:
                print(f"seed {arguments.seed}; ingest's log ends:\n{ingest.told()}\nthe server's:\n{server.log_text()}")
                if "DVSE_KEEP" in os.environ:
                    os.rename(folder, os.environ["DVSE_KEEP"])
                raise
            assert server.stop() == 0, server.log_text()
            assert "panicked" not in server.log_text() + ingest.told()
        finally:
            rounds.end()
    for what, count in sorted(rounds.kills.items()):
        print(f"{count:4} × {what}")
    took = ", ".join(f"{seconds:.0f} s {what}" for what, seconds in rounds.seconds.most_common())
    print(f"{time.monotonic() - started:.0f} s, of them {took}")
    print(f"{sum(rounds.kills.values())} kills, {rounds.sent.count} records sent; {told}")
    print("1 passed, 0 failed")


if __name__ == "__main__":
    main()
