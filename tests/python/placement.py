"""Measures what `on_disk` and `rerank` do to the memory of a real `dvse serve`, and to its speed where memory is short.

    python tests/python/placement.py --base base.npy --queries queries.npy --metric cosine --limit-mib 120

Vectors are loaded once. Then, for each way to place them, the server is started anew with none of its files in the page
cache, and asked all queries twice: without a limit, and in a memory cgroup (version 1, which takes root) of the size
given. Page faults and bytes read are those of the second time, when what fits into memory is there.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import sys
import tempfile
import time

import numpy as np

from loaded import load, resident_bytes, settle
from rest import Rest
from server import Server

GROUP = pathlib.Path("/sys/fs/cgroup/memory/dvse-placement")

# Only a change of `rerank` builds anything, so it comes once.
PLACES = [
    (f"{name}{', f16' if rerank == 'f16' else ''}", {"on_disk": on_disk}, {"rerank": rerank, "hnsw_config": {"on_disk": index}})
    for rerank in ("f32", "f16")
    for name, on_disk, index in (("default", False, False), ("vectors on disk", True, False), ("all on disk", True, True))
]


class Limited(Server):
    """A server whose memory, page cache included, has a limit."""

    limit_bytes: int | None = None

    def spawn(self) -> None:
        """The process is born in the group, so that all it touches is counted."""
        mine = pathlib.Path("/proc/self/cgroup").read_text().splitlines()
        own = next(line.split(":", 2)[2] for line in mine if ":memory:" in line)
        if self.limit_bytes is not None:
            (GROUP / "memory.force_empty").write_text("0")
            (GROUP / "memory.limit_in_bytes").write_text(str(self.limit_bytes))
            (GROUP / "cgroup.procs").write_text(str(os.getpid()))
        try:
            super().spawn()
        finally:
            if self.limit_bytes is not None:
                (GROUP.parent / own.lstrip("/") / "cgroup.procs").write_text(str(os.getpid()))


def forget(folder: pathlib.Path) -> None:
    """Drops the pages of all files from the page cache."""
    for path in folder.rglob("*"):
        if path.is_file():
            with open(path, "rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def counters(pid: int) -> tuple[int, int]:
    """Major faults, and bytes read from the disk."""
    stat = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    io = dict(line.split(": ") for line in pathlib.Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(stat[9]), int(io["read_bytes"])


def ask(rest: Rest, queries: list, ef: int) -> np.ndarray:
    """Milliseconds of each query."""
    times = []
    for query in queries:
        body = {"query": query, "limit": 10, "params": {"hnsw_ef": ef}}
        started = time.perf_counter()
        rest.call("POST", "/collections/c/points/query", body)
        times.append((time.perf_counter() - started) * 1e3)
    return np.asarray(times)


def measure(server: Limited, queries: list, ef: int, limit: int | None) -> str:
    forget(server.folder)
    server.limit_bytes = limit
    server.start()
    pid = server.process.pid
    # The files are checked in the background after a start.
    last, quiet = counters(pid), 0
    while quiet < 4:
        time.sleep(0.25)
        now = counters(pid)
        quiet, last = (quiet + 1 if now == last else 0), now
    rest = Rest(server.port)
    opened = resident_bytes(pid)
    first = ask(rest, queries, ef)
    before = counters(pid)
    times = ask(rest, queries, ef)
    faults, read = (now - then for now, then in zip(counters(pid), before))
    asked = resident_bytes(pid)
    assert server.stop() == 0, server.log_text()
    cells = [opened["RssAnon"], opened["RssFile"], asked["RssAnon"], asked["RssFile"]]
    parts = [f"{value / 2**20:9.1f}" for value in cells]
    parts += [f"{np.median(first):9.3f}", f"{np.median(times):9.3f}", f"{np.percentile(times, 99):9.3f}"]
    parts += [f"{faults / len(queries):9.2f}", f"{read / len(queries) / 1024:9.1f}"]
    return "".join(parts)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=pathlib.Path, required=True)
    parser.add_argument("--queries", type=pathlib.Path, required=True)
    parser.add_argument("--metric", default="cosine")
    parser.add_argument("--ef", type=int, default=64)
    parser.add_argument("--limit-mib", type=int, help="of the second measurement of each place; without it there is none")
    arguments = parser.parse_args()
    queries = np.load(arguments.queries)[:1000].astype(np.float32).tolist()
    if arguments.limit_mib:
        GROUP.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="dvse-placement-") as folder, Limited(pathlib.Path(folder)) as server:
        server.start()
        load(server, "c", arguments.base, arguments.metric)
        settle(Rest(server.port), "c")
        assert server.stop() == 0, server.log_text()
        print("MiB resident, anonymous and of files, opened and after the queries; ms a query the first time, the second time")
        print("(median, 99th percentile); major faults and KiB read a query the second time")
        for name, field, collection in PLACES:
            server.limit_bytes = None
            server.start()
            rest = Rest(server.port)
            rest.call("PATCH", "/collections/c", {"vectors": {"": field}, **collection})
            while rest.call("GET", "/collections/c")["segments_to_rebuild"] > 0:
                time.sleep(0.2)
            settle(rest, "c")
            assert server.stop() == 0, server.log_text()
            for limit in [None, arguments.limit_mib] if arguments.limit_mib else [None]:
                bound = "no limit" if limit is None else f"{limit} MiB"
                print(f"{name:22}{bound:10}" + measure(server, queries, arguments.ef, limit and limit << 20), flush=True)
    if arguments.limit_mib:
        GROUP.rmdir()
    return 0


if __name__ == "__main__":
    sys.exit(main())
