"""The plots of the site: each as two SVGs, one for light pages and one for dark ones."""

import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from scenarios import TITLES, first, machine, ratios

# Text stays text, and the same figures make the same file.
mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "procession"})
mpl.rcParams["font.family"] = "sans-serif"

METHODS = ["fork", "spawn", "forkserver"]
MARKERS = {"fork": "o", "spawn": "s", "forkserver": "D"}


@dataclass(frozen=True)
class Theme:
    """The colours of a page."""

    name: str
    text: str
    faint: str
    ours: str
    theirs: str
    good: str
    bad: str


THEMES = [
    Theme("light", "#212121", "#bdbdbd", "#00796b", "#9e9e9e", "#b2dfdb", "#ef9a9a"),
    Theme("dark", "#e6e6e6", "#5c6068", "#4db6ac", "#90949c", "#1f5f58", "#8e3a3a"),
]


def draw_all(
    speed: dict[str, Any], failures: dict[str, Any], folder: Path
) -> Iterator[Path]:
    """Draws every plot into a folder, and yields the files."""
    folder.mkdir(parents=True, exist_ok=True)
    plots: dict[str, Callable[[Theme], Figure]] = {
        "first": lambda theme: draw_first(speed, theme),
        "speed": lambda theme: draw_speed(speed, theme),
        "rust": lambda theme: draw_rust(speed, theme),
        "failures": lambda theme: draw_failures(failures, theme),
    }
    for name, draw in plots.items():
        for theme in THEMES:
            path = folder / f"{name}-{theme.name}.svg"
            figure = draw(theme)
            figure.savefig(
                path, transparent=True, bbox_inches="tight", metadata={"Date": None}
            )
            yield path


def draw_first(speed: dict[str, Any], theme: Theme) -> Figure:
    """Bars: how many times faster than the standard library."""
    rows = first(speed)[::-1]
    figure, axes = _axes(theme, 7.5, 0.36 * len(rows) + 0.9)
    bars = axes.barh(
        [title for title, _ in rows], [r for _, r in rows], color=theme.ours
    )
    axes.bar_label(
        bars,
        [f"{r:.0f}x" if r >= 10 else f"{r:.1f}x" for _, r in rows],
        padding=4,
        color=theme.text,
    )
    axes.axvline(1, color=theme.text, linewidth=1, linestyle="--")
    axes.set_xlabel(
        f"times as fast as multiprocessing (dashed: the same), by the start method with the least\n{machine(speed)}",
        color=theme.text,
        fontsize=9,
    )
    axes.margins(x=0.1)
    return figure


def draw_speed(speed: dict[str, Any], theme: Theme) -> Figure:
    """A point for each scenario and start method, on a scale of powers."""
    found = ratios(speed)
    names = sorted(found, key=lambda name: max(found[name].values()))
    figure, axes = _axes(theme, 8, 0.34 * len(names) + 1.1)
    colours = {"fork": theme.ours, "spawn": theme.theirs, "forkserver": theme.text}
    for method in METHODS:
        points = [(found[n][method], TITLES[n]) for n in names if method in found[n]]
        axes.scatter(
            [x for x, _ in points],
            [y for _, y in points],
            label=method,
            marker=MARKERS[method],
            color=colours[method],
            s=36,
            zorder=3,
        )
    axes.set_xscale("log")
    ticks = [1, 2, 5, 10, 20, 50, 100]
    axes.set_xticks(ticks, [f"{tick}x" for tick in ticks])
    axes.minorticks_off()
    axes.grid(axis="x", color=theme.faint, linewidth=0.6)
    axes.axvline(1, color=theme.text, linewidth=1, linestyle="--")
    axes.legend(frameon=False, labelcolor=theme.text, loc="lower right")
    axes.set_xlabel(
        f"times as fast as multiprocessing\n{machine(speed)}",
        color=theme.text,
        fontsize=9,
    )
    return figure


def draw_rust(speed: dict[str, Any], theme: Theme) -> Figure:
    """Bars: how many times faster than procspawn and ipc-channel."""
    rows = [
        (
            f"{TITLES[r['scenario']]} ({r['method'].removeprefix('rust ')}),\nbeside {r['reference']}",
            r["ratio"],
        )
        for r in speed["results"]
        if r["method"].startswith("rust") and r["ratio"] is not None
    ]
    rows.sort(key=lambda row: row[1])
    figure, axes = _axes(theme, 7.5, 0.6 * len(rows) + 0.9)
    bars = axes.barh(
        [title for title, _ in rows], [r - 1 for _, r in rows], left=1, color=theme.ours
    )
    axes.bar_label(
        bars,
        [f"{r:.0f}x" if r >= 10 else f"{r:.1f}x" for _, r in rows],
        padding=4,
        color=theme.text,
    )
    axes.set_xscale("log")
    ticks = [1, 2, 5, 10, 20, 50, 100, 200]
    axes.set_xticks(ticks, [f"{tick}x" for tick in ticks])
    axes.minorticks_off()
    # A bar begins where there is no difference.
    least, most = min(ratio for _, ratio in rows), max(ratio for _, ratio in rows)
    axes.set_xlim(min(1, 0.8 * least), 2 * most)
    axes.set_xlabel(f"times as fast\n{machine(speed)}", color=theme.text, fontsize=9)
    return figure


def draw_failures(failures: dict[str, Any], theme: Theme) -> Figure:
    """A field for each library and scenario: green where it passes, with what its caller saw."""
    results = failures["results"]
    scenarios = list(dict.fromkeys(one["scenario"] for one in results))
    libraries = list(failures["versions"])
    figure, axes = _axes(theme, 12.5, 0.62 * len(libraries) + 1)
    for one in results:
        x, y = scenarios.index(one["scenario"]), libraries.index(one["library"])
        colour = theme.good if one["passed"] else theme.bad
        axes.barh(y, 0.96, left=x + 0.02, height=0.92, color=colour)
        told = "\n".join(textwrap.wrap(one["text"], 19)[:3])
        axes.text(
            x + 0.5, y, told, ha="center", va="center", fontsize=6.4, color=theme.text
        )
    axes.set_xticks(
        [x + 0.5 for x in range(len(scenarios))],
        [textwrap.fill(name, 15) for name in scenarios],
        fontsize=8,
    )
    axes.xaxis.tick_top()
    axes.set_yticks(
        range(len(libraries)),
        [f"{name} {failures['versions'][name]}".strip() for name in libraries],
    )
    axes.set_ylim(len(libraries) - 0.5, -0.5)
    axes.set_xlim(0, len(scenarios))
    axes.tick_params(length=0)
    axes.spines["bottom"].set_visible(False)
    axes.text(
        0,
        len(libraries) - 0.3,
        f"{failures['machine']}, {failures['date']}",
        fontsize=8,
        color=theme.text,
        va="top",
    )
    return figure


def _axes(theme: Theme, width: float, height: float) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.patch.set_alpha(0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(theme.faint)
    axes.tick_params(colors=theme.text, which="both")
    axes.tick_params(axis="y", length=0)
    return figure, axes
