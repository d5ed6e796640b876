#!/usr/bin/env python3
"""DVSE and engines from PyPI on the same files in one run.

    pip install -r bench/compare/requirements.txt --no-binary hnswlib
    cargo build --release -p dvse-cli
    python bench/compare/data.py DATA debian fashion --from FOLDER
    python bench/compare/compare.py DATA/debian DATA/fashion

Every engine runs over a grid of builds and settings (peers/*.py). First each build is made, with --build-threads
threads, and asked for each setting once; builds that nowhere come near the best of their own engine are closed. Then
the rest take turns, setting by setting, for --rounds rounds, and the best round of each point counts.

Queries run on one thread. Each engine answers them one call a query and, where it has such a call, all in one call on
one thread; the faster way counts. Rates are queries by processor time of the process, which neighbours on the machine
disturb least; rates by wall time are in the files, too. Recall counts a row as close as the true k-th as right.
Queries at even places are for tuning (--half tune), those at odd places for reporting (--half report).

Tables, plots and all points go to bench/results/. An engine that fails is listed with its reason.
"""

import argparse
import importlib
import itertools
import json
import os
import subprocess
import sys
import time

import engine as engines
import front
import peers
import report

# A build stays if somewhere it is this close to the best of its engine; a point likewise.
NEAR_BUILD = 0.85
NEAR_POINT = 0.75
RECALL_ENOUGH = 0.9995


def rated(points, k, clock="cpu"):
    return [(p["recall"], p["qps"][clock]["rate"], p) for p in points if p["k"] == k]


def screen(engine, sweeps, ks):
    """Asks for each setting once, in order of rising effort until nothing is left to gain."""
    for k in ks:
        for sweep in sweeps(k):
            for search in sweep:
                if engine.measure(search, k)["recall"] >= RECALL_ENOUGH:
                    break


def near(engine, others, ks):
    """Whether a build comes near the best of all builds of its engine, at some recall that is reported."""
    for k in ks:
        own = front.front(rated(engine.points.values(), k))
        best = front.front([point for other in others for point in rated(other.points.values(), k)])
        for target in front.TARGETS:
            rate = front.at_recall(own, target)
            if rate is not None and rate >= NEAR_BUILD * front.at_recall(best, target):
                return True
        if best and own and own[-1][0] >= best[-1][0]:
            return True
    return False


def start_all(name, builds, start, sweeps, ks, keep, log):
    """Makes all builds of one engine, one after the other; those worth keeping, all that were made, what failed."""
    made, failed = [], []
    for build in builds:
        try:
            engine = start(build)
            engine.wait_until_built()
            log(f"{name} {build}: built in {engine.built['build_s']:.1f} s")
            made.append(engine)
            screen(engine, lambda k: sweeps(build, k), ks)
        except engines.Failed as failure:
            log(f"{name} {build}: {failure}")
            failed.append({"engine": name, "build": build, "reason": str(failure)})
            if made and made[-1].build is build:
                made.pop()
    kept = [engine for engine in made if near(engine, made, ks)]
    # Processes wait with their indexes in memory: no more of them than there is room for.
    middle = lambda engine: front.at_recall(front.front(rated(engine.points.values(), ks[0])), 0.95) or 0.0
    kept = sorted(kept, key=middle, reverse=True)[:keep]
    for engine in made:
        if engine not in kept:
            engine.close()
    return kept, made, failed


def worth_repeating(engine, others, k):
    """The settings of an engine that are near its best, or could be with better luck, around the recalls reported."""
    least, most = front.TARGETS[0] - 0.04, front.TARGETS[-1] + 0.006
    best = front.front([point for other in others for point in rated(other.points.values(), k)])
    points = rated(engine.points.values(), k)
    # Beyond the range, the points next to it are what a line is drawn to.
    below = max((recall for recall, _, _ in points if recall < least), default=0.0)
    above = min((recall for recall, _, _ in points if recall > most), default=1.0)
    searches = []
    for recall, rate, point in points:
        if not below <= recall <= above:
            continue
        beaten_by = front.at_recall(best, recall)
        if beaten_by is None or rate >= NEAR_POINT * beaten_by:
            searches.append(point["search"])
    return searches


def take_turns(alive, ks, rounds, log):
    """Measures what is worth it again, every engine's first setting, then every engine's second, and so on."""
    failed = []
    by_name = {name: [e for e in alive if e.name == name] for name in {e.name for e in alive}}
    for number in range(rounds):
        for k in ks:
            searches = {id(e): worth_repeating(e, by_name[e.name], k) for e in alive}
            for turn in itertools.zip_longest(*([(e, s) for s in searches[id(e)]] for e in alive)):
                for engine, search in filter(None, turn):
                    if engine.process.poll() is not None:
                        continue
                    try:
                        engine.measure(search, k)
                    except engines.Failed as failure:
                        failed.append({"engine": engine.name, "build": engine.build, "reason": str(failure)})
        log(f"round {number + 1} of {rounds} done")
    return failed


# DVSE's own contenders: name, what it is, and how its bench is told.
FORMS = {
    "sealed": ("dvse", "the sealed segment, written to disk and mapped", []),
    "growing": ("dvse_growing", "the segment as it grew, in memory, linked row by row", ["--growing"]),
    "avx2": ("dvse_avx2", "the sealed segment with the instructions of AVX2 only", ["--isa", "avx2"]),
}


def dvse_builds(options):
    """All combinations of the values given."""
    pairs = [text.split("=", 1) for text in options.dvse_set or ["m=16,24,32"]]
    lists = [[(key, value) for value in values.split(",")] for key, values in pairs]
    return [dict(chosen) for chosen in itertools.product(*lists)]


def run(folder, options, save, log):
    with open(os.path.join(folder, "meta.json")) as file:
        case = json.load(file)
    for key, name in (("base", "base"), ("queries", "queries"), ("truth", "gt")):
        case[key] = os.path.abspath(os.path.join(folder, f"{name}.npy"))
    ks = [int(k) for k in options.k.split(",")]
    case.update(half=options.half, build_threads=options.build_threads, k=max(ks))
    alive, all_made, failed = [], [], []

    def add(name, builds, start, sweeps):
        kept, made, lost = start_all(name, builds, start, sweeps, ks, options.keep, log)
        alive.extend(kept)
        all_made.extend(made)
        failed.extend(lost)

    notes = {}
    if options.dvse:
        sweeps = lambda build, k: [[{"ef": ef} for ef in peers.efs(k, 0.4)]]
        for form in ["sealed"] + (options.dvse_also.split(",") if options.dvse_also else []):
            name, note, arguments = FORMS[form]
            notes[name] = note
            start = lambda build: engines.dvse(os.path.abspath(options.dvse), build, case, name, arguments)
            add(name, dvse_builds(options), start, sweeps)
    for name in options.peers.split(",") if options.peers else []:
        try:
            peer = importlib.import_module(f"peers.{name}")
        except ImportError as error:
            failed.append({"engine": name, "build": None, "reason": f"cannot be imported: {error}"})
            continue
        notes[name] = peer.NOTE
        sweeps = lambda build, k: peer.sweeps(build, dict(case, k=k))
        add(name, peer.builds(case), lambda build: engines.peer(name, build, case), sweeps)
    found = {"case": case, "ks": ks, "engines": all_made, "failed": failed, "notes": notes, "options": vars(options)}
    save(found)
    started = time.time()
    failed += take_turns(alive, ks, options.rounds, log)
    log(f"{options.rounds} rounds took {time.time() - started:.0f} s")
    for engine in alive:
        engine.close()
    save(found)


def machine(binary):
    """What the run was on, as DVSE measures it."""
    if binary:
        try:
            text = subprocess.run(
                [binary, "bench", "machine", "--format", "jsonl"], capture_output=True, text=True, check=True
            )
            return json.loads(text.stdout)
        except (OSError, subprocess.CalledProcessError, ValueError) as error:
            print(f"no measurements of the machine: {error}", file=sys.stderr)
    with open("/proc/cpuinfo") as file:
        names = [line.split(": ", 1)[1].strip() for line in file if line.startswith("model name")]
    return {"processor": names[0] if names else "unknown"}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", help="folders that data.py made")
    parser.add_argument("--dvse", default="target/release/dvse", help="the binary; empty to leave DVSE out")
    parser.add_argument("--dvse-also", metavar="FORM,FORM", help=f"beside the sealed segment: {', '.join(list(FORMS)[1:])}")
    parser.add_argument("--dvse-set", action="append", metavar="KEY=A,B", help="its grid, m=16,24,32 if left out")
    parser.add_argument("--peers", default=",".join(peers.NAMES))
    parser.add_argument("--k", default="10", help="such as 1,10,100")
    parser.add_argument("--half", choices=("tune", "report", "all"), default="report")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", type=int, default=3, help="builds of an engine that stay for the rounds at most")
    parser.add_argument("--build-threads", type=int, default=2)
    parser.add_argument("--out", default=os.path.join(os.path.dirname(engines.HERE), "results"))
    options = parser.parse_args()

    begun = time.time()
    log = lambda text: print(f"[{time.time() - begun:6.0f} s] {text}", file=sys.stderr, flush=True)
    found = machine(options.dvse)
    for folder in options.sets:
        log(f"set {folder}")
        run(folder, options, lambda result: report.write(result, found, options.out, log), log)


if __name__ == "__main__":
    main()
