"""Writes a run: every point as JSON, the tables, and a plot for each k."""

import json
import os

import front
import plot


def short(values):
    return " ".join(f"{key}={value}" for key, value in values.items()) or "defaults"


def front_of(run, name, k, clock="cpu"):
    points = []
    for engine in run["engines"]:
        if engine.name == name:
            for point in engine.points.values():
                if point["k"] == k:
                    points.append((point["recall"], point["qps"][clock]["rate"], engine, point))
    return front.front(points)


def cell(best, target):
    rate = front.at_recall(best, target)
    if rate is None:
        return f"– (up to {best[-1][0]:.3f})" if best else "–"
    p5 = front.reaching(best, target)[3]["recall_p5"]
    return f"{rate:,.0f}".replace(",", "\u202f") + f" ({p5:.2f})"


def names_in(run, k):
    """Names of engines, fastest at recall 0.95 first."""
    names = list(dict.fromkeys(engine.name for engine in run["engines"]))
    return sorted(names, key=lambda name: -(front.at_recall(front_of(run, name, k), 0.95) or 0.0))


def table(run, k):
    lines = [
        "| engine | queries/s at recall 0.90 (p5) | 0.95 (p5) | 0.99 (p5) | best at 0.95 | build s | build cpu s | memory MiB |",
        "|---|--:|--:|--:|---|--:|--:|--:|",
    ]
    for name in names_in(run, k):
        best = front_of(run, name, k)
        chosen = front.reaching(best, 0.95) or best[-1]
        _, _, engine, point = chosen
        setting = f"{short(engine.build)}; {short(point['search'])}; {point['qps']['cpu']['call']}"
        built = engine.built
        lines.append(
            f"| {name} {built['version']} | {cell(best, 0.90)} | {cell(best, 0.95)} | {cell(best, 0.99)} | {setting}"
            f" | {built['build_s']:.1f} | {built['build_cpu_s']:.1f} | {built['mem_mib']:.0f} |"
        )
    return lines


def wall_table(run, k):
    lines = ["| engine | wall: 0.90 | 0.95 | 0.99 |", "|---|--:|--:|--:|"]
    for name in names_in(run, k):
        best = front_of(run, name, k, "wall")
        rates = (front.at_recall(best, target) for target in front.TARGETS)
        lines.append(f"| {name} | " + " | ".join("–" if rate is None else f"{rate:.0f}" for rate in rates) + " |")
    return lines


def builds_table(run):
    lines = ["| engine | build | build s | build cpu s | memory MiB | peak MiB |", "|---|---|--:|--:|--:|--:|"]
    for engine in run["engines"]:
        built = engine.built
        lines.append(
            f"| {engine.name} | {short(engine.build)} | {built['build_s']:.1f} | {built['build_cpu_s']:.1f}"
            f" | {built['mem_mib']:.0f} | {built['peak_mib']:.0f} |"
        )
    return lines


def machine_line(machine):
    parts = [machine["processor"]]
    if "isa" in machine:
        parts.append(f"DVSE uses {machine['isa']}")
    if "random_line_ns" in machine:
        parts.append(
            f"a random cache line costs {machine['random_line_ns']:.1f} ns,"
            f" a sequential one {machine['sequential_line_ns']:.2f} ns"
        )
    return "; ".join(parts)


def write(run, machine, out, log):
    case = run["case"]
    os.makedirs(out, exist_ok=True)
    stem = os.path.join(out, case["name"])
    with open(stem + ".jsonl", "w") as file:
        head = {key: case[key] for key in ("name", "metric", "rows", "dim", "half", "build_threads")}
        file.write(json.dumps(dict(head, machine=machine, failed=run["failed"])) + "\n")
        for engine in run["engines"]:
            for point in engine.points.values():
                record = {"engine": engine.name, "build": engine.build, **engine.built, **point}
                file.write(json.dumps(rounded(record)) + "\n")
    lines = [
        f"# {case['name']}",
        "",
        f"{case['rows']:,} vectors of {case['dim']} dimensions, {case['metric']}; the queries of the half `{case['half']}`;"
        f" best of {run['options']['rounds'] + 1} rounds, taking turns.",
        f"Machine: {machine_line(machine)}.",
        "",
        "Queries a second of one thread by its processor time, read off each engine's best settings over its grid by"
        " log-linear interpolation; in brackets the recall that 95 % of the queries reach with the setting at or above."
        f" Builds on {case['build_threads']} threads. Memory is what a process holds more after building than before"
        " reading the vectors.",
    ]
    for k in run["ks"]:
        lines += ["", f"## recall@{k}", "", *table(run, k), "", f"![recall and speed]({case['name']}-k{k}.svg)"]
        lines += ["", *wall_table(run, k)]
        fronts = {name: [(r, q) for r, q, *_ in front_of(run, name, k)] for name in names_in(run, k)}
        title = f"{case['name']}: {case['rows']:,} × {case['dim']}, {case['metric']}, k = {k}, one thread"
        with open(f"{stem}-k{k}.svg", "w") as file:
            file.write(plot.svg(title, machine_line(machine), fronts))
    notes = [f"- {name}: {note}" for name, note in run["notes"].items() if note]
    lines += ["", "## Builds", "", *builds_table(run), "", *notes]
    if run["failed"]:
        lines += ["", "## Not measured", ""]
        lines += [f"- {failure['engine']} {failure['build']}: {failure['reason']}" for failure in run["failed"]]
    with open(stem + ".md", "w") as file:
        file.write("\n".join(lines) + "\n")
    log(f"wrote {stem}.md")


def rounded(value):
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    return value
