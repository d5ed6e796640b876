"""Starts, kills and stops a real broker of Apache Pulsar, with its ZooKeeper and bookie, in one process; reads its topics.

    DVSE_PULSAR_JARS=$(.ci/pulsar-jars)
"""

from __future__ import annotations

import ctypes
import json
import os
import pathlib
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

from server import ROOT, free_port
from topics import Record

FILES = ROOT / "tests" / "pulsar"
OPENED = [
    "java.base/java.io",
    "java.base/java.lang",
    "java.base/java.nio",
    "java.base/java.util.zip",
    "java.base/jdk.internal.misc",
    "java.base/jdk.internal.platform",
    "java.base/sun.net",
    "java.management/sun.management",
]
DRIVERS = "org.apache.pulsar.metadata.bookkeeper.PulsarMetadata"


def ends_with_us() -> None:
    """Has the process killed when the one that started it ends, however that ends."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Broker:
    """One process on a folder that outlives it."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        port, web, self.zookeeper, self.bookie = (free_port() for _ in range(4))
        self.url, self.admin = f"pulsar://127.0.0.1:{port}", f"http://127.0.0.1:{web}"
        settings = (FILES / "standalone.conf").read_text() + f"brokerServicePort={port}\nwebServicePort={web}\n"
        (folder / "standalone.conf").write_text(settings)
        self.process: subprocess.Popen | None = None

    def __enter__(self) -> Broker:
        return self

    def __exit__(self, *_) -> None:
        self.kill()

    def spawn(self) -> None:
        jars = pathlib.Path(os.environ["DVSE_PULSAR_JARS"])
        command = ["java", "-Xms256m", "-Xmx512m", "-XX:MaxDirectMemorySize=512m"]
        for package in OPENED:
            command += ["--add-opens", f"{package}=ALL-UNNAMED"]
        command += [
            "-Dio.netty.tryReflectionSetAccessible=true",
            "-Djava.net.preferIPv4Stack=true",
            "-Dlog4j2.is.webapp=false",
            f"-Dbookkeeper.metadata.bookie.drivers={DRIVERS}BookieDriver",
            f"-Dbookkeeper.metadata.client.drivers={DRIVERS}ClientDriver",
            f"-Dlog4j2.configurationFile={FILES / 'log4j2.xml'}",
            "-cp",
            f"{jars}/*",
            "org.apache.pulsar.PulsarStandaloneStarter",
            *["--config", "standalone.conf", "--metadata-dir", "metadata", "--bookkeeper-dir", "bookkeeper"],
            *["--zookeeper-port", str(self.zookeeper), "--bookkeeper-port", str(self.bookie), "-nfw", "-nss"],
        ]
        # With metadata in RocksDB a bookie that was killed fights its own registration for ever.
        environment = os.environ | {"PULSAR_STANDALONE_USE_ZOOKEEPER": "1"}
        with open(self.folder / "broker.txt", "ab") as log:
            # ZooKeeper writes into the current folder.
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=log, stderr=log, preexec_fn=ends_with_us
            )

    def start(self, deadline_s: float = 120.0) -> float:
        """Starts the process and returns the seconds until it was healthy."""
        started = time.monotonic()
        self.spawn()
        while True:
            try:
                with urllib.request.urlopen(self.admin + "/admin/v2/brokers/health", timeout=5):
                    return time.monotonic() - started
            except (OSError, urllib.error.URLError):
                if self.process.poll() is not None or time.monotonic() - started > deadline_s:
                    self.kill()
                    raise RuntimeError(f"the broker did not start:\n{self.log_text()}") from None
                time.sleep(0.1)

    def kill(self) -> None:
        """Ends the process without giving it a moment."""
        if self.process:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def call(self, method: str, path: str, body=None) -> tuple[int, object]:
        """Asks the administration; returns the status and the answer."""
        payload = None if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(f"{self.admin}/admin/v2/{path}", payload, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                text, status = reply.read(), reply.status
        except urllib.error.HTTPError as error:
            text, status = error.read(), error.code
        try:
            return status, json.loads(text) if text else None
        except ValueError:
            return status, text.decode(errors="replace")

    def records(self, topic: str) -> Iterator[Record]:
        """All records of a topic under `persistent://dvse/ingest`, partition by partition, as the official client reads them."""
        import pulsar

        logger = pulsar.ConsoleLogger(pulsar.LoggerLevel.Error)
        client = pulsar.Client(self.url, logger=logger)
        try:
            for partition in range(len(client.get_topic_partitions(f"persistent://dvse/ingest/{topic}"))):
                name = f"persistent://dvse/ingest/{topic}-partition-{partition}"
                reader = client.create_reader(name, pulsar.MessageId.earliest)
                while reader.has_message_available():
                    message = reader.read_next(20_000)
                    place = message.message_id()
                    position = place.ledger_id() << 64 | place.entry_id() << 20 | max(place.batch_index(), 0)
                    yield Record(partition, position, message.partition_key().encode(), message.data())
                reader.close()
        finally:
            client.close()

    def log_text(self) -> str:
        return (self.folder / "broker.txt").read_text(errors="replace")[-4000:]
