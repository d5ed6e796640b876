"""What `/metrics` of a server with a pipeline tells, read by the parser of Prometheus' own client."""

from __future__ import annotations

import json
import pathlib
import subprocess
import urllib.request

from prometheus_client.parser import text_string_to_metric_families

from server import BINARY, Server

STATES = {"running", "waiting", "paused", "drained", "stopped"}
# Kind, labels beside `collection`.
METRICS = {
    "dvse_ingest_records": ("counter", {"partition"}),
    "dvse_ingest_changes": ("counter", {"partition"}),
    "dvse_ingest_batches": ("counter", {"partition"}),
    "dvse_ingest_dead_letters": ("counter", {"partition"}),
    "dvse_ingest_events": ("counter", {"partition"}),
    "dvse_ingest_retries": ("counter", {"partition"}),
    "dvse_ingest_failures": ("counter", {"partition", "kind"}),
    "dvse_ingest_start_failures": ("counter", {"kind"}),
    "dvse_ingest_lag_records": ("gauge", {"partition"}),
    "dvse_ingest_lag_bytes": ("gauge", {"partition"}),
    "dvse_ingest_age_seconds": ("gauge", {"partition"}),
    "dvse_ingest_epoch": ("gauge", {"partition"}),
    "dvse_ingest_worker_state": ("gauge", {"partition", "state"}),
    "dvse_ingest_pipeline_state": ("gauge", {"state"}),
}


def dvse(*arguments: str) -> str:
    return subprocess.run([str(BINARY), *arguments], check=True, capture_output=True, text=True).stdout


def scrape(url: str) -> dict:
    with urllib.request.urlopen(f"{url}/metrics") as answer:
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        text = answer.read().decode()
    families = {}
    for family in text_string_to_metric_families(text):
        assert family.name not in families, f"{family.name} comes twice"
        families[family.name] = family
    return families


def total(family) -> float:
    return sum(sample.value for sample in family.samples)


def check_states(family, of: set[str]) -> dict[tuple, str]:
    """Each worker or pipeline is in one state."""
    groups: dict[tuple, dict[str, float]] = {}
    for sample in family.samples:
        key = tuple(sample.labels[name] for name in sorted(of - {"state"}))
        groups.setdefault(key, {})[sample.labels["state"]] = sample.value
    for states in groups.values():
        assert set(states) == STATES and sorted(states.values()) == [0, 0, 0, 0, 1], states
    return {key: next(name for name, value in states.items() if value) for key, states in groups.items()}


def test_metrics_of_a_pipeline_are_what_prometheus_reads(tmp_path: pathlib.Path) -> None:
    log, lines = f"file:{tmp_path / 'log'}", tmp_path / "records.jsonl"
    with Server(tmp_path) as server:
        server.start(arguments=["--ingest", log, "--collection", "docs"])
        record = {"source_id": "s", "timestamp": 1_700_000_000_000, "payload": {}, "text": "a small boat"}
        lines.write_text("".join(json.dumps(record | {"id": number}) + "\n" for number in range(100)) + "poison\n")
        dvse("produce", "--quiet", "--to", log, "--file", str(lines))
        dvse("ingest", "drain", "--url", server.url)
        families = scrape(server.url)
        for name, (kind, labels) in METRICS.items():
            family = families[name]
            assert family.type == kind and family.documentation, family
            assert all(set(sample.labels) == labels | {"collection"} for sample in family.samples), family
        for name, value in [("records", 101), ("changes", 100), ("events", 100), ("dead_letters", 1), ("retries", 0), ("lag_records", 0)]:
            assert total(families[f"dvse_ingest_{name}"]) == value, name
        assert total(families["dvse_ingest_epoch"]) == 4
        states = check_states(families["dvse_ingest_worker_state"], {"partition", "state"})
        assert len(states) == 4 and set(states.values()) == {"drained"}, states
        assert check_states(families["dvse_ingest_pipeline_state"], {"state"}) == {(): "drained"}
        # It stands still: records wait, and its age grows from scrape to scrape.
        dvse("produce", "--quiet", "--to", log, "--file", str(lines))
        ages = [total(scrape(server.url)["dvse_ingest_age_seconds"]) for _ in range(3)]
        assert 0 < ages[0] < ages[1] < ages[2], ages
        dvse("ingest", "resume", "--url", server.url)
        dvse("ingest", "drain", "--url", server.url)
        assert total(scrape(server.url)["dvse_ingest_records"]) == 202
        assert server.stop() == 0, server.log_text()
