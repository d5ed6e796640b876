"""One engine in a process of its own: builds once, then measures settings as they are asked for.

    python worker.py PEER        the first line of standard input is the case; then one setting a line

Every line of standard output is a JSON object. compare.py starts these; nobody else needs to.
"""

import ctypes
import gc
import importlib
import importlib.metadata
import json
import os
import sys
import time

import numpy as np

import exact

# A pass before each measurement fills the caches with this engine's rows again, for another one ran before it.
WARM_UP_S = 0.25


def memory_kib(key):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(key + ":"))


def settled_kib():
    """Memory of this process alone, after what was freed went back to the system."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return memory_kib("RssAnon")


def timed(work):
    """The result, and queries' time: processor time of all threads of this process, and wall time."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, time.process_time() - cpu, time.perf_counter() - wall


def measure(index, queries, truth, asked):
    k = asked["k"]
    index.set(asked["search"], k)
    started = time.perf_counter()
    for query in queries:
        index.one(query)
        if time.perf_counter() - started > WARM_UP_S:
            break
    answer = {"search": asked["search"], "k": k}
    found, cpu, wall = timed(lambda: [index.one(query) for query in queries])
    answer["one"] = {"qps_cpu": len(queries) / cpu, "qps_wall": len(queries) / wall}
    if index.batch is not None:
        found, cpu, wall = timed(lambda: index.batch(queries))
        answer["batch"] = {"qps_cpu": len(queries) / cpu, "qps_wall": len(queries) / wall}
    recalls = truth.recalls([np.asarray(ids).astype(np.int64) for ids in found], k)
    answer["recall"] = float(recalls.mean())
    answer["recall_p5"] = float(np.sort(recalls)[len(recalls) // 20])
    return answer


def main():
    # What an engine prints itself must not come between the objects.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(value):
        out.write(json.dumps(value) + "\n")
        out.flush()

    case = json.loads(sys.stdin.readline())
    peer = importlib.import_module(f"peers.{sys.argv[1]}")
    base = exact.read(case["base"])
    numbers = exact.half(len(exact.read(case["truth"])), case["half"])
    queries = exact.read(case["queries"])[numbers]
    truth = exact.Truth(case["metric"], base, queries, exact.read(case["truth"])[numbers])
    prepare = exact.unit if case["metric"] == "cosine" else lambda v: np.array(v, dtype=np.float32)
    queries = np.ascontiguousarray(prepare(queries))
    before = settled_kib()
    rows = np.ascontiguousarray(prepare(base))
    index, cpu, wall = timed(lambda: peer.Index(case["build"], case, rows, case["build_threads"]))
    del rows
    say(
        {
            "version": importlib.metadata.version(peer.PACKAGE),
            "build_s": wall,
            "build_cpu_s": cpu,
            "mem_mib": (settled_kib() - before) / 1024,
            "peak_mib": memory_kib("VmHWM") / 1024,
        }
    )
    for line in sys.stdin:
        say(measure(index, queries, truth, json.loads(line)))


if __name__ == "__main__":
    main()
