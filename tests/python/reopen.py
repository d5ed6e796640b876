"""Measures how long a real `dvse serve` takes from the start of its process to the answer of the first query.

Loads the vectors into a fresh folder, stops cleanly, and then starts the server again and again: with the files in
the page cache, and, where root may drop it, without. The first answer must be right.

    python tests/python/reopen.py --base base.npy --queries queries.npy --truth gt.npy --metric cosine
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import pathlib
import sys
import tempfile
import time

import numpy as np

from loaded import load, settle
from rest import Rest
from server import Server

DROP_CACHES = pathlib.Path("/proc/sys/vm/drop_caches")


def first_answer(server: Server, query: np.ndarray) -> tuple[float, list[int]]:
    """Starts the process; returns the seconds until the first query was answered, and the ids found."""
    body = json.dumps({"query": query.tolist(), "limit": 10, "params": {"hnsw_ef": 128}})
    headers = {"content-type": "application/json"}
    started = time.monotonic()
    server.spawn()
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        try:
            connection.request("POST", "/collections/c/points/query", body, headers)
            reply = connection.getresponse()
            answer = json.loads(reply.read())
        except ConnectionRefusedError:
            if server.process.poll() is not None:
                raise RuntimeError(f"the server ended:\n{server.log_text()}") from None
            time.sleep(0.001)
            continue
        seconds = time.monotonic() - started
        if reply.status != 200:
            raise RuntimeError(f"{reply.status}: {answer}")
        return seconds, [point["id"] for point in answer["result"]["points"]]


def measure(server: Server, queries: np.ndarray, truth: np.ndarray, rounds: int, cold: bool) -> list[float]:
    seconds, hits = [], 0
    for number in range(rounds):
        if cold:
            os.sync()
            DROP_CACHES.write_text("3")
        taken, found = first_answer(server, queries[number].astype(np.float32))
        assert server.stop() == 0, server.log_text()
        seconds.append(taken)
        hits += len(set(found) & set(truth[number, :10].tolist()))
    recall = hits / (10 * rounds)
    assert recall >= 0.9, f"the first answers have recall {recall}"
    what = "page cache dropped" if cold else "files in the page cache"
    print(f"{what}: {rounds} starts, first answer after {np.median(seconds):.3f} s median, {max(seconds):.3f} s worst")
    return seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=pathlib.Path, required=True)
    parser.add_argument("--queries", type=pathlib.Path, required=True)
    parser.add_argument("--truth", type=pathlib.Path, required=True, help="row numbers of the nearest, best first")
    parser.add_argument("--metric", default="cosine")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--limit-s", type=float, default=0.5, help="what the files in the page cache must stay below")
    arguments = parser.parse_args()
    queries, truth = np.load(arguments.queries), np.load(arguments.truth)
    with tempfile.TemporaryDirectory(prefix="dvse-reopen-") as folder, Server(pathlib.Path(folder)) as server:
        server.start()
        loaded_s = load(server, "c", arguments.base, arguments.metric)
        settled_s = settle(Rest(server.port), "c")
        info = Rest(server.port).call("GET", "/collections/c")
        print(f"{info['points_count']} points loaded in {loaded_s:.1f} s, settled {settled_s:.1f} s later, ", end="")
        print(f"{info['segments_count']} segments", flush=True)
        assert server.stop() == 0, server.log_text()
        warm = measure(server, queries, truth, arguments.rounds, cold=False)
        if os.access(DROP_CACHES, os.W_OK):
            measure(server, queries, truth, arguments.rounds, cold=True)
        else:
            print("page cache dropped: not measured, this process may not drop it")
    if max(warm) > arguments.limit_s:
        print(f"above the limit of {arguments.limit_s} s")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
