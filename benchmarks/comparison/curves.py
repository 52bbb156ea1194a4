# SPDX-License-Identifier: Apache-2.0
"""A picture of lines for scenarios that differ in one number: a panel per curve, both axes logarithmic."""

from pathlib import Path

from .model import Scenario
from .plot import INK, OURS, QUIET, TITLES, load_pyplot
from .ratios import Summary
from .report import number

# Ours, then peers in their order: colours that everybody tells apart (Okabe and Ito), and markers.
LINES = (
    (OURS, "o"),
    (INK, "s"),
    ("#8a94a3", "D"),
    ("#d55e00", "^"),
    ("#009e73", "v"),
    ("#cc79a7", "P"),
)
LABEL_RATIO = 1.55  # between the heights of two labels, at least


def plot_curves(
    group: str, scenarios: list[Scenario], summaries: list[Summary], results: Path, caption: str
) -> list[Path]:
    """Writes GROUP-curves.png and .svg: the first metric's median against the scenarios' place."""
    names = list(dict.fromkeys(scenario.curve for scenario in scenarios if scenario.curve))
    styles: dict[str, tuple[str, str]] = {}
    for scenario in scenarios:
        for program in scenario.programs:
            styles.setdefault(program.name, LINES[len(styles) % len(LINES)])

    pyplot = load_pyplot()
    figure, axes = pyplot.subplots(
        1, len(names), figsize=(5.6 * len(names), 4.4), squeeze=False, sharey=True, layout="constrained"
    )
    figure.get_layout_engine().set(h_pad=0.1, w_pad=0.1)
    figure.suptitle(TITLES[group], x=0.012, ha="left", fontsize=13, color=INK, fontweight="bold")
    figure.supxlabel(caption, x=0.012, ha="left", fontsize=7.5, color=QUIET)
    for panel, name in zip(axes[0], names):
        mine = sorted((one for one in scenarios if one.curve == name), key=lambda one: one.at)
        _draw(panel, name, mine, summaries, styles)
    paths = [results / f"{group}-curves.png", results / f"{group}-curves.svg"]
    for path in paths:
        figure.savefig(path, dpi=150, facecolor="white")
    pyplot.close(figure)
    return paths


def _draw(  # type: ignore[no-untyped-def]
    panel,
    name: str,
    scenarios: list[Scenario],
    summaries: list[Summary],
    styles: dict[str, tuple[str, str]],
) -> None:
    metric = scenarios[0].metrics[0]
    found = {(one.scenario, one.program): one for one in summaries if one.metric == metric.key}
    ends: list[tuple[float, str]] = []
    for program in dict.fromkeys(p for scenario in scenarios for p in scenario.programs):
        points = [
            (scenario.at, found[scenario.title, program.name].median)
            for scenario in scenarios
            if (scenario.title, program.name) in found
        ]
        if not points:
            continue
        colour, marker = styles[program.name]
        panel.plot(
            *zip(*points),
            color=colour,
            marker=marker,
            markersize=5,
            linewidth=2.4 if program.ours else 1.3,
            zorder=4 if program.ours else 3,
        )
        ends.append((points[-1][1], program.name))

    panel.set_xscale("log", base=2)
    panel.set_yscale("log")
    last = scenarios[-1].at
    span = last / scenarios[0].at
    panel.set_xlim(scenarios[0].at / span**0.04, last * span**0.5)
    for height, value, program_name in _apart(ends):
        panel.annotate(
            f"{program_name}  {number(value)} {metric.unit}",
            (last * span**0.035, height),
            va="center",
            fontsize=8.5,
            color=styles[program_name][0],
            fontweight="bold" if styles[program_name] == LINES[0] else "normal",
        )
    panel.set_xticks([one.at for one in scenarios], [one.title.split(",")[0] for one in scenarios])
    panel.minorticks_off()
    panel.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    panel.tick_params(axis="both", length=0, labelsize=8.5, labelcolor=QUIET, labelleft=True)
    panel.grid(color="#eceff3", linewidth=0.8, zorder=0)
    panel.set_title(name, loc="left", fontsize=10, color=INK, pad=17)
    panel.text(
        *(0, 1.02, f"{metric.title}, {metric.unit}, against the size of a message; less is better"),
        transform=panel.transAxes,
        va="bottom",
        fontsize=8,
        color=QUIET,
    )
    for side in panel.spines.values():
        side.set_visible(False)


def _apart(ends: list[tuple[float, str]]) -> list[tuple[float, float, str]]:
    """Heights for labels of values on a logarithmic axis, so that none covers another."""
    placed: list[tuple[float, float, str]] = []
    for value, name in sorted(ends):
        height = max(value, placed[-1][0] * LABEL_RATIO) if placed else value
        placed.append((height, value, name))
    return placed
