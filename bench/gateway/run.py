"""CPU and memory of a gateway next to nginx's plain proxy, in interleaved rounds of one run.

    python bench/gateway/run.py                                   # nginx and Sentinel's ASGI door
    python bench/gateway/run.py --gateway 'other=CMD --port {port}' --rounds 5
    python bench/gateway/run.py --steps plain --only-nginx        # the harness against itself

It builds the mock upstream and the load client into build/bench, starts the mock and every
gateway, pins gateways to one core and mock and load to another, and measures in turn: nginx,
gateway, nginx, gateway. CPU is the scheduler's nanoseconds over all threads of the process tree,
divided by requests or chunks, so it does not matter that the load's core is the bottleneck;
requests per second do not compare. Only ratios of one run mean anything, and they repeat within
about 10 % (paced: 25 %).

In a gateway's command {port} is where to listen, {upstream} the base URL of the mock,
{upstream_port} its port and {config} a Sentinel configuration file written for this run. A round
in which an answer was not 200, or the mock did not see every request, makes the run fail.

Steps:
  plain     closed loop, 64 connections, unique bodies of about 0.4 KB, replies of 1 KB
  governed  the same with prompts of about 1,000 tokens, counted, and limits of requests, tokens,
            money and concurrency on the route; nginx only proxies
  hits      one body over and over; nginx answers from proxy_cache
  paced     64 streams of 200 chunks, one every 20 ms, CPU per chunk
  open      200 requests per second, unique bodies
  memory    PSS of the process tree before and after 50,000 unique requests
"""

from __future__ import annotations

import argparse
import getpass
import json
import os
import platform
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

__all__ = ["main"]

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILD = ROOT / "build" / "bench"
KEY = "sk-bench-key-of-the-load-client"
SENTINEL = "sentinel serve --config {config} --port {port} --door asgi"
COMPILE = ["g++", "-std=c++20", "-O2", "-Wall", "-Wextra", "-Werror"]
START_SECONDS = 30.0
SETTLE_SECONDS = 0.3
NICE = ["nice", "-n", "-15"]
LIMITS = "{rpm: 100000000, tpm: 100000000000, usd_per_day: 1000000, concurrency: 10000}"
PROSE_BYTES = 4600  # about 1,000 tokens of our own prose


@dataclass(frozen=True, slots=True)
class Step:
    """One load, and the largest ratio to nginx we promise for it."""

    mode: str
    unit: str
    directive: str
    arguments: tuple[str, ...]
    stream: bool = False
    unique: bool = True
    goal: float | None = None
    model: str = "gpt-4o-mini"
    long_prompt: bool = False


@dataclass(slots=True)
class Gateway:
    """A process under test."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    cache_port: int = 0


@dataclass(slots=True)
class Sample:
    """One measured round."""

    cpu_us: float
    done: int
    load: dict[str, Any]
    other_percent: float
    faults: list[str] = field(default_factory=list)


def steps(seconds: float, requests: int) -> dict[str, Step]:
    """Every load by its name."""
    timed = ("--seconds", str(seconds))
    return {
        "plain": Step("closed", "request", "size=1000", timed, goal=4.0),
        "paced": Step(
            "sse", "chunk", "chunks=200 gap_us=20000", ("--requests", "64"), stream=True, goal=2.0
        ),
        "open": Step("open", "request", "size=1000", ("--rate", "200", *timed)),
        "hits": Step(
            "closed", "request", "size=1000", timed, unique=False, goal=3.0, model="gpt-4o-cached"
        ),
        "governed": Step(
            *("closed", "request", "size=1000", timed),
            goal=4.0,
            model="gpt-4o-governed",
            long_prompt=True,
        ),
        "memory": Step("closed", "request", "size=1000", ("--requests", str(requests))),
    }


# -- processes ------------------------------------------------------------------------------------


def build() -> None:
    """Compile the mock and the load client when their sources are newer."""
    missing = [tool for tool in ("g++", "nginx", "taskset") if shutil.which(tool) is None]
    if missing:
        raise SystemExit(f"the bench needs {', '.join(missing)}")
    BUILD.mkdir(parents=True, exist_ok=True)
    for name in ("mock_upstream", "load_client"):
        source, binary = HERE / f"{name}.cpp", BUILD / name
        if not binary.exists() or binary.stat().st_mtime < source.stat().st_mtime:
            subprocess.run([*COMPILE, "-o", str(binary), str(source)], check=True)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(
    command: list[str], core: int, log: Path, **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A pinned process, ended with everything it started."""
    pinned = ["taskset", "-c", str(core), *NICE, *command]
    with log.open("ab") as output:
        process = subprocess.Popen(
            pinned,
            stdout=output,
            stderr=output,
            env={**os.environ, **environment},
            start_new_session=True,
        )
    try:
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM to the process, SIGKILL to what of its tree is left after some seconds."""
    family = tree(process.pid)
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        for pid in family:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        process.wait()


def tree(root: int) -> list[int]:
    """The process and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(entry.name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def cpu_seconds(root: int) -> float:
    """Scheduler time of every thread of the tree."""
    total = 0
    for pid in tree(root):
        for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            try:
                total += int(task.read_text().split()[0])
            except OSError:
                continue
    return total / 1e9


def pss_mib(root: int) -> float:
    """Proportional set size of the tree, in MiB."""
    kib = 0
    for pid in tree(root):
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        kib += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return kib / 1024


def core_busy_seconds(core: int) -> float:
    """Time a core has not been idle since boot."""
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith(f"cpu{core} "):
            ticks = [int(word) for word in line.split()[1:9]]
            return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")
    raise SystemExit(f"there is no core {core}")


# -- the bench ------------------------------------------------------------------------------------


class Bench:
    """The mock, the gateways in front of it, and the rounds."""

    def __init__(self, options: argparse.Namespace, stack: ExitStack) -> None:
        self._options = options
        self._stack = stack
        self.directory = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-gateway-"))
        )
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self._memory = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="bench-nginx-", dir=memory)
        )
        self._upstream_port = free_port()
        self._log = BUILD / "gateway.log"
        self._log.unlink(missing_ok=True)
        mock = [str(BUILD / "mock_upstream"), str(self._upstream_port)]
        stack.enter_context(running(mock, options.load_core, self._log))
        self.gateways: list[Gateway] = []

    def start_nginx(self) -> None:
        """nginx with a proxy port and a cache port."""
        port, cache_port = free_port(), free_port()
        values = {
            "USER": getpass.getuser(),
            "MEMORY": self._memory,
            "UPSTREAM_PORT": str(self._upstream_port),
            "PROXY_PORT": str(port),
            "CACHE_PORT": str(cache_port),
        }
        text = (HERE / "nginx.conf").read_text()
        for name, value in values.items():
            text = text.replace(f"@{name}@", value)
        config = self.directory / "nginx.conf"
        config.write_text(text)
        command = ["nginx", "-p", str(self.directory), "-c", str(config), "-e", "error.log"]
        process = self._stack.enter_context(running(command, self._options.gateway_core, self._log))
        self._add(Gateway("nginx", port, process, cache_port))

    def start(self, name: str, command: str) -> None:
        """A gateway by its command line."""
        port = free_port()
        words = command.format(
            port=port,
            upstream=f"http://127.0.0.1:{self._upstream_port}/v1",
            upstream_port=self._upstream_port,
            config=self._write_config(name, port),
        )
        process = self._stack.enter_context(
            running(
                shlex.split(words),
                self._options.gateway_core,
                self._log,
                BENCH_KEY=KEY,
                BENCH_UPSTREAM_KEY="sk-mock",
            )
        )
        self._add(Gateway(name, port, process))

    def _write_config(self, name: str, port: int) -> Path:
        path = self.directory / f"{name}.yaml"
        path.write_text(
            "version: 1\n"
            f"server: {{host: 127.0.0.1, port: {port}, data_dir: {self.directory / name}}}\n"
            "upstreams:\n"
            f"  mock: {{base_url: 'http://127.0.0.1:{self._upstream_port}/v1',\n"
            "         credentials: [{key: '${BENCH_UPSTREAM_KEY}'}]}\n"
            "routes:\n"
            "  '*': {targets: [{upstream: mock}]}\n"
            "  gpt-4o-cached: {targets: [{upstream: mock}], cache: {ttl: 1h}}\n"
            f"  gpt-4o-governed: {{targets: [{{upstream: mock}}], limits: {LIMITS}}}\n"
            "keys: [{id: bench, key: '${BENCH_KEY}'}]\n"
            "log: {level: warning}\n"
        )
        return path

    def _add(self, gateway: Gateway) -> None:
        self._await(gateway)
        self.gateways.append(gateway)
        for stream in (False, True):
            self._load(
                gateway, Step("sse", "chunk", "chunks=5", ("--requests", "500"), stream=stream)
            )

    def _await(self, gateway: Gateway) -> None:
        """Wait until one real call comes back, however the gateway says that it is ready."""
        deadline = time.monotonic() + START_SECONDS
        probe = Step("closed", "request", "size=300", ("--requests", "1", "--connections", "1"))
        while time.monotonic() < deadline:
            if gateway.process.poll() is not None:
                raise SystemExit(f"{gateway.name} exited, see {self._log}")
            if self._load(gateway, probe)["status"] == {"200": 1}:
                return
            time.sleep(0.1)
        raise SystemExit(f"{gateway.name} does not answer, see {self._log}")

    def _load(self, gateway: Gateway, step: Step) -> dict[str, Any]:
        port = gateway.cache_port if gateway.cache_port and not step.unique else gateway.port
        command = [
            *("taskset", "-c", str(self._options.load_core), *NICE, str(BUILD / "load_client")),
            *("--port", str(port), "--mode", step.mode, "--body", body(step)),
            *("--header", f"Authorization: Bearer {KEY}", *step.arguments),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        figures: dict[str, Any] = json.loads(done.stdout)
        return figures

    def _mock(self, path: str, method: str = "GET") -> dict[str, int]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._upstream_port}{path}", method=method
        )
        with urllib.request.urlopen(request, timeout=5) as reply:
            counters: dict[str, int] = json.load(reply)
            return counters

    def measure(self, gateway: Gateway, step: Step) -> Sample:
        """One round of one step."""
        core = self._options.gateway_core
        time.sleep(SETTLE_SECONDS)
        self._mock("/reset", "POST")
        cpu, busy, start = (
            cpu_seconds(gateway.process.pid),
            core_busy_seconds(core),
            time.monotonic(),
        )
        load = self._load(gateway, step)
        wall = time.monotonic() - start
        spent = cpu_seconds(gateway.process.pid) - cpu
        others = core_busy_seconds(core) - busy - spent
        done = load["chunks"] if step.stream else load["done"]
        sample = Sample(1e6 * spent / max(1, done), done, load, max(0.0, 100 * others / wall))
        if set(load["status"]) != {"200"}:
            sample.faults.append(f"statuses {load['status']}")
        seen = self._mock("/stats")["chat"]
        if step.unique and seen != load["done"]:
            sample.faults.append(f"the mock saw {seen} of {load['done']} requests")
        return sample

    def rounds(self, step: Step) -> dict[str, list[Sample]]:
        """All gateways in turn, again and again."""
        samples: dict[str, list[Sample]] = {gateway.name: [] for gateway in self.gateways}
        for _ in range(self._options.rounds):
            for gateway in self.gateways:
                samples[gateway.name].append(self.measure(gateway, step))
        return samples

    def memory(self, step: Step) -> dict[str, tuple[float, float, Sample]]:
        """PSS before and after one long round, per gateway."""
        result: dict[str, tuple[float, float, Sample]] = {}
        for gateway in self.gateways:
            before = pss_mib(gateway.process.pid)
            sample = self.measure(gateway, step)
            result[gateway.name] = (before, pss_mib(gateway.process.pid), sample)
        return result


def body(step: Step) -> str:
    """A chat request of about 0.4 KB or with a long prompt, salted unless it shall be a hit."""
    salt = f"{time.time_ns()}-{{{{n}}}}" if step.unique else "the same for all"
    messages = [
        {"role": "system", "content": "You are a helpful assistant. " * 8},
        {"role": "user", "content": f"{salt} [[{step.directive}]]"},
    ]
    if step.long_prompt:
        prose = (ROOT / "docs" / "architecture.md").read_text()[:PROSE_BYTES]
        messages.insert(1, {"role": "user", "content": prose})
    request: dict[str, Any] = {"model": step.model, "messages": messages, "max_tokens": 256}
    if step.stream:
        request["stream"] = True
    return json.dumps(request)


# -- the report -----------------------------------------------------------------------------------


def report_rounds(name: str, step: Step, samples: dict[str, list[Sample]]) -> dict[str, Any]:
    """Print one step's table and return it as data."""
    print(f"\n{name}: CPU microseconds per {step.unit}")
    count = max(map(len, samples.values()))
    heads = "".join(f"{f'round {index + 1}':>10}" for index in range(count))
    print(f"{'':14}{heads}{'median':>10}{'x nginx':>10}{'others %':>10}")
    base = median(sample.cpu_us for sample in samples["nginx"])
    table: dict[str, Any] = {"unit": f"us CPU per {step.unit}", "goal": step.goal, "gateways": {}}
    for gateway, rounds in samples.items():
        middle = median(sample.cpu_us for sample in rounds)
        others = max(sample.other_percent for sample in rounds)
        verdict = "" if step.goal is None or gateway == "nginx" else f"  goal {step.goal:.1f}"
        cells = "".join(f"{sample.cpu_us:10.2f}" for sample in rounds)
        print(f"{gateway:14}{cells}{middle:10.2f}{middle / base:10.2f}{others:10.1f}{verdict}")
        table["gateways"][gateway] = {
            "rounds": [round(sample.cpu_us, 3) for sample in rounds],
            "median": round(middle, 3),
            "ratio": round(middle / base, 3),
            "core_taken_by_others_percent": round(others, 1),
            "load": [sample.load for sample in rounds],
        }
    return table


def report_memory(result: dict[str, tuple[float, float, Sample]]) -> dict[str, Any]:
    """Print the memory table and return it as data."""
    print("\nmemory: PSS in MiB")
    print(f"{'':14}{'before':>10}{'after':>10}{'grown':>10}{'requests':>10}")
    table: dict[str, Any] = {}
    for gateway, (before, after, sample) in result.items():
        print(f"{gateway:14}{before:10.1f}{after:10.1f}{after - before:10.1f}{sample.done:10}")
        table[gateway] = {"before_mib": before, "after_mib": after, "requests": sample.done}
    return table


def machine() -> dict[str, Any]:
    """Where the figures come from."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), ""
    )
    nginx = subprocess.run(
        ["nginx", "-v"], capture_output=True, text=True, check=False
    ).stderr.strip()
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "nginx": nginx.rpartition("/")[2],
    }


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--gateway",
        action="append",
        metavar="NAME=COMMAND",
        help=f"a gateway to measure, may be repeated (default: 'sentinel={SENTINEL}')",
    )
    parser.add_argument(
        "--only-nginx", action="store_true", help="measure no gateway but nginx, twice a round"
    )
    parser.add_argument(
        "--steps",
        default="plain,governed,hits,paced,open,memory",
        help="comma-separated (default: %(default)s)",
    )
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument(
        "--seconds", type=float, default=2.0, help="length of a timed round (default: %(default)s)"
    )
    parser.add_argument("--memory-requests", type=int, default=50_000, help="default: %(default)s")
    parser.add_argument("--gateway-core", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--load-core", type=int, default=1, help="default: %(default)s")
    parser.add_argument(
        "--output",
        type=Path,
        default=BUILD / "gateway.json",
        help="default: build/bench/gateway.json",
    )
    options = parser.parse_args()
    known = steps(0, 0)
    options.steps = options.steps.split(",")
    for name in options.steps:
        if name not in known:
            parser.error(f"there is no step {name!r}: {', '.join(known)}")
    for gateway in options.gateway or ():
        if "=" not in gateway:
            parser.error(f"--gateway is NAME=COMMAND, not {gateway!r}")
    return options


def main() -> int:
    """Run the bench; 1 when a round was not clean."""
    options = read_options()
    build()
    loads = steps(options.seconds, options.memory_requests)
    result: dict[str, Any] = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(sys.argv),
        "machine": machine(),
        "steps": {},
    }
    faults: list[str] = []
    with ExitStack() as stack:
        bench = Bench(options, stack)
        bench.start_nginx()
        if options.only_nginx:
            first = bench.gateways[0]
            bench.gateways.append(
                Gateway("nginx again", first.port, first.process, first.cache_port)
            )
        for gateway in [] if options.only_nginx else options.gateway or [f"sentinel={SENTINEL}"]:
            name, _, command = gateway.partition("=")
            bench.start(name, command)
        for name in options.steps:
            if name == "memory":
                memory = bench.memory(loads[name])
                result["steps"][name] = report_memory(memory)
                samples = {gateway: [entry[2]] for gateway, entry in memory.items()}
            else:
                samples = bench.rounds(loads[name])
                result["steps"][name] = report_rounds(name, loads[name], samples)
            for gateway, rounds in samples.items():
                faults += [
                    f"{name}, {gateway}: {fault}" for sample in rounds for fault in sample.faults
                ]
    result["faults"] = faults
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=2) + "\n")
    print(f"\nwritten to {options.output}")
    for fault in faults:
        print(f"NOT CLEAN: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
