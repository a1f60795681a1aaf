"""Times burn-deconv beside TensorFlow, PyTorch, OpenVINO and JAX on the layers of layers.json.

    python3 benches/peers/run.py
    python3 benches/peers/run.py --scaling --rounds 15 --threads 1
    python3 benches/peers/run.py --layers article,unet_up --skip-install

Installs the frameworks of requirements.txt into a virtual environment and builds the Rust worker.
Each row and layer has a process of its own: no two thread pools meet. On each layer, every output
and gradient must first equal those of the explicit algorithm, to the last bit; or those of Burn's
layer, if the kernel is so large that the explicit algorithm takes minutes. A framework whose answer
differs, that fails or that takes longer than LIMIT seconds has no time on that layer; the report
says why. Then the rows take turns, in another order each round. A turn is one call that is
not timed and then as many calls as fit into TURN seconds; it counts with their median. The result
is the median over the rounds. All rows have the same number of threads and the same cores.

Writes report.md and report.json to --out. A run of all layers and rows also writes the chart,
docs/speed.svg, and the tables between the marks "speed" in README.md and docs/speed.md.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import platform
import select
import subprocess
import sys
import time
import venv
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

sys.dont_write_bytecode = True

import chart
import report

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent

# Our rows, and what "prepare" tells their worker.
OURS: dict[str, dict[str, str]] = {
    "ours": {"row": "skip_zeros", "backend": "flex"},
    "explicit": {"row": "explicit", "backend": "flex"},
    "burn": {"row": "burn", "backend": "flex"},
    "ours_ndarray": {"row": "skip_zeros", "backend": "ndarray"},
    "burn_ndarray": {"row": "burn", "backend": "ndarray"},
}
PEERS = {
    "tensorflow": "tensorflow",
    "torch": "torch",
    "torch_channels_last": "torch",
    "openvino": "openvino",
    "jax": "jax",
}
DEFAULT_ROWS = [row for row in (*OURS, *PEERS) if row != "explicit"]
SCALING_ROWS = [row for row in DEFAULT_ROWS if "ndarray" not in row]
PASSES = ("forward", "forward_backward")
LIBRARIES = ("RAYON", "MATMUL", "OMP", "MKL", "OPENBLAS")

# The marks around the lines that a whole run writes.
FIRST_MARK = "<!-- speed: "
LAST_MARK = "<!-- end of speed -->"

TURN = 0.06  # seconds
REST = 0.03  # seconds before each turn: the threads of the last one fall asleep
SLOW_CALL = 0.5  # seconds; a turn of slower calls has no warm-up
LONGEST_CALL = 2.0  # seconds; a row with slower calls skips the larger maps and batches
LIMIT = 300.0  # seconds; a worker that answers later is stopped
EXPLICIT_FLOPS = 5e10  # of a forward pass with its zeros; beyond, Burn's layer is the reference


class Reason(Exception):
    """Why a row has no time on a layer."""


class Worker:
    """A process that answers each JSON line with one JSON line. `ask` raises a Reason if the
    worker reports an error, ends or takes too long."""

    def __init__(self, command: list[str], log: Path, threads: int) -> None:
        self.command, self.log, self.threads = command, log, threads
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        count = str(self.threads)
        environment = os.environ | {f"{library}_NUM_THREADS": count for library in LIBRARIES}
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment,
            )

    def ask(self, kind: str, **body: Any) -> dict[str, Any]:
        assert self.process and self.process.stdin and self.process.stdout
        try:
            self.process.stdin.write(json.dumps({kind: body}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise Reason(f"its process had ended before {kind}") from None
        # An answer is one line, so nothing of it can wait in the buffer of readline.
        ready, _, _ = select.select([self.process.stdout], [], [], LIMIT)
        if not ready:
            self.process.kill()
            raise Reason(f"no answer to {kind} in {LIMIT:g} s")
        line = self.process.stdout.readline()
        if not line:
            raise Reason(f"its process ended at {kind}, status {self.process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise Reason(answer["error"])
        return answer

    def stop(self) -> None:
        if self.process and self.process.stdin and self.process.stdout:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()
            self.process.wait()
            self.process.stdout.close()
        self.process = None

    def restart(self) -> None:
        self.stop()
        self.start()


@dataclass
class Row:
    """One way to compute the layers, in a process of its own."""

    name: str
    worker: Worker

    def begin(self, layer: dict[str, Any], small: dict[str, Any]) -> dict[str, Any]:
        """Prepares a layer in a new process, which holds no freed memory of another layer. A small
        layer comes first: the process does its one-time set-up on it. Returns the memory that the
        layer takes."""
        self.prepare(small)
        self.worker.ask("digest")
        self.prepare(layer)
        return self.worker.ask("memory")

    def prepare(self, layer: dict[str, Any]) -> dict[str, Any]:
        if self.name in OURS:
            return self.worker.ask("prepare", layer=layer["name"], **OURS[self.name])
        return self.worker.ask("prepare", layer=layer, row=self.name)

    def times(self, which: str, calls: int) -> list[float]:
        return self.worker.ask("run", **{"pass": which, "calls": calls})["seconds"]


class Clock:
    """The turns of one row at one pass of one layer."""

    def __init__(self, row: Row, which: str) -> None:
        self.row, self.which = row, which
        self.turns: list[float] = []
        self.spent = 0.0
        self.call = row.times(which, 1)[0]

    def turn(self) -> None:
        time.sleep(REST)
        calls = max(1, int(TURN / self.call))
        warm_up = 0 if self.call > SLOW_CALL else 1
        times = self.row.times(self.which, calls + warm_up)
        self.spent += sum(times)
        self.call = median(times[warm_up:])
        self.turns.append(self.call)


@dataclass
class Options:
    rounds: int
    seconds: float
    # The layer with which each process begins.
    small: dict[str, Any]
    # Measures the speed of matrix products and copies.
    peaks: Worker
    # The reference for layers on which the explicit algorithm takes minutes.
    burn: Row


def explicit_flops(layer: dict[str, Any]) -> int:
    """The products and sums of the explicit algorithm's forward pass, with the inserted zeros."""
    n, c_in, *lengths = layer["input"]
    flops = 2 * n * c_in // layer["groups"] * layer["channels_out"]
    axes = zip(lengths, layer["kernel"], layer["stride"], layer["dilation"])
    for length, kernel, stride, dilation in axes:
        flops *= kernel * ((length - 1) * stride + (kernel - 1) * dilation + 1)
    return flops


def check(row: str, layer: str, got: dict[str, Any], expected: dict[str, Any]) -> None:
    """A wrong answer of ours or of Burn's layer ends the run; another framework's is its reason."""
    for tensor, digest in got.items():
        if digest == expected[tensor]:
            continue
        if row in OURS:
            raise SystemExit(
                f"{layer}: {row} has another {tensor}: {digest}, expected {expected[tensor]}"
            )
        raise Reason(f"its {tensor} differs from the reference")


def measure(layer: dict[str, Any], rows: list[Row], reference: Row, options: Options) -> dict:
    """Checks all rows on one layer, then lets them take turns."""
    for row in (*rows, reference):
        row.worker.restart()
    small = options.small | reference.prepare(options.small)
    layer = layer | reference.prepare(layer)
    expected = reference.worker.ask("digest")
    reference.worker.stop()

    result: dict[str, Any] = {"layer": layer, "turns": {}, "memory": {}, "reasons": {}}
    clocks: list[Clock] = []
    for row in rows:
        try:
            result["memory"][row.name] = row.begin(layer, small)
            check(row.name, layer["name"], row.worker.ask("digest"), expected)
        except Reason as reason:
            result["reasons"][row.name] = {which: str(reason) for which in PASSES}
            continue
        for which in PASSES:
            try:
                clocks.append(Clock(row, which))
            except Reason as reason:
                result["reasons"].setdefault(row.name, {})[which] = str(reason)

    take_turns(clocks, options)
    for clock in clocks:
        result["turns"].setdefault(clock.row.name, {})[clock.which] = clock.turns
    return result


def take_turns(clocks: list[Clock], options: Options) -> None:
    """A row takes no more turns once it has spent its seconds on this layer and pass."""
    for done in range(options.rounds):
        first = done * len(PASSES) % max(1, len(clocks))
        for clock in clocks[first:] + clocks[:first]:
            if not clock.turns or clock.spent < options.seconds:
                clock.turn()


def measure_all(layers: list[dict], rows: list[Row], reference: Row, options: Options) -> list:
    results = []
    for layer in layers:
        start = time.monotonic()
        fits = reference.name != "explicit" or explicit_flops(layer) <= EXPLICIT_FLOPS
        result = measure(layer, rows, reference if fits else options.burn, options)
        options.peaks.restart()
        result["peak"] = options.peaks.ask("peak")
        options.peaks.stop()
        results.append(result)
        print(report.progress(result, time.monotonic() - start), flush=True)
    return results


def measure_scaling(layers: list[dict], rows: list[Row], reference: Row, options: Options) -> list:
    """As `measure_all`; a row that is too slow for one size skips the next ones."""
    results: list[dict] = []
    slow: set[str] = set()
    kind = ""
    for layer in layers:
        if kind != (kind := layer["name"].split("_")[0]):
            slow.clear()
        ready = [row for row in rows if row.name not in slow]
        [result] = measure_all([layer], ready, reference, options)
        for name in slow:
            reason = f"over {LONGEST_CALL:g} s a call on a smaller one"
            result["reasons"][name] = {which: reason for which in PASSES}
        for name, turns in result["turns"].items():
            if any(median(times) > LONGEST_CALL for times in turns.values()):
                slow.add(name)
        results.append(result)
    return results


def build() -> Path:
    """Builds the Rust worker and finds it."""
    command = ["cargo", "bench", "--no-run", "--workspace", "--features", "ndarray"]
    command += ["--bench", "worker"]
    command.append("--message-format=json")
    lines = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    messages = [json.loads(line) for line in lines.stdout.splitlines() if line.startswith("{")]
    for message in messages:
        if message.get("target", {}).get("name") == "worker" and message.get("executable"):
            return Path(message["executable"])
    raise SystemExit("cargo has built no worker")


def install(folder: Path, skip: bool) -> Path:
    """Makes the virtual environment, and returns its Python."""
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    if not skip:
        pip = [str(python), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, "-r", str(HERE / "requirements.txt")], check=True)
    return python


def workers(
    names: list[str], binary: Path, python: Path, arguments: argparse.Namespace
) -> list[Row]:
    """The rows. Their processes have not started yet."""
    rows = []
    for name in names:
        command = [str(binary), "--serve"]
        if name not in OURS:
            framework = PEERS.get(name, name)
            command = [str(python), str(HERE / "worker.py"), framework, str(arguments.threads)]
        log = arguments.out / f"{name}.log"
        log.write_text("")
        rows.append(Row(name, Worker(command, log, arguments.threads)))
    return rows


def keep_cores(threads: int) -> None:
    """This process, and each that it starts, runs on the first cores only, one for each thread."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def cores() -> int:
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return count or 1


def processor() -> str:
    """The name of the CPU and of its widest vectors."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    pairs = [line.split(":", 1) for line in lines if ":" in line]
    known = {key.strip(): value.strip() for key, value in reversed(pairs)}
    flags = known.get("flags", "").split()
    vectors = [name for flag, name in (("avx512f", "AVX-512"), ("avx2", "AVX2")) if flag in flags]
    return ", ".join([known.get("model name", platform.machine()), *vectors[:1]])


def versions() -> list[str]:
    """The versions of everything that is timed."""
    tree = (ROOT / "Cargo.lock").read_text().split("[[package]]")
    fields = [
        dict(line.split(" = ") for line in part.splitlines() if " = " in line) for part in tree
    ]
    wanted = {'"burn"': "Burn", '"burn-deconv"': "burn-deconv"}
    locked = [
        f"{wanted[f['name']]} {json.loads(f['version'])}" for f in fields if f.get("name") in wanted
    ]
    rustc = subprocess.run(["rustc", "--version"], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    pinned = (HERE / "requirements.txt").read_text().split()
    return [*locked, " ".join(rustc.stdout.split()[:2]), *(p.replace("==", " ") for p in pinned)]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--layers", type=lambda text: text.split(","), help="only these, as a,b,c")
    add(
        "--rows",
        type=lambda text: text.split(","),
        help=f"only these of {', '.join((*OURS, *PEERS))}",
    )
    add("--rounds", type=int, default=7)
    add("--seconds", type=float, default=3.0, help="of calls, for one row, layer and pass")
    add("--threads", type=int, default=cores(), help="of each row (default: all cores)")
    add("--large-kernels", action="store_true", help="also layers with 16 to 2,048 taps on an axis")
    add("--well-known", action="store_true", help="also layers that nothing was tuned on")
    add("--scaling", action="store_true", help="also one layer on growing maps and batches")
    add("--out", type=Path, default=ROOT / "target" / "peers")
    add("--chart", type=Path, help="default: docs/speed.svg; for a part of the table, in --out")
    add("--venv", type=Path, default=ROOT / "target" / "peers-venv")
    add("--skip-install", action="store_true", help="the environment is complete")
    return parser.parse_args()


def choose(all_known: list[str], wanted: list[str] | None, what: str) -> list[str]:
    unknown = sorted(set(wanted or []) - set(all_known))
    if unknown:
        raise SystemExit(f"no such {what}: {', '.join(unknown)}; known: {', '.join(all_known)}")
    return [name for name in all_known if wanted is None or name in wanted]


def replace_block(path: Path, block: str) -> None:
    """Writes a block of lines between the two marks of a file."""
    text = path.read_text()
    begin, end = text.index(FIRST_MARK), text.index(LAST_MARK)
    begin = text.index("\n", begin) + 1
    path.write_text(text[:begin] + block + text[end:])


def main() -> None:
    arguments = parse()
    table = json.loads((ROOT / "benches" / "layers.json").read_text())
    known = [layer["name"] for part in table.values() for layer in part]
    names = choose(known, arguments.layers, "layer")
    layers, well_known, large, scaling = (
        [layer for layer in table[part] if layer["name"] in names]
        for part in ("layers", "well_known", "large_kernels", "scaling")
    )
    rows = choose([*OURS, *PEERS], arguments.rows or DEFAULT_ROWS, "row")
    arguments.out.mkdir(parents=True, exist_ok=True)

    python = install(arguments.venv, arguments.skip_install)
    binary = build()
    keep_cores(arguments.threads)
    started = workers(rows, binary, python, arguments)
    references = ["explicit", "ours", "burn", "peaks"]
    explicit, ours, burn, peaks = workers(references, binary, python, arguments)
    small = table["layers"][0]
    options = Options(arguments.rounds, arguments.seconds, small, peaks.worker, burn)

    data: dict[str, Any] = {
        "date": datetime.date.today().isoformat(),
        "cpu": processor(),
        "threads": arguments.threads,
        "rounds": arguments.rounds,
        "versions": versions(),
        "command": " ".join(["python3 benches/peers/run.py", *sys.argv[1:]]),
        "layers": measure_all(layers, started, explicit, options),
        "well_known": [],
        "large_kernels": [],
        "scaling": [],
    }
    if arguments.well_known:
        data["well_known"] = measure_all(well_known, started, explicit, options)
    if arguments.large_kernels:
        data["large_kernels"] = measure_all(large, started, explicit, options)
    if arguments.scaling:
        # The zeros of the explicit algorithm would not fit into memory: ours is the reference.
        chosen = [row for row in started if row.name in SCALING_ROWS]
        data["scaling"] = measure_scaling(scaling, chosen, ours, options)
    for row in started:
        row.worker.stop()

    (arguments.out / "report.json").write_text(json.dumps(data, indent=1))
    text = report.markdown(data)
    (arguments.out / "report.md").write_text(text)
    whole = arguments.layers is None and arguments.rows is None
    folder = ROOT / "docs" if whole else arguments.out
    (arguments.chart or folder / "speed.svg").write_text(chart.svg(data))
    if whole:
        replace_block(ROOT / "README.md", report.readme_block(data))
        replace_block(ROOT / "docs" / "speed.md", report.speed_block(data))
    print(text)


if __name__ == "__main__":
    try:
        main()
    except Reason as failure:  # of a reference, or of the measurement of the machine's limits
        raise SystemExit(f"{failure}; see the logs in --out") from failure
