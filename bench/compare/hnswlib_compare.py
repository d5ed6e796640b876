#!/usr/bin/env python3
"""DVSE's HNSW against PyPI hnswlib on the same files, taking turns, one query at a time on one thread.

    pip install numpy && pip install --no-binary hnswlib hnswlib      # built with the machine's own flags
    cargo build --release -p dvse-index --example ann
    python bench/compare/hnswlib_compare.py --ann target/release/examples/ann \
        --base base.npy --queries queries.npy --truth gt.npy --metric cosine

Both sides build with the same M and with --build-threads threads; their ef_construction may differ (--efc, --peer-efc).
Each round measures every ef of both sides once, in turns; the best round of each point counts. Times are processor
time of the searching thread, so that a shared machine disturbs them less; wall times are on request (--wall).
Recall counts a row as close as the true k-th as right, on both sides by exact distances computed here.
"""

import argparse
import json
import re
import subprocess
import time

import hnswlib
import numpy as np


def read(path):
    if path.endswith(".npy"):
        return np.load(path)
    with open(path, "rb") as file:
        data = file.read()
    magic, count, rows, columns = np.frombuffer(data[:16], dtype=">u4")
    assert magic == 2051, f"{path} is neither npy nor idx of bytes"
    return np.frombuffer(data, dtype=np.uint8, offset=16).reshape(count, rows * columns)


def at_recall(points, recall):
    """Queries per second at a recall: log-linear between the best points on either side."""
    points = sorted((r, q) for r, q in points)
    best = []
    for r, q in points:
        while best and best[-1][1] <= q:
            best.pop()
        best.append((r, q))
    for (r0, q0), (r1, q1) in zip(best, best[1:]):
        if r0 <= recall <= r1:
            share = (recall - r0) / max(r1 - r0, 1e-9)
            return float(np.exp(np.log(q0) * (1 - share) + np.log(q1) * share))
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("ann", "base", "queries", "truth"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--metric", choices=("l2", "cosine", "ip"), default="l2")
    parser.add_argument("--m", type=int, default=16)
    parser.add_argument("--efc", type=int, help="ef_construction of DVSE; its default if left out")
    parser.add_argument("--peer-efc", type=int, default=200)
    parser.add_argument("--build-threads", type=int, default=2)
    parser.add_argument("--ef", default="10,16,24,32,48,64,96,128,192,256,384,512")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--wall", action="store_true")
    parser.add_argument("--set", action="append", default=[], help="passed to ann, such as alpha=1.1")
    options = parser.parse_args()
    k = 10

    base = read(options.base).astype(np.float32)
    truth = read(options.truth)
    queries = read(options.queries).astype(np.float32)[: len(truth)]
    if options.metric == "cosine":
        base /= np.linalg.norm(base, axis=1, keepdims=True)
        queries /= np.linalg.norm(queries, axis=1, keepdims=True)

    def distances(query, ids):
        rows = base[ids].astype(np.float64)
        if options.metric == "l2":
            return ((rows - query) ** 2).sum(axis=1)
        return 1.0 - rows @ query.astype(np.float64)

    kth = np.array([distances(query, ids[:k]).max() for query, ids in zip(queries, truth)])

    command = [options.ann, "--base", options.base, "--queries", options.queries, "--truth", options.truth]
    command += ["--metric", options.metric, "--m", str(options.m), "--serve"]
    command += ["--build-threads", str(options.build_threads)]
    if options.efc:
        command += ["--efc", str(options.efc)]
    for pair in options.set:
        name, value = pair.split("=")
        command += [f"--{name}", value]
    ours = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    built = json.loads(ours.stdout.readline())

    peer = hnswlib.Index(space={"l2": "l2", "cosine": "ip", "ip": "ip"}[options.metric], dim=base.shape[1])
    peer.init_index(max_elements=len(base), ef_construction=options.peer_efc, M=options.m)
    wall, cpu = time.perf_counter(), time.process_time()
    peer.add_items(base, num_threads=options.build_threads)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(json.dumps({"dvse": built, "hnswlib": {"build_s": round(wall, 2), "build_cpu_s": round(cpu, 2)}}))

    efs = [int(ef) for ef in options.ef.split(",")]
    ours_at, peer_at = {}, {}
    for _ in range(options.rounds):
        for ef in efs:
            ours.stdin.write(f"{ef}\n")
            ours.stdin.flush()
            line = json.loads(ours.stdout.readline())
            line["rate"] = line["qps" if options.wall else "qps_cpu"]
            if ef not in ours_at or ours_at[ef]["rate"] < line["rate"]:
                ours_at[ef] = line
            peer.set_ef(ef)
            clock = time.perf_counter if options.wall else time.thread_time
            # One call for all queries on the calling thread: the loop over them is hnswlib's own, in C++.
            start = clock()
            ids, _ = peer.knn_query(queries, k=k, num_threads=1)
            rate = len(queries) / (clock() - start)
            found = [
                (distances(query, row.astype(np.int64)) <= bound + abs(bound) * 1e-5).mean()
                for query, row, bound in zip(queries, ids, kth)
            ]
            if ef not in peer_at or peer_at[ef]["rate"] < rate:
                peer_at[ef] = {"recall": float(np.mean(found)), "rate": rate}
    ours.stdin.close()

    print(f"{'ef':>5} | {'dvse recall':>11} {'p5':>5} {'qps':>7} {'dists':>6} | {'hnswlib recall':>14} {'qps':>7}")
    for ef in efs:
        o, p = ours_at[ef], peer_at[ef]
        print(
            f"{ef:5} | {o['recall']:11.4f} {o['recall_p5']:5.2f} {o['rate']:7.0f} {o['distances']:6.0f}"
            f" | {p['recall']:14.4f} {p['rate']:7.0f}"
        )
    for recall in (0.90, 0.95, 0.99):
        o = at_recall([(p["recall"], p["rate"]) for p in ours_at.values()], recall)
        p = at_recall([(p["recall"], p["rate"]) for p in peer_at.values()], recall)
        ratio = f"{o / p:.2f}" if o and p else "-"
        print(f"recall {recall:.2f}: dvse {o and round(o)} hnswlib {p and round(p)} ratio {ratio}")
    with open("/proc/cpuinfo") as file:
        name = re.search(r"model name\s*:\s*(.*)", file.read())
    print("processor:", name and name.group(1))


if __name__ == "__main__":
    main()
