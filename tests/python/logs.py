"""The logs that a pipeline test can run on: a folder, or a cluster of Pulsar that it starts."""

from __future__ import annotations

import contextlib
import pathlib
import subprocess
from collections.abc import Iterator

import topics
from broker import Broker
from server import BINARY


class Folder:
    """The embedded log."""

    broker = None

    def __init__(self, folder: pathlib.Path):
        self.folder = folder / "log"
        self.place = f"file:{self.folder}"

    def records(self, topic: str) -> Iterator[topics.Record]:
        return topics.records(self.folder, topic)


class Cluster:
    """A broker of Pulsar with the topics of ingest."""

    def __init__(self, broker: Broker):
        self.broker = broker
        self.place = broker.url

    def records(self, topic: str) -> Iterator[topics.Record]:
        return self.broker.records(topic)

    def ensure(self, *more: str) -> str:
        """Makes the topics and returns what the command printed."""
        command = [str(BINARY), "topics", "ensure", "--pulsar", self.broker.url, "--admin", self.broker.admin, *more]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@contextlib.contextmanager
def opened(kind: str, folder: pathlib.Path) -> Iterator[Folder | Cluster]:
    """A log of a kind, `file` or `pulsar`, for as long as the block lasts."""
    if kind == "file":
        yield Folder(folder)
        return
    with Broker(folder / "broker") as broker:
        broker.start()
        cluster = Cluster(broker)
        cluster.ensure()
        yield cluster
