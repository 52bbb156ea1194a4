# SPDX-License-Identifier: Apache-2.0
"""One picture per group: a panel per compared metric, bars of ratios with their intervals."""

from pathlib import Path

from .model import Metric, Scenario
from .ratios import Summary
from .report import number

OURS = "#2f6db5"
REFERENCE = "#6b7280"
PEER = "#c3cad5"
INK = "#1f2937"
QUIET = "#6b7280"

AXIS_LEAST = 1.5  # so that a small difference looks small
CLIPPED_ABOVE = 3.2  # a bar beyond this many times the reference is cut; its label tells the ratio

TITLES = {
    "echo": "TCP echo",
    "file": "Random file reads",
    "timers": "Timers",
    "wake": "Waking another thread",
    "ticks": "Ticks at 1 kHz",
    "tasks": "Coroutines",
    "dispatch": "Dispatch of a completion",
    "pubsub": "Publish and subscribe, between two processes",
}


def can_plot() -> bool:
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True


def load_pyplot():  # type: ignore[no-untyped-def]
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams.update(
        {"font.family": "DejaVu Sans", "font.size": 9, "svg.fonttype": "none", "svg.hashsalt": "horus"}
    )
    from matplotlib import pyplot

    return pyplot


def plot_group(
    group: str, scenarios: list[Scenario], summaries: list[Summary], results: Path, caption: str
) -> list[Path]:
    """Writes GROUP.png and GROUP.svg; nothing when no panel has a ratio."""
    pyplot = load_pyplot()
    panels: list[tuple[Scenario, Metric, list[Summary]]] = []
    for scenario in scenarios:
        for metric in scenario.metrics:
            bars = [
                summary
                for summary in summaries
                if (summary.scenario, summary.metric) == (scenario.title, metric.key)
                and summary.ratio is not None
            ]
            if metric.compared and bars:
                panels.append((scenario, metric, bars))
    if not panels:
        return []

    columns = min(2, len(panels))
    grid = [panels[i : i + columns] for i in range(0, len(panels), columns)]
    heights = [max(len(bars) for _, _, bars in row) * 0.27 + 0.9 for row in grid]
    figure, axes = pyplot.subplots(
        len(grid),
        columns,
        figsize=(5.6 * columns, sum(heights) + 1.0),
        squeeze=False,
        gridspec_kw={"height_ratios": heights},
        layout="constrained",
    )
    figure.get_layout_engine().set(h_pad=0.12, w_pad=0.1)
    figure.suptitle(TITLES[group], x=0.012, ha="left", fontsize=13, color=INK, fontweight="bold")
    figure.supxlabel(caption, x=0.012, ha="left", fontsize=7.5, color=QUIET)
    for row, row_axes in zip(grid, axes):
        for (scenario, metric, bars), panel in zip(row, row_axes):
            _draw(panel, scenario, metric, bars, max(len(others) for _, _, others in row))
        for empty in row_axes[len(row) :]:
            empty.axis("off")

    paths = [results / f"{group}.png", results / f"{group}.svg"]
    for path in paths:
        figure.savefig(path, dpi=150, facecolor="white")
    pyplot.close(figure)
    return paths


def _draw(  # type: ignore[no-untyped-def]
    panel, scenario: Scenario, metric: Metric, bars: list[Summary], rows: int
) -> None:
    bars = list(reversed(bars))  # barh counts from below
    ratios = [summary.ratio or 0.0 for summary in bars]
    ends = [max(summary.ratio or 0.0, summary.ratio_high or 0.0) for summary in bars]
    limit = max(AXIS_LEAST, *(min(end, CLIPPED_ABOVE) for end in ends))
    colours = [
        OURS if summary.ours else REFERENCE if summary.program == scenario.reference else PEER
        for summary in bars
    ]
    lengths = [min(ratio, limit) for ratio in ratios]
    panel.barh(range(len(bars)), lengths, color=colours, height=0.66, zorder=2)
    panel.axvline(1.0, color=QUIET, linewidth=0.8, linestyle=(0, (3, 3)), zorder=3)
    for place, (summary, ratio) in enumerate(zip(bars, ratios)):
        if ratio > limit:
            _mark_cut(panel, place, limit)
        elif summary.program != scenario.reference:
            _whisker(panel, place, summary.ratio_low or 0.0, summary.ratio_high or 0.0, limit)
        font = {"fontsize": 8.5, "fontweight": "bold" if summary.ours else "normal"}
        for at, side, colour, text in (
            (limit * 1.03, "left", INK, f"{ratio:.2f}×" if ratio < 10 else f"{ratio:.0f}×"),
            (limit * 1.42, "right", QUIET, f"{number(summary.median)} {summary.unit}".strip()),
        ):
            panel.text(at, place, text, va="center", ha=side, color=colour, **font)

    direction = "more is better" if metric.higher_is_better else "less is better"
    panel.set_title(scenario.title, loc="left", fontsize=10, color=INK, pad=17)
    panel.text(
        *(0, 1.02, f"{metric.title}, {direction}"),
        transform=panel.transAxes,
        va="bottom",
        fontsize=8,
        color=QUIET,
    )
    panel.set_yticks(range(len(bars)), [summary.program for summary in bars], color=INK)
    for label, summary in zip(panel.get_yticklabels(), bars):
        label.set_fontweight("bold" if summary.ours else "normal")
    panel.set_xlim(0, limit * 1.43)
    # As many places as the fullest panel of the row, so that all bars are equally thick.
    panel.set_ylim(len(bars) - rows - 0.6, len(bars) - 0.4)
    panel.set_xticks([tick * 0.5 for tick in range(int(limit / 0.5) + 1)])
    panel.tick_params(axis="both", length=0, labelsize=8.5)
    panel.tick_params(axis="x", labelcolor=QUIET, labelsize=7.5)
    panel.xaxis.set_major_formatter(lambda value, _: f"{value:g}×")
    panel.grid(axis="x", color="#eceff3", linewidth=0.8, zorder=0)
    for side in panel.spines.values():
        side.set_visible(False)


def _whisker(  # type: ignore[no-untyped-def]
    panel, place: int, low: float, high: float, limit: float
) -> None:
    panel.plot([low, min(high, limit)], [place, place], color=INK, linewidth=1.0, zorder=4)
    for end in (low, high):
        if end <= limit:
            panel.plot([end, end], [place - 0.14, place + 0.14], color=INK, linewidth=1.0, zorder=4)


def _mark_cut(panel, place: int, limit: float) -> None:  # type: ignore[no-untyped-def]
    """Two white strokes through a bar that is longer than the axis."""
    for offset in (0.925, 0.945):
        at = limit * offset
        panel.plot(
            [at - 0.006 * limit, at + 0.006 * limit],
            [place - 0.4, place + 0.4],
            color="white",
            linewidth=1.6,
            zorder=5,
        )
