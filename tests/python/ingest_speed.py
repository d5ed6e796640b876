"""Measures the way from `dvse produce` to a collection: records a second, and the time from a record's line to its point.

    DVSE_BIN=target/release/dvse python tests/python/ingest_speed.py
    DVSE_BIN=target/release/dvse python tests/python/ingest_speed.py --inside     # the pipeline as a role of the server
    DVSE_PULSAR_JARS=$(.ci/pulsar-jars) DVSE_BIN=… python tests/python/ingest_speed.py --source pulsar
"""

from __future__ import annotations

import argparse
import json
import pathlib
import random
import subprocess
import tempfile
import time

import numpy as np

import logs
from rest import Rest
from server import BINARY, Server

RECORDS = 50_000
SINGLE = 300
WORDS = "river boat stone bird cloud glass winter music bread letter garden engine signal paper copper island".split()


def record(number: int, chooser: random.Random) -> bytes:
    text = " ".join(chooser.choices(WORDS, k=10))
    fields = {"source_id": f"s{number}", "timestamp": 1_700_000_000_000, "id": number, "payload": {"n": number}, "text": text}
    return json.dumps(fields).encode() + b"\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", choices=["file", "pulsar"], default="file")
    parser.add_argument("--inside", action="store_true", help="the pipeline runs in `dvse serve --ingest`")
    arguments = parser.parse_args()
    chooser = random.Random(1)
    with (
        tempfile.TemporaryDirectory(prefix="dvse-ingest-speed-") as name,
        logs.opened(arguments.source, pathlib.Path(name)) as opened,
        Server(pathlib.Path(name)) as server,
    ):
        log, lines = opened.place, pathlib.Path(name) / "records.jsonl"
        server.start(arguments=["--ingest", log, "--collection", "c"] if arguments.inside else [])
        lines.write_bytes(b"".join(record(number, chooser) for number in range(RECORDS)))
        produce = [str(BINARY), "produce", "--quiet", "--to", log, "--file"]
        ingest = [str(BINARY), "ingest", "--quiet", "--from", log, "--url", server.url, "--collection", "c"]
        steer = lambda verb: [str(BINARY), "ingest", verb, "--url", server.url]
        if arguments.inside:
            subprocess.run(steer("pause"), check=True, stdout=subprocess.DEVNULL)
        # Drained, a role looks for what it may have missed; that is 0.1 s of the time.
        empty = steer("drain") if arguments.inside else [*ingest, "--until-empty"]
        for step, command in [("produce", [*produce, str(lines)]), ("ingest", empty)]:
            started = time.monotonic()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            print(f"{step}: {RECORDS / (time.monotonic() - started):,.0f} records a second")
        if arguments.inside:
            subprocess.run(steer("resume"), check=True, stdout=subprocess.DEVNULL)
        worker = None if arguments.inside else subprocess.Popen(ingest, stdout=subprocess.DEVNULL)
        sender = subprocess.Popen([*produce, "-"], stdin=subprocess.PIPE)
        rest, times = Rest(server.port), []
        # The first records also wait for the two processes to start.
        for number in range(RECORDS, RECORDS + SINGLE + 20):
            line = record(number, chooser)
            started = time.perf_counter()
            sender.stdin.write(line)
            sender.stdin.flush()
            while not rest.call("POST", "/collections/c/points", {"ids": [number]}):
                time.sleep(0.0005)
            times.append(1000 * (time.perf_counter() - started))
            time.sleep(0.02)
        p50, p99 = np.percentile(times[20:], [50, 99])
        print(f"from a line to its point, one at a time: p50 {p50:.1f} ms, p99 {p99:.1f} ms, worst {max(times[20:]):.1f} ms")
        sender.stdin.close()
        assert sender.wait(timeout=60) == 0
        if worker:
            worker.terminate()
            assert worker.wait(timeout=60) == 0
        assert server.stop() == 0


if __name__ == "__main__":
    main()
