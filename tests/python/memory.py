"""Measures how much memory a real `dvse serve` takes to load vectors, against the vectors themselves as float32.

    python tests/python/memory.py --base train-images-idx3-ubyte.gz --metric l2
"""

from __future__ import annotations

import argparse
import pathlib
import sys
import tempfile

import numpy as np

from loaded import load, resident_bytes, settle
from rest import Rest
from server import Server


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=pathlib.Path, required=True)
    parser.add_argument("--metric", default="l2")
    parser.add_argument("--searches", type=int, default=1000, help="random queries after loading")
    parser.add_argument("--limit", type=float, default=1.35, help="what the peak must stay below, in raw vectors")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dvse-memory-") as folder, Server(pathlib.Path(folder)) as server:
        server.start()
        empty = resident_bytes(server.process.pid)
        loaded_s = load(server, "c", arguments.base, arguments.metric)
        after_load = resident_bytes(server.process.pid)
        rest = Rest(server.port)
        settled_s = settle(rest, "c")
        settled = resident_bytes(server.process.pid)
        info = rest.call("GET", "/collections/c")
        dim = info["config"]["params"]["vectors"]["size"]
        raw = info["points_count"] * dim * 4
        sample = rest.call("POST", "/collections/c/points/scroll", {"limit": 100, "with_vector": True})["points"]
        rng = np.random.default_rng(1)
        scale = float(np.std([point["vector"] for point in sample]))
        for number in range(arguments.searches):
            near = np.asarray(sample[number % len(sample)]["vector"]) + rng.normal(size=dim) * scale / 10
            rest.call("POST", "/collections/c/points/query", {"query": near.tolist(), "limit": 10})
        searched = resident_bytes(server.process.pid)
        assert server.stop() == 0, server.log_text()
        server.start()
        reopened = resident_bytes(server.process.pid)
        assert server.stop() == 0, server.log_text()
    print(f"{info['points_count']} × {dim}: {raw / 2**20:.1f} MiB raw; loaded in {loaded_s:.1f} s, settled {settled_s:.1f} s later")
    print("when               peak     resident   anonymous   of files   (multiples of the raw vectors)")
    moments = [
        ("empty", empty),
        ("loaded", after_load),
        ("settled", settled),
        (f"{arguments.searches} searches", searched),
        ("reopened", reopened),
    ]
    for name, bytes_of in moments:
        shares = [bytes_of[key] / raw for key in ("VmHWM", "VmRSS", "RssAnon", "RssFile")]
        print(f"{name:15}" + "".join(f"{share:10.3f}" for share in shares))
    peak = searched["VmHWM"] / raw
    if peak > arguments.limit:
        print(f"the peak, {peak:.3f}, is above the limit of {arguments.limit}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
