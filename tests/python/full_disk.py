"""Fills the disk under a real `dvse serve` and checks what it promises: writes are refused, reads go on, nothing
acknowledged is lost, and writes work again once there is space.

The disk is a small file system of its own: an image of ext4 on a loop device, or one in memory where that cannot be
had. Mounting needs root; without it the test says so and ends with status 77.

    python tests/python/full_disk.py --file-system tmpfs --mib 144
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np

from rest import Refused, Rest
from server import Server

DIM = 128
WRITERS = 3
IDS_PER_WRITER = 40_000
BATCH_MAX = 200
# A writer stops once so many writes in a row were refused.
REFUSALS_MAX = 12
# What the disk is filled with beside the collections: removing it is what makes space.
BALLAST_BYTES = 64 << 20


class NoMount(Exception):
    """The system does not let this process mount a file system."""


@contextlib.contextmanager
def small_disk(kind: str, folder: pathlib.Path, mib: int):
    """Mounts a file system of so many MiB, and takes it away again."""
    place = folder / "disk"
    place.mkdir()
    if kind == "tmpfs":
        command = ["mount", "-t", "tmpfs", "-o", f"size={mib}m", "dvse-full-disk", str(place)]
    else:
        image = folder / "image"
        with open(image, "wb") as file:
            file.truncate(mib << 20)
        # Without space that only root may use, so that the disk is as full for this process as for any.
        run(["mkfs.ext4", "-q", "-m", "0", str(image)])
        command = ["mount", "-o", "loop", str(image), str(place)]
    run(command)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        raise NoMount(f"{command[0]}: {error}") from None
    if done.returncode != 0:
        raise NoMount(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")


def free_bytes(place: pathlib.Path) -> int:
    status = os.statvfs(place)
    return status.f_bavail * status.f_frsize


def vector_of(point_id: int, version: int) -> np.ndarray:
    return np.random.default_rng([point_id, version]).normal(size=DIM).astype(np.float32)


class Writer(threading.Thread):
    """Owns a range of ids and knows the state of each: a refused write changes nothing."""

    def __init__(self, number: int, seed: int, port: int, state: dict[int, int]):
        super().__init__(daemon=True)
        self.first = number * IDS_PER_WRITER
        self.random = random.Random(seed * 1000 + number)
        self.rest = Rest(port)
        self.state = state
        self.version = max(state.values(), default=0)
        self.acknowledged = 0
        self.refusals: list[Refused] = []
        self.failure: Exception | None = None

    def run(self) -> None:
        in_a_row = 0
        try:
            while in_a_row < REFUSALS_MAX:
                try:
                    self.write()
                except Refused as refused:
                    if refused.status != 507:
                        raise
                    self.refusals.append(refused)
                    in_a_row += 1
                else:
                    self.acknowledged += 1
                    in_a_row = 0
        except Exception as error:  # noqa: BLE001 - reported by the main thread
            self.failure = error

    def write(self) -> None:
        self.version += 1
        if self.random.random() < 0.1 and self.state:
            gone = self.random.sample(sorted(self.state), min(len(self.state), self.random.randint(1, 20)))
            self.rest.call("POST", "/collections/c/points/delete?wait=true", {"points": gone})
            for point_id in gone:
                del self.state[point_id]
            return
        size = self.random.randint(1, BATCH_MAX)
        chosen = self.random.sample(range(self.first, self.first + IDS_PER_WRITER), size)
        points = [
            {"id": i, "vector": vector_of(i, self.version).tolist(), "payload": {"n": self.version}} for i in chosen
        ]
        self.rest.call("PUT", "/collections/c/points?wait=true", {"points": points})
        self.state.update(dict.fromkeys(chosen, self.version))


def check(rest: Rest, expected: dict[int, int]) -> None:
    """Compares every point, the count and some searches with what was acknowledged."""
    count = rest.call("POST", "/collections/c/points/count", {"exact": True})["count"]
    assert count == len(expected), f"count is {count}, expected {len(expected)}"
    offset, seen = None, 0
    while True:
        body = {"limit": 5_000, "with_vector": True, "with_payload": True} | ({"offset": offset} if offset else {})
        page = rest.call("POST", "/collections/c/points/scroll", body)
        for point in page["points"]:
            version = expected.get(point["id"])
            assert version is not None, f"point {point['id']} was deleted, or never acknowledged"
            assert point["payload"] == {"n": version}, f"point {point['id']}: {point['payload']}, expected {version}"
            vector = np.asarray(point["vector"], dtype=np.float32)
            assert np.array_equal(vector, vector_of(point["id"], version)), f"point {point['id']} has another vector"
        seen += len(page["points"])
        offset = page["next_page_offset"]
        if offset is None:
            break
    assert seen == len(expected), f"{seen} points were read, expected {len(expected)}"
    for point_id in sorted(expected)[:: max(1, len(expected) // 10)]:
        body = {"query": vector_of(point_id, expected[point_id]).tolist(), "limit": 1, "params": {"hnsw_ef": 256}}
        found = rest.call("POST", "/collections/c/points/query", body)["points"]
        assert found[0]["id"] == point_id, f"the nearest to point {point_id} is {found[0]}"


def fill(server: Server, seed: int, states: list[dict[int, int]]) -> None:
    """Writes from several connections until each has been refused many times in a row."""
    writers = [Writer(number, seed, server.port, state) for number, state in enumerate(states)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        if writer.failure:
            raise writer.failure
    refusals = [refused for writer in writers for refused in writer.refusals]
    acknowledged = sum(writer.acknowledged for writer in writers)
    print(f"  {acknowledged} writes acknowledged, {len(refusals)} refused, {free_bytes(server.data)} bytes free")
    for refused in refusals:
        status = refused.body["status"]
        assert status["error"].startswith("No space left on device: "), refused
        assert status["code"] == "out_of_space" and "Free space" in status["help"], refused
    assert refusals, "no write was refused"
    print(f"  the first refusal: {refusals[0].body['status']['error']}")


def write_until_taken(rest: Rest, states: list[dict[int, int]], deadline_s: float = 60.0) -> float:
    """Writes a point until it is acknowledged, and returns the seconds that took."""
    started = time.monotonic()
    while True:
        try:
            point = {"id": 0, "vector": vector_of(0, 1_000_000).tolist(), "payload": {"n": 1_000_000}}
            rest.call("PUT", "/collections/c/points?wait=true", {"points": [point]})
            states[0][0] = 1_000_000
            return time.monotonic() - started
        except Refused as refused:
            if refused.status != 507 or time.monotonic() - started > deadline_s:
                raise
            time.sleep(0.1)


def together(states: list[dict[int, int]]) -> dict[int, int]:
    return {point_id: version for state in states for point_id, version in state.items()}


def scenario(server: Server, place: pathlib.Path, seed: int) -> None:
    ballast, reserve = place / "ballast", place / "reserve"
    for path in (ballast, reserve):
        with open(path, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, BALLAST_BYTES // 2)
    states: list[dict[int, int]] = [{} for _ in range(WRITERS)]

    server.start()
    rest = Rest(server.port)
    vectors = {"vectors": {"size": DIM, "distance": "Euclid"}}
    rest.call("PUT", "/collections/c", vectors)
    rest.call("PUT", "/collections/other", vectors)
    points = [{"id": i, "vector": vector_of(i, 1).tolist()} for i in range(2_000)]
    rest.call("PUT", "/collections/other/points?wait=true", {"points": points})

    print("filling the disk")
    fill(server, seed, states)
    check(rest, together(states))

    print("killing the server and starting it on the full disk")
    server.kill()
    server.start()
    rest = Rest(server.port)
    check(rest, together(states))

    print("freeing space while it runs")
    ballast.unlink()
    print(f"  a write was taken after {write_until_taken(rest, states):.2f} s")
    check(rest, together(states))

    print("filling the disk again, and stopping the server on it")
    fill(server, seed + 1, states)
    check(rest, together(states))
    status = server.stop()
    print(f"  exit status {status}")
    server.start()
    rest = Rest(server.port)
    check(rest, together(states))

    print("dropping a collection to make space")
    rest.call("DELETE", "/collections/other")
    print(f"  {free_bytes(place)} bytes free, a write was taken after {write_until_taken(rest, states):.2f} s")
    check(rest, together(states))

    # A clean stop writes what is still in memory: how much that is depends on how far sealing came.
    print("freeing more, stopping and starting again")
    reserve.unlink()
    status = server.stop()
    assert status == 0, f"exit status {status} with space on the disk:\n{server.log_text()}"
    server.start()
    check(Rest(server.port), together(states))
    assert server.stop() == 0, server.log_text()
    assert "panicked" not in server.log_text(), server.log_text()


def run_on(kind: str, mib: int, seed: int) -> None:
    print(f"full disk: {kind} of {mib} MiB, seed {seed}", flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="dvse-full-disk-") as folder,
        small_disk(kind, pathlib.Path(folder), mib) as place,
    ):
        # Small segments, so that the disk runs full under sealing and merging too.
        with Server(pathlib.Path(folder), {"storage.growing_rows_max": "4000"}, data=place / "data") as server:
            try:
                scenario(server, place, seed)
            except BaseException:
                print(f"the server's log ends:\n{server.log_text()}")
                raise


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file-system", choices=["ext4", "tmpfs"], help="default: the first that can be mounted")
    parser.add_argument("--mib", type=int, default=144)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    arguments = parser.parse_args()
    for kind in [arguments.file_system] if arguments.file_system else ["ext4", "tmpfs"]:
        try:
            run_on(kind, arguments.mib, arguments.seed)
            break
        except NoMount as reason:
            print(f"cannot mount {kind}: {reason}")
    else:
        return 77
    print("1 passed, 0 failed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
