"""The chart of one run of run.py, as SVG: the best peer's time over ours, two bars a layer."""

from __future__ import annotations

from html import escape
from math import ceil, floor, log2
from typing import Any

import report

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 860, 176, 150, 96, 44
ROW, BAR = 38, 13
COLORS = {"forward": "#2563a8", "forward_backward": "#8db8e0"}
INK, PALE = "#24292f", "#d7dce2"
STYLE = "font-family='system-ui, Segoe UI, Helvetica, Arial, sans-serif'"


def svg(data: dict[str, Any]) -> str:
    """Bars start at 1, the line of equal speed: to its right, ours is faster."""
    results = data["layers"]
    ratios = [report.best_ratio(result, which) for result in results for which in COLORS]
    logs = [log2(ratio) for ratio in ratios if ratio] or [0.0]
    low, high = min(-1, floor(min(logs))), max(1, ceil(max(logs)))
    scale = (WIDTH - LEFT - RIGHT) / (high - low)

    def x(ratio: float) -> float:
        return LEFT + (log2(ratio) - low) * scale

    bottom = TOP + ROW * len(results)
    height = bottom + BOTTOM
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' {STYLE}>",
        f"<rect width='{WIDTH}' height='{height}' fill='#ffffff'/>",
        text(16, 28, "Time of the fastest peer over ours", size=17, weight=600),
        text(16, 48, subtitle(data), size=12),
        *legend(data),
    ]
    for power in range(low, high + 1):
        ratio = 2.0**power
        color, wide = (INK, 1.5) if power == 0 else (PALE, 1)
        parts.append(
            f"<line x1='{x(ratio):.1f}' x2='{x(ratio):.1f}' y1='{TOP - 6}' y2='{bottom + 4}' "
            f"stroke='{color}' stroke-width='{wide}'/>"
        )
        parts.append(text(x(ratio), bottom + 20, f"{ratio:g}x", anchor="middle"))
    parts.append(
        text(x(1), bottom + 36, "slower \u2190 as fast \u2192 faster", anchor="middle", size=11)
    )
    for i, result in enumerate(results):
        top = TOP + ROW * i + (ROW - 2 * BAR) / 2
        name = result["layer"]["name"]
        parts.append(text(LEFT - 10, top + BAR + 4, name, anchor="end", size=12.5))
        for j, which in enumerate(COLORS):
            parts += bar(result, which, top + j * BAR, x)
    return "\n".join([*parts, "</svg>", ""])


def bar(result: dict, which: str, top: float, x: Any) -> list[str]:
    ratio, best = report.best_ratio(result, which), report.best_peer(result, which)
    if ratio is None or best is None:
        return []
    begin, end = sorted((x(1), x(ratio)))
    peer = report.TITLES[best[0]].split(",")[0]
    return [
        f"<rect x='{begin:.1f}' y='{top:.1f}' width='{end - begin:.1f}' height='{BAR - 1}' "
        f"fill='{COLORS[which]}'/>",
        text(end + 6, top + BAR - 3, f"{report.digits(ratio)} {peer}", size=11),
    ]


def legend(data: dict[str, Any]) -> list[str]:
    parts, left = [], 16
    for which, color in COLORS.items():
        mean = report.geometric_mean(report.best_ratio(r, which) for r in data["layers"])
        label = f"{report.PASSES[which]}, geometric mean {report.digits(mean)}"
        parts.append(f"<rect x='{left}' y='60' width='12' height='12' fill='{color}'/>")
        parts.append(text(left + 18, 70, label, size=12))
        left += 250
    return parts


def subtitle(data: dict[str, Any]) -> str:
    who = "TensorFlow, PyTorch, OpenVINO and JAX"
    return f"{who} on {data['cpu']}, {data['threads']} threads, f32, {data['date']}"


def text(
    x: float, y: float, words: str, anchor: str = "start", size: float = 12, weight: int = 400
) -> str:
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}' font-size='{size}' "
        f"font-weight='{weight}' fill='{INK}'>{escape(words)}</text>"
    )
