"""Kills a real `dvse serve` at random moments and checks that nothing acknowledged is lost.

Several writers send upserts, overwrites, payload changes and deletes with wait=true. After each kill the server is
started again on the same folder, and then every acknowledged point must be there with its last value, no deleted point
may be back, counts must be right, and the index must find what exact search finds. A write in flight at the kill may
have happened or not, but only as a whole.

    python tests/python/crash.py --rounds 100 --seed 1
"""

from __future__ import annotations

import argparse
import http.client
import pathlib
import random
import tempfile
import threading
import time

import numpy as np

from rest import Rest
from server import Server

DIM = 32
WRITERS = 4
IDS_PER_WRITER = 2_000
BATCH_MAX = 64


def vector_of(point_id: int, version: int) -> np.ndarray:
    return np.random.default_rng([point_id, version]).normal(size=DIM).astype(np.float32)


class Writer(threading.Thread):
    """Owns a range of ids and knows, for each, every state it may be in: one once acknowledged, two while in flight."""

    def __init__(self, number: int, seed: int):
        super().__init__(daemon=True)
        self.first = number * IDS_PER_WRITER
        self.random = random.Random(seed * 1000 + number)
        self.port = 0
        self.version = 0
        self.acknowledged = 0
        # id -> (version of the vector, value of the payload's key `n`); missing: not there.
        self.state: dict[int, tuple[int, int]] = {}
        # What the write in flight would change: id -> new state or None.
        self.pending: dict[int, tuple[int, int] | None] = {}
        self.stop = False
        self.failure: Exception | None = None

    def again(self, port: int) -> "Writer":
        fresh = Writer.__new__(Writer)
        threading.Thread.__init__(fresh, daemon=True)
        fresh.__dict__ |= {
            key: self.__dict__[key] for key in ("first", "random", "version", "acknowledged", "state", "pending")
        }
        fresh.port, fresh.stop, fresh.failure = port, False, None
        return fresh

    def run(self) -> None:
        rest = Rest(self.port)
        while not self.stop:
            try:
                self.write(rest)
            except (OSError, http.client.HTTPException):
                return  # The kill came first; `pending` says what may or may not have happened.
            except Exception as error:  # noqa: BLE001 - reported by the main thread
                self.failure = error
                return
            for point_id, state in self.pending.items():
                if state is None:
                    self.state.pop(point_id, None)
                else:
                    self.state[point_id] = state
            self.pending = {}
            self.acknowledged += 1

    def write(self, rest: Rest) -> None:
        chosen = self.random.sample(range(self.first, self.first + IDS_PER_WRITER), self.random.randint(1, BATCH_MAX))
        self.version += 1
        kind = self.random.random()
        if kind < 0.7:
            self.pending = {point_id: (self.version, self.version) for point_id in chosen}
            points = [
                {"id": point_id, "vector": vector_of(point_id, self.version).tolist(), "payload": {"n": self.version}}
                for point_id in chosen
            ]
            rest.call("PUT", "/collections/c/points?wait=true", {"points": points})
        elif kind < 0.85:
            self.pending = {point_id: None for point_id in chosen}
            rest.call("POST", "/collections/c/points/delete?wait=true", {"points": chosen})
        else:
            there = [point_id for point_id in chosen if point_id in self.state]
            self.pending = {point_id: (self.state[point_id][0], self.version) for point_id in there}
            body = {"payload": {"n": self.version}, "points": there}
            rest.call("POST", "/collections/c/points/payload?wait=true", body)

    def settle(self, rest: Rest) -> None:
        """Compares what the server has with what it may have; what was in flight is decided by what is found."""
        wanted = list(range(self.first, self.first + IDS_PER_WRITER))
        found = {
            point["id"]: point for point in rest.call("POST", "/collections/c/points", {"ids": wanted, "with_vector": True})
        }

        def holds(point_id: int, state: tuple[int, int] | None) -> bool:
            point = found.get(point_id)
            if state is None or point is None:
                return state is None and point is None
            same = np.array_equal(np.asarray(point["vector"], dtype=np.float32), vector_of(point_id, state[0]))
            return same and point["payload"] == {"n": state[1]}

        happened = {holds(i, new) for i, new in self.pending.items() if new != self.state.get(i)}
        if len(happened) > 1:
            raise AssertionError(f"a write in flight happened in part: {sorted(self.pending)[:10]} …")
        if happened == {True}:
            for point_id, state in self.pending.items():
                if state is None:
                    self.state.pop(point_id, None)
                else:
                    self.state[point_id] = state
        self.pending = {}
        for point_id in wanted:
            if not holds(point_id, self.state.get(point_id)):
                raise AssertionError(
                    f"point {point_id}: expected version {self.state.get(point_id)}, found {str(found.get(point_id))[:200]}"
                )


def check(rest: Rest, writers: list[Writer], rng: np.random.Generator) -> float:
    """Compares the whole collection, and returns recall@10 of the index against exact search in NumPy."""
    for writer in writers:
        writer.settle(rest)
    expected = {point_id: state for writer in writers for point_id, state in writer.state.items()}
    count = rest.call("POST", "/collections/c/points/count", {"exact": True})["count"]
    assert count == len(expected), f"count is {count}, expected {len(expected)}"
    ids = sorted(expected)
    if len(ids) < 10:
        return 1.0
    rows = np.stack([vector_of(point_id, expected[point_id][0]) for point_id in ids])
    hits = 0
    for query in rng.normal(size=(10, DIM)).astype(np.float32):
        true = {ids[row] for row in np.argsort(((rows - query) ** 2).sum(axis=1))[:10]}
        body = {"query": query.tolist(), "limit": 10, "params": {"hnsw_ef": 128}}
        answer = [point["id"] for point in rest.call("POST", "/collections/c/points/query", body)["points"]]
        assert set(answer) <= set(ids), f"a point that is not there was found: {set(answer) - set(ids)}"
        hits += len(true & set(answer))
    return hits / 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--recall-floor", type=float, default=0.95)
    arguments = parser.parse_args()
    print(f"crash test: {arguments.rounds} rounds, seed {arguments.seed}", flush=True)
    rng = np.random.default_rng(arguments.seed)
    moments = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory(prefix="dvse-crash-") as folder:
        # Small segments, so that kills also fall into sealing and merging.
        server = Server(pathlib.Path(folder), {"storage.growing_rows_max": "1000"})
        server.start()
        vectors = {"size": DIM, "distance": "Euclid"}
        # The lowest threshold there is, so that these small segments have graphs and are searched by them.
        body = {"vectors": vectors, "hnsw_config": {"full_scan_threshold": 10}}
        Rest(server.port).call("PUT", "/collections/c", body)
        writers = [Writer(number, arguments.seed) for number in range(WRITERS)]
        recalls, starts = [], []
        for number in range(arguments.rounds):
            writers = [writer.again(server.port) for writer in writers]
            for writer in writers:
                writer.start()
            time.sleep(moments.uniform(0.02, 1.0))
            server.kill()
            for writer in writers:
                writer.stop = True
            for writer in writers:
                writer.join()
                if writer.failure:
                    raise writer.failure
            if moments.random() < 0.2:
                # Opening is a time to be killed in too.
                server.spawn()
                time.sleep(moments.uniform(0.0, 0.05))
                server.kill()
            starts.append(server.start())
            try:
                recalls.append(check(Rest(server.port), writers, rng))
            except Exception:
                print(f"round {number}, seed {arguments.seed}; the server's log ends:\n{server.log_text()}")
                raise
        acknowledged = sum(writer.acknowledged for writer in writers)
        assert server.stop() == 0, server.log_text()
        assert "panicked" not in server.log_text(), server.log_text()
    recall = float(np.mean(recalls))
    print(
        f"{arguments.rounds} kills, {acknowledged} acknowledged writes, {sum(len(w.state) for w in writers)} points; "
        f"recall@10 {recall:.4f} on average, {min(recalls):.2f} at worst; "
        f"start after a kill {np.median(starts):.2f} s median, {max(starts):.2f} s worst"
    )
    assert recall >= arguments.recall_floor, f"recall {recall} is below {arguments.recall_floor}"
    print("1 passed, 0 failed")


if __name__ == "__main__":
    main()
