"""The tables of one run of run.py, as Markdown."""

from __future__ import annotations

from collections.abc import Iterable
from math import exp, log
from statistics import median
from typing import Any

TITLES = {
    "ours": "ours, flex",
    "explicit": "explicit, flex",
    "burn": "Burn, flex",
    "ours_ndarray": "ours, ndarray",
    "burn_ndarray": "Burn, ndarray",
    "tensorflow": "TensorFlow",
    "torch": "PyTorch",
    "torch_channels_last": "PyTorch, channels last",
    "openvino": "OpenVINO",
    "jax": "JAX",
}
SHORT = {
    "tensorflow": "TF",
    "torch": "PT",
    "torch_channels_last": "PT-cl",
    "openvino": "OV",
    "jax": "JAX",
}
PEERS = ("tensorflow", "torch", "torch_channels_last", "openvino", "jax")
PASSES = {"forward": "Forward", "forward_backward": "Forward and backward"}

# The layers in the README's table: wins and losses.
README_LAYERS = (
    "pix2pix_up",
    "segmentation_up",
    "super_resolution_x3",
    "rgb_head",
    "unet_up",
    "dbnet_head",
)

# Column: the row above the line of the fraction, and the row below.
RATIOS = {
    "Burn / ours, flex": ("burn", "ours"),
    "Burn / ours, ndarray": ("burn_ndarray", "ours_ndarray"),
}


def seconds(result: dict, row: str, which: str) -> float | None:
    """The median over the rounds."""
    turns = result["turns"].get(row, {}).get(which)
    return median(turns) if turns else None


def best_peer(result: dict, which: str) -> tuple[str, float] | None:
    times = [(row, seconds(result, row, which)) for row in PEERS]
    known = [(row, time) for row, time in times if time is not None]
    return min(known, key=lambda pair: pair[1], default=None)


def best_ratio(result: dict, which: str) -> float | None:
    """The best peer's time divided by ours."""
    best, ours = best_peer(result, which), seconds(result, "ours", which)
    return best[1] / ours if best and ours else None


def ratio(result: dict, rows: tuple[str, str], which: str) -> float | None:
    times = [seconds(result, row, which) for row in rows]
    return times[0] / times[1] if times[0] and times[1] else None


def geometric_mean(numbers: Iterable[float | None]) -> float | None:
    known = [number for number in numbers if number is not None]
    return exp(sum(map(log, known)) / len(known)) if known else None


def digits(number: float | None, unit: str = "") -> str:
    """Three digits, or a dash if the number is unknown."""
    if number is None:
        return "-"
    places = 0 if abs(number) >= 100 else 1 if abs(number) >= 10 else 2 if abs(number) >= 1 else 3
    return f"{number:.{places}f}{unit}"


def table(head: list[str], body: list[list[str]], numbers: bool = True) -> str:
    rule = ["---", *["---:" if numbers else "---"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, rule, *body))


def rows_of(results: list[dict]) -> list[str]:
    measured = {row for result in results for row in (*result["turns"], *result["reasons"])}
    return [row for row in TITLES if row in measured]


def peaks(results: list[dict]) -> tuple[float | None, float | None]:
    """FLOP/s of the fastest matrix product and bytes/s of a copy: medians over the run."""
    known = [result["peak"] for result in results]
    if not known:
        return None, None
    speed = {name: median(peak[name] for peak in known) for name in known[0]}
    copy = speed.pop("copy")
    return max(speed.values()), copy


def times_table(results: list[dict], which: str) -> str:
    rows = rows_of(results)
    ratios = {name: pair for name, pair in RATIOS.items() if set(pair) <= set(rows)}
    with_peers = "ours" in rows and any(row in rows for row in PEERS)
    head = ["layer", *(TITLES[row] for row in rows)]
    head += [*(["best peer / ours"] if with_peers else []), *ratios]
    body = []
    for result in results:
        line = [result["layer"]["name"]]
        line += [milliseconds(seconds(result, row, which)) for row in rows]
        if with_peers:
            best = best_peer(result, which)
            name = f" ({TITLES[best[0]]})" if best else ""
            line.append(digits(best_ratio(result, which)) + name)
        line += [digits(ratio(result, pair, which)) for pair in ratios.values()]
        body.append(line)
    means = ["geometric mean", *["" for _ in rows]]
    if with_peers:
        means.append(digits(geometric_mean(best_ratio(r, which) for r in results)))
    for pair in ratios.values():
        means.append(digits(geometric_mean(ratio(r, pair, which) for r in results)))
    return table(head, [*body, means])


def readme_block(data: dict[str, Any]) -> str:
    """The lines of README.md: some layers, and the geometric means over all."""
    head = ["layer"]
    for name in ("forward", "with backward"):
        head += [f"{name}: ours", "Burn", "best other"]
    body, results = [], data["layers"]
    for result in results:
        if result["layer"]["name"] not in README_LAYERS:
            continue
        line = [result["layer"]["name"]]
        for which in PASSES:
            line += [milliseconds(seconds(result, row, which)) for row in ("ours", "burn")]
            line.append(best_other(result, which))
        body.append(line)
    means = [f"all {len(results)} layers, mean of their time / ours"]
    for which in PASSES:
        burn = geometric_mean(ratio(r, ("burn", "ours"), which) for r in results)
        best = geometric_mean(best_ratio(r, which) for r in results)
        means += ["", digits(burn), digits(best)]
    machine = f"{data['cpu']}, {data['threads']} threads; {data['date']}"
    names = "PT: PyTorch, PT-cl: on channels-last tensors, TF: TensorFlow, OV: OpenVINO."
    return f"{table(head, [*body, means])}\n\n{names}\n{machine}.\n"


def speed_block(data: dict[str, Any]) -> str:
    """The lines of docs/speed.md: all layers, the machine and the command."""
    product, copy = peaks(data["layers"])
    large, known = data["large_kernels"], data["well_known"]
    large = f"Large kernels:\n\n{summary_table(large)}\n\n" if large else ""
    known = f"Layers that nothing was tuned on:\n\n{summary_table(known)}\n\n" if known else ""
    return f"""{summary_table(data["layers"])}

{known}{large}{data["cpu"]}, {data["threads"]} threads; {data["date"]}; {", ".join(data["versions"])}.
In the same run, matrix products reached {digits(product and product / 1e9)} GFLOP/s and copies
{digits(copy and copy / 1e9)} GB/s.

```text
{data["command"]}
```
"""


def best_other(result: dict, which: str) -> str:
    best = best_peer(result, which)
    return f"{milliseconds(best[1])} {SHORT[best[0]]}" if best else "-"


def summary_table(results: list[dict]) -> str:
    """Milliseconds of ours, of Burn's layer and of the best other framework."""
    head = ["layer"]
    for name in PASSES.values():
        head += [f"{name}: ours", "Burn", "best other", "ratio"]
    body = []
    for result in results:
        line = [result["layer"]["name"]]
        for which in PASSES:
            line += [milliseconds(seconds(result, row, which)) for row in ("ours", "burn")]
            line += [best_other(result, which), digits(best_ratio(result, which))]
        body.append(line)
    means = ["geometric mean of ratios"]
    for which in PASSES:
        burn = geometric_mean(ratio(r, ("burn", "ours"), which) for r in results)
        best = geometric_mean(best_ratio(r, which) for r in results)
        means += ["", digits(burn), "", digits(best)]
    return table(head, [*body, means])


def milliseconds(time: float | None) -> str:
    return digits(None if time is None else time * 1e3)


def efficiency_table(results: list[dict]) -> str:
    product, copy = peaks(results)
    head = ["layer"]
    for name in PASSES.values():
        head += [f"{name}: MFLOP", "GFLOP/s", "of SGEMM", "MB", "GB/s", "of copy"]
    body = []
    for result in results:
        line = [result["layer"]["name"]]
        for i, which in enumerate(PASSES):
            time = seconds(result, "ours", which)
            for key, peak in (("flops", product), ("bytes", copy)):
                amount = result["layer"][key][i]
                speed = amount / time if time else None
                share = 100 * speed / peak if speed and peak else None
                line += [
                    digits(amount / 1e6),
                    digits(speed / 1e9 if speed else None),
                    "-" if share is None else f"{share:.0f}%",
                ]
        body.append(line)
    return table(head, body)


def memory_table(results: list[dict], which: str, beyond: bool) -> str:
    """The peak memory of the process, or its excess over the memory before the first call."""
    rows = rows_of(results)
    body = []
    for result in results:
        line = [result["layer"]["name"]]
        for row in rows:
            held = result["memory"].get(row, {})
            peak, before = held.get(which), held.get("before")
            known = peak is not None and before is not None
            line.append(digits((peak - beyond * before) / 2**20 if known else None))
        body.append(line)
    return table(["layer", *(TITLES[row] for row in rows)], body)


def scaling_table(results: list[dict], which: str) -> str:
    rows, place = rows_of(results), list(PASSES).index(which)
    body = []
    for result in results:
        flops = result["layer"]["flops"][place]
        times = [seconds(result, row, which) for row in rows]
        picoseconds = [digits(None if t is None else t / flops * 1e12) for t in times]
        body.append([result["layer"]["name"], digits(flops / 1e6), *picoseconds])
    return table(["layer", "MFLOP", *(TITLES[row] for row in rows)], body)


def reasons(results: list[dict]) -> str:
    """The reasons for the dashes, each reason once."""
    known: dict[tuple[str, str], list[str]] = {}
    for result in results:
        for row, by_pass in result["reasons"].items():
            for which, reason in by_pass.items():
                place = f"{result['layer']['name']} {PASSES[which].lower()}"
                known.setdefault((row, reason), []).append(place)
    lines = []
    for (row, reason), places in known.items():
        more = f" and {len(places) - 2} more" if len(places) > 2 else ""
        lines.append(f"- {TITLES[row]}: {reason} ({', '.join(places[:2])}{more})")
    return "\n".join(lines)


def layers_table(results: list[dict]) -> str:
    body = []
    for result in results:
        layer = result["layer"]
        n, c_in, h, w = layer["input"]
        kernel, stride = ("x".join(map(str, layer[key])) for key in ("kernel", "stride"))
        more = [f"dilation {layer['dilation'][0]}"] if layer["dilation"] != [1, 1] else []
        more += [f"{layer['groups']} groups"] if layer["groups"] > 1 else []
        shape = [f"[{n}, {c_in}, {h}, {w}]", str(layer["output"])]
        rest = [kernel, stride, ", ".join([str(layer["padding"]), *more])]
        body.append([layer["name"], layer["what"], *shape, *rest])
    head = ["layer", "what", "input", "output", "kernel", "stride", "padding"]
    return table(head, body, numbers=False)


def progress(result: dict, spent: float) -> str:
    ratios = [digits(best_ratio(result, which)) for which in PASSES]
    return f"{result['layer']['name']}: best peer / ours {' and '.join(ratios)}, in {spent:.0f} s"


def heading(data: dict[str, Any]) -> str:
    product, copy = peaks(data["layers"])
    return f"""# Speed beside other frameworks

{data["cpu"]}, {data["threads"]} threads; {data["date"]}; {", ".join(data["versions"])}.

```text
{data["command"]}
```

Medians of {data["rounds"]} rounds, fewer if a call takes seconds; the rows take turns. f32, no
bias. Each output and gradient equals the explicit algorithm's, to the last bit. "Forward and
backward" computes the output and the gradients of input and weight, for a given gradient of the
output. OpenVINO's weight is a constant: it is prepared before the clock starts.

In the same run: matrix products (SGEMM, the best of 1024 and 2048 with PyTorch, NumPy and JAX),
{digits(product and product / 1e9)} GFLOP/s; copies of 128 MiB with PyTorch, bytes read and written,
{digits(copy and copy / 1e9)} GB/s."""


def markdown(data: dict[str, Any]) -> str:
    results, large, scaling = data["layers"], data["large_kernels"], data["scaling"]
    parts = [heading(data), "## Summary, milliseconds", summary_table(results)]
    if data["well_known"]:
        parts += ["## Layers that nothing was tuned on, milliseconds"]
        parts += [summary_table(data["well_known"])]
    if large:
        parts += ["## Large kernels, milliseconds", summary_table(large)]
    for which, name in PASSES.items():
        parts += [f"## {name}, milliseconds", times_table(results, which)]
    parts += [
        "## How near to the machine's limits",
        "Ours on flex. FLOPs count if their result reaches the output. Bytes are those of the\n"
        "layer's tensors and gradients, each once.",
        efficiency_table(results),
    ]
    parts.append("## Peak memory, MiB")
    for which, name in PASSES.items():
        parts += [f"{name}, in excess of the memory before the first call:"]
        parts.append(memory_table(results, which, beyond=True))
    parts.append("Forward and backward, the whole process, all its libraries included:")
    parts.append(memory_table(results, "forward_backward", beyond=False))
    if scaling:
        parts.append("## As maps and batches grow: picoseconds a FLOP")
        parts.append(
            "64 to 32 channels, kernel 4, stride 2; batches of 32x32. The reference is ours."
        )
        for which, name in PASSES.items():
            parts += [f"{name}:", scaling_table(scaling, which)]
    missing = reasons([*results, *data["well_known"], *large, *scaling])
    if missing:
        parts += ["## Dashes", missing]
    parts += ["## The layers", layers_table([*results, *large])]
    return "\n\n".join(parts) + "\n"
