"""Fills a collection of a real `dvse serve` from a file, as a person would, and waits until it is settled."""

from __future__ import annotations

import pathlib
import subprocess
import time

from rest import Rest
from server import BINARY, Server


def load(server: Server, collection: str, base: pathlib.Path, metric: str) -> float:
    """Writes a file of vectors with `dvse import`, and returns the seconds that took."""
    started = time.monotonic()
    command = [str(BINARY), "import", str(base), "--collection", collection, "--metric", metric, "--quiet"]
    subprocess.run([*command, "--url", server.url], check=True)
    return time.monotonic() - started


def settle(rest: Rest, collection: str, deadline_s: float = 600.0) -> float:
    """Waits until the background has come to rest; returns the seconds that took.

    A growing segment keeps its last rows, fewer than a batch, out of the graph until more come: so what is looked for
    is an end of change, not every vector in a graph.
    """
    started = time.monotonic()
    looks: list[tuple] = []
    while len(looks) < 4 or len(set(looks[-4:])) > 1:
        if time.monotonic() - started > deadline_s:
            raise RuntimeError(f"not settled after {deadline_s} s: {looks[-1]}")
        time.sleep(0.5)
        info = rest.call("GET", f"/collections/{collection}")
        state = (info["segments_count"], info["indexed_vectors_count"], info["points_count"])
        # Green says that no work is known of, so anything else is a change to come.
        looks.append(state if info["status"] == "green" else (len(looks),))
    return time.monotonic() - started


def resident_bytes(pid: int) -> dict[str, int]:
    """The lines of `/proc/PID/status` about resident memory, in bytes."""
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = (line.split() for line in lines if line.startswith(("VmHWM", "VmRSS", "RssAnon", "RssFile")))
    return {name.rstrip(":"): int(kib) * 1024 for name, kib, _ in fields}
