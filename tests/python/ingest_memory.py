"""Measures the memory of `dvse ingest` beside a model that is far slower than whoever sends, and checks that the bound on what waits holds the
sender. The binary needs the feature `python` for the Python of VIRTUAL_ENV, and `pulsar` for that.

    VIRTUAL_ENV=… DVSE_BIN=… python tests/python/ingest_memory.py [--source pulsar] [--one]
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import threading
import time

import logs
from loaded import resident_bytes
from rest import Rest
from server import BINARY, Server

MIB = 1 << 20
# 64 texts at a time, a second each: 64 texts a second.
MODEL = """
import time
import numpy

model_name, model_revision, model_hash = "slow", "1", "1"
ROW = numpy.ones(768, dtype="float32")

def embed(texts):
    time.sleep(len(texts) / 64)
    return numpy.ascontiguousarray(numpy.tile(ROW, (len(texts), 1)))
"""


class Sender:
    """`dvse produce`, fed as fast as it reads, for some time."""

    def __init__(self, place: str, payload_bytes: int, records: int):
        self.process = subprocess.Popen(
            [str(BINARY), "produce", "--to", place, "--file", "-", "--quiet"], stdin=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self.payload, self.records, self.sent = "x" * payload_bytes, records, 0
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self.feed)
        self.thread.start()

    def feed(self) -> None:
        try:
            while self.sent < self.records and not self.is_over.is_set():
                record = {"source_id": "m", "timestamp": 0, "id": self.sent, "payload": {"p": self.payload}, "text": f"text {self.sent}"}
                self.process.stdin.write(json.dumps(record).encode() + b"\n")
                self.sent += 1
            self.process.stdin.flush()
        except BrokenPipeError:
            pass

    def end(self) -> None:
        self.is_over.set()
        self.process.kill()
        self.process.wait()
        self.thread.join()


def measure(arguments: argparse.Namespace, name: str, payload_bytes: int, records: int, backlog_mib: int) -> None:
    with tempfile.TemporaryDirectory(prefix="dvse-ingest-memory-") as place, logs.opened(arguments.source, pathlib.Path(place)) as log:
        folder = pathlib.Path(place)
        (folder / "slow.py").write_text(MODEL)
        environment = os.environ | {"PYTHONPATH": str(folder)}
        model = ["--embedder", "python:slow:embed", "--collection", "c"]
        if not log.broker:
            ensure = [str(BINARY), "topics", "ensure", "--log", log.place, "--backlog-mib", str(backlog_mib)]
            subprocess.run(ensure, check=True, stdout=subprocess.DEVNULL)
        server = Server(folder, {"limits.body_bytes_max": "64 MiB"})
        ingest = None
        try:
            if arguments.one:
                server.start(arguments=["--ingest", log.place, *model], environment={"PYTHONPATH": str(folder)})
                process = server.process
            else:
                server.start()
                command = [str(BINARY), "ingest", "--from", log.place, "--url", server.url, *model, "--quiet"]
                ingest = process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
            # With the model, before the first record.
            rest, deadline = Rest(server.port), time.monotonic() + 60
            while not (sources := has_sources(rest)) and time.monotonic() < deadline:
                time.sleep(0.1)
            assert sources, "ingest has not begun"
            idle = resident_bytes(process.pid)
            started = time.monotonic()
            sender = Sender(log.place, payload_bytes, records)
            try:
                rate = 0.0
                while time.monotonic() - started < arguments.seconds:
                    time.sleep(0.05)
                    assert process.poll() is None, "ingest ended"
                    # As long as nothing held it, or there was more to send.
                    if not rate and sender.sent >= min(sender.records, 0.8 * 4 * backlog_mib * MIB / payload_bytes):
                        rate = sender.sent / (time.monotonic() - started)
                peak = resident_bytes(process.pid)
                done = rest.call("POST", "/collections/c/points/count", {"exact": True})["count"]
                is_held = sender.process.poll() is None and sender.sent < sender.records
                waiting = (sender.sent - done) * payload_bytes / MIB
            finally:
                sender.end()
            slow, grown = done / arguments.seconds, (peak["VmHWM"] - idle["VmRSS"]) / MIB
            # What a node keeps of its points before they are sealed is the collection's.
            points = done * payload_bytes / MIB if arguments.one else 0
            print(
                f"{name}: sent {rate or sender.sent / arguments.seconds:,.0f} a second, ingested {slow:,.0f} a second; "
                f"{idle['VmRSS'] / MIB:.0f} MiB with the model, at most {peak['VmHWM'] / MIB:.0f} MiB, so {grown:.0f} MiB more"
                f"{f', of which {points:.0f} MiB are points' if points else ''}; {waiting:.0f} MiB wait, the sender {'is held' if is_held else 'is not held'}",
                flush=True,
            )
            assert grown - points <= 512, f"{grown:.0f} MiB beside the model"
            if not log.broker:
                # What is in pipes and buffers between here and the log has a bound, too.
                assert is_held and waiting <= 4 * backlog_mib + 32, "the bound did not hold the sender"
        finally:
            for process in (ingest, server.process):
                if process and process.poll() is None:
                    process.send_signal(signal.SIGKILL)
                    process.wait()


def has_sources(rest: Rest) -> bool:
    try:
        return len(rest.call("GET", "/collections/c/sources")) == 4
    except RuntimeError:
        return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", choices=["file", "pulsar"], default="file")
    parser.add_argument("--one", action="store_true", help="one process, dvse serve --ingest")
    parser.add_argument("--seconds", type=float, default=30.0)
    arguments = parser.parse_args()
    measure(arguments, "records of 1 KiB", 1 << 10, 1_000_000, 16)
    measure(arguments, "records of 1 MiB", MIB, 4_000, 64)
    if not arguments.source == "pulsar":
        measure(arguments, "records of 15 MiB", 15 * MIB, 400, 64)
    print("passed")


if __name__ == "__main__":
    main()
