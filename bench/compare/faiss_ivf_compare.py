#!/usr/bin/env python3
"""DVSE's inverted lists against PyPI faiss-cpu `IVF,PQx4fs,RFlat` on the same files, taking turns, on one thread.

    pip install numpy faiss-cpu
    cargo build --release -p dvse-index --example ann
    python bench/compare/faiss_ivf_compare.py --ann target/release/examples/ann \
        --base base.npy --queries queries.npy --truth gt.npy --metric cosine

faiss is built with every combination of --peer-lists and --peer-subs (codes of `dim / sub` columns) and searched over
--peer-nprobe and --peer-factor (rows compared exactly, in multiples of k): the best of all points counts for it. DVSE is
built once, with its defaults or what --set says, and searched over --ef alone, the knob its users have.
Each round measures every point of both sides once, in turns; the best round of each point counts. Times are processor
time of the searching thread, so that a shared machine disturbs them less; wall times are on request (--wall).
faiss answers one query a call, as DVSE does; a call from Python costs it a few microseconds, which are measured with an
index of one row and taken off. --batch gives it all queries in one call instead, which lets it scan a list for several
queries together. Recall counts a row as close as the true k-th as right, by exact distances computed here.
"""

import argparse
import json
import re
import subprocess
import time

import faiss
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
    best = []
    for r, q in sorted(points):
        while best and best[-1][1] <= q:
            best.pop()
        best.append((r, q))
    for (r0, q0), (r1, q1) in zip(best, best[1:]):
        if r0 <= recall <= r1:
            share = (recall - r0) / max(r1 - r0, 1e-9)
            return float(np.exp(np.log(q0) * (1 - share) + np.log(q1) * share))
    return None


def numbers(text):
    return [int(number) for number in text.split(",")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("ann", "base", "queries", "truth"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--metric", choices=("l2", "cosine", "ip"), default="l2")
    parser.add_argument("--build-threads", type=int, default=2)
    parser.add_argument("--ef", type=numbers, default=numbers("20,30,40,60,80,100,120,150,200,300,400"))
    parser.add_argument("--set", action="append", default=[], help="passed to ann, such as lists=512")
    parser.add_argument("--peer-lists", type=numbers, default=numbers("128,256,512"))
    parser.add_argument("--peer-subs", type=numbers, default=numbers("2,4,8"))
    parser.add_argument("--peer-nprobe", type=numbers, default=numbers("8,16,24,32,48,64,96,128"))
    parser.add_argument("--peer-factor", type=numbers, default=numbers("3,5,8,12,20"))
    parser.add_argument("--batch", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--wall", action="store_true")
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

    kth = [distances(query, ids[:k]).max() for query, ids in zip(queries, truth)]

    command = [options.ann, "--base", options.base, "--queries", options.queries, "--truth", options.truth]
    command += ["--metric", options.metric, "--index", "ivf", "--serve"]
    command += ["--build-threads", str(options.build_threads)]
    for pair in options.set:
        name, value = pair.split("=")
        command += [f"--{name}", value]
    ours = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    print(json.dumps({"dvse": json.loads(ours.stdout.readline())}), flush=True)

    clock = time.perf_counter if options.wall else time.thread_time
    metric = faiss.METRIC_INNER_PRODUCT if options.metric == "ip" else faiss.METRIC_L2
    peers = {}
    for lists in options.peer_lists:
        for sub in options.peer_subs:
            if base.shape[1] % sub:
                continue
            name = f"IVF{lists},PQ{base.shape[1] // sub}x4fs,RFlat"
            faiss.omp_set_num_threads(options.build_threads)
            start, cpu = time.perf_counter(), time.process_time()
            peer = faiss.index_factory(base.shape[1], name, metric)
            peer.train(base)
            peer.add(base)
            built = {"build_s": round(time.perf_counter() - start, 2)}
            built["build_cpu_s"] = round(time.process_time() - cpu, 2)
            print(json.dumps({name: built}), flush=True)
            peers[name] = peer
    faiss.omp_set_num_threads(1)

    def search(peer, parameters):
        if options.batch:
            start = clock()
            _, ids = peer.search(queries, k, params=parameters)
            return clock() - start, ids
        rows = [queries[at : at + 1] for at in range(len(queries))]
        start = clock()
        found = [peer.search(row, k, params=parameters)[1] for row in rows]
        return clock() - start, np.vstack(found)

    empty = faiss.IndexFlat(base.shape[1], metric)
    empty.add(base[:1])
    call_s = 0.0 if options.batch else min(search(empty, None)[0] for _ in range(5))
    print(json.dumps({"faiss": faiss.__version__, "call_us": round(call_s / len(queries) * 1e6, 2)}), flush=True)

    ours_at, peer_at = {}, {}
    points = [
        (name, nprobe, factor)
        for name in peers
        for nprobe in options.peer_nprobe
        for factor in options.peer_factor
        if nprobe <= int(re.match(r"IVF(\d+)", name).group(1))
    ]
    # Ours are fewer points: spread over the round, each round elsewhere, so that both sides see the same machine.
    every = max(1, len(points) // len(options.ef))
    for turn in range(options.rounds):
        for at, point in enumerate(points):
            if at % every == 0 and at // every < len(options.ef):
                ef = options.ef[(at // every + turn) % len(options.ef)]
                ours.stdin.write(f"{ef}\n")
                ours.stdin.flush()
                line = json.loads(ours.stdout.readline())
                line["rate"] = line["qps" if options.wall else "qps_cpu"]
                if ef not in ours_at or ours_at[ef]["rate"] < line["rate"]:
                    ours_at[ef] = line
            name, nprobe, factor = point
            parameters = faiss.IndexRefineSearchParameters(
                k_factor=factor, base_index_params=faiss.IVFSearchParameters(nprobe=nprobe)
            )
            seconds, ids = search(peers[name], parameters)
            rate = len(queries) / (seconds - call_s)
            if point not in peer_at or peer_at[point]["rate"] < rate:
                found = [
                    (distances(query, row[row >= 0]) <= bound + abs(bound) * 1e-5).sum() / k
                    for query, row, bound in zip(queries, ids, kth)
                ]
                peer_at[point] = {"recall": float(np.mean(found)), "rate": rate}
    ours.stdin.close()

    for ef, o in ours_at.items():
        print(f"dvse ef {ef:4}: recall {o['recall']:.4f} p5 {o['recall_p5']:.2f}, {o['rate']:.0f} q/s, {o['hops']:.1f} lists")
    for recall in (0.90, 0.95, 0.99):
        o = at_recall([(p["recall"], p["rate"]) for p in ours_at.values()], recall)
        p = at_recall([(p["recall"], p["rate"]) for p in peer_at.values()], recall)
        near = max((p for p in peer_at.items() if p[1]["recall"] >= recall), key=lambda p: p[1]["rate"], default=None)
        ratio = f"{o / p:.2f}" if o and p else "-"
        print(f"recall {recall:.2f}: dvse {o and round(o)} faiss {p and round(p)} ratio {ratio}; its best at or above: {near}")
    with open("/proc/cpuinfo") as file:
        name = re.search(r"model name\s*:\s*(.*)", file.read())
    print("processor:", name and name.group(1))


if __name__ == "__main__":
    main()
