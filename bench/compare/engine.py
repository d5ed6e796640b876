"""Engines as processes that build once and then take turns in answering."""

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD_S_MAX = 3600
SETTING_S_MAX = 300

# A search runs on one thread, whatever library it calls; builds set their own number of threads.
ONE_THREAD = {
    name: "1"
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "BLIS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
}


class Failed(Exception):
    """An engine that cannot be measured, and why."""


class Engine:
    """A process that answers each line with a line of JSON."""

    def __init__(self, name, build, command):
        self.name, self.build = name, build
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            command,
            cwd=HERE,
            env=dict(os.environ, **ONE_THREAD),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )
        self.lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self.points = {}
        self.built = None

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def say(self, value):
        try:
            self.process.stdin.write(json.dumps(value) + "\n")
            self.process.stdin.flush()
        except OSError:
            pass  # The missing answer says why.

    def hear(self, seconds):
        try:
            line = self.lines.get(timeout=seconds)
        except queue.Empty:
            self.close()
            raise Failed(f"no answer within {seconds} s") from None
        if line is None:
            raise Failed(self._why())
        try:
            return json.loads(line)
        except ValueError:
            raise Failed(f"answered {line.strip()[:200]!r}") from None

    def _why(self):
        status = self.process.wait()
        self.errors.seek(0)
        said = [line.strip() for line in self.errors.read().splitlines() if line.strip()]
        last = said[-1][:300] if said else "nothing on standard error"
        if status < 0:
            return f"ended by {signal.Signals(-status).name}: {last}"
        return last

    def wait_until_built(self):
        self.built = self.hear(BUILD_S_MAX)

    def measure(self, search, k):
        """Measures a setting once more; of each kind of figure the best so far counts."""
        self.say({"search": search, "k": k})
        answer = self.hear(SETTING_S_MAX)
        key = (k, json.dumps(search, sort_keys=True))
        point = self.points.setdefault(key, {"search": search, "k": k, "rounds": 0, "qps": {}})
        point.update(recall=answer["recall"], recall_p5=answer["recall_p5"], rounds=point["rounds"] + 1)
        if "distances" in answer:
            point["distances"] = answer["distances"]
        for call in ("one", "batch"):
            for clock, rate in answer.get(call, {}).items():
                best = point["qps"].setdefault(clock.removeprefix("qps_"), {"rate": 0.0, "call": call})
                if rate > best["rate"]:
                    best.update(rate=rate, call=call)
        return point

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Dvse(Engine):
    """DVSE's own bench has an exchange of its own."""

    def say(self, value):
        super().say(dict(value["search"], k=value["k"]))

    def hear(self, seconds):
        answer = super().hear(seconds)
        if "qps" in answer:
            answer["one"] = {"qps_wall": answer["qps"], "qps_cpu": answer["qps_cpu"]}
        return answer


def peer(name, build, case):
    """An engine from PyPI."""
    engine = Engine(name, build, [sys.executable, os.path.join(HERE, "worker.py"), name])
    engine.say(dict(case, build=build))
    return engine


def dvse(binary, build, case, name="dvse", arguments=()):
    """DVSE: its sealed segment, unless the arguments say otherwise."""
    command = [binary, "bench", "ann", "--serve", "--quiet", "--base", case["base"], "--queries", case["queries"]]
    command += ["--truth", case["truth"], "--metric", case["metric"], "--half", case["half"]]
    command += ["--build-threads", str(case["build_threads"]), "--k", str(case["k"])]
    # The peers are asked twice, one call a query and all in one call.
    command += ["--repeat", "2"]
    for key, value in build.items():
        command += ["--set", f"{key}={value}"]
    return Dvse(name, build, command + list(arguments))
