"""Starts, kills and stops a real `dvse serve`."""

from __future__ import annotations

import os
import pathlib
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("DVSE_BIN", ROOT / "target" / "debug" / "dvse")).resolve()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Server:
    """One process of `dvse serve` on a folder that outlives it."""

    def __init__(
        self,
        folder: pathlib.Path,
        settings: dict[str, str] | None = None,
        port: int | None = None,
        data: pathlib.Path | None = None,
    ):
        """The log goes to `folder`, and the collections too unless `data` names another place for them."""
        self.folder = pathlib.Path(folder)
        self.data = data or self.folder / "data"
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.settings = settings or {}
        self.process: subprocess.Popen | None = None

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_) -> None:
        """Leaves no process behind when something failed on the way."""
        if self.process and self.process.poll() is None:
            self.kill()

    def spawn(self, arguments: list[str] | None = None, environment: dict[str, str] | None = None) -> None:
        """Starts the process, with more arguments and variables, and waits for nothing."""
        more = environment or {}
        environment = {name: value for name, value in os.environ.items() if not name.startswith("DVSE__")}
        environment |= more | {"DVSE__" + key.replace(".", "__").upper(): value for key, value in self.settings.items()}
        command = [str(BINARY), "serve", "--data", str(self.data), "--http", f"127.0.0.1:{self.port}", *(arguments or [])]
        self.log = open(self.folder / "log.txt", "ab")
        self.process = subprocess.Popen(command, env=environment, stdout=self.log, stderr=self.log)

    def start(self, deadline_s: float = 60.0, **more) -> float:
        """Starts the process and returns the seconds until it answered."""
        started = time.monotonic()
        self.spawn(**more)
        while True:
            try:
                with urllib.request.urlopen(self.url + "/readyz", timeout=1):
                    return time.monotonic() - started
            except (OSError, urllib.error.URLError):
                if self.process.poll() is not None or time.monotonic() - started > deadline_s:
                    self.kill()
                    raise RuntimeError(f"`dvse serve` did not start:\n{self.log_text()}") from None
                time.sleep(0.01)

    def kill(self) -> None:
        """Ends the process without giving it a moment."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.log.close()

    def stop(self) -> int:
        """Asks the process to end and returns its exit status."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout=60)
        self.log.close()
        return status

    def log_text(self) -> str:
        return (self.folder / "log.txt").read_text(errors="replace")[-4000:]
