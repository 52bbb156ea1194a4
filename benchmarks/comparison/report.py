# SPDX-License-Identifier: Apache-2.0
"""Tables for the terminal."""

from .model import Scenario
from .ratios import Summary


def number(value: float) -> str:
    """Three digits that matter, without an exponent."""
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 10_000:
        return f"{value:,.0f}".replace(",", " ")
    if size >= 100:
        return f"{value:.0f}"
    if size >= 10:
        return f"{value:.1f}"
    if size >= 1:
        return f"{value:.2f}"
    return f"{value:.3f}"


def table(scenario: Scenario, summaries: list[Summary]) -> str:
    """A block per compared metric, a row per program; other metrics' medians in the first block."""
    found = {(summary.program, summary.metric): summary for summary in summaries}
    others = [metric for metric in scenario.metrics if not metric.compared]
    blocks = [[scenario.title]]
    for metric in (metric for metric in scenario.metrics if metric.compared):
        header = [
            f"{metric.title}{', ' + metric.unit if metric.unit else ''}",
            "median",
            "max" if metric.higher_is_better else "min",
            f"÷ {scenario.reference}",
            "95 % interval",
            "of best",
            *(f"{other.title} {other.unit}".strip() for other in others),
        ]
        rows = [header]
        for program in scenario.programs:
            summary = found.get((program.name, metric.key))
            if summary is None:
                continue
            extra = [found.get((program.name, other.key)) for other in others]
            rows.append(
                [
                    program.name,
                    *_compared_cells(summary),
                    *(number(other.median) if other else "" for other in extra),
                ]
            )
        blocks.append(_aligned(rows))
        others = []
    return "\n\n".join("\n".join(block) for block in blocks)


def _compared_cells(summary: Summary) -> list[str]:
    cells = [number(summary.median), number(summary.best)]
    if summary.ratio is None or summary.ratio_low is None or summary.ratio_high is None:
        return [*cells, "", "", ""]
    return [
        *cells,
        _ratio(summary.ratio),
        f"{_ratio(summary.ratio_low)} – {_ratio(summary.ratio_high)}",
        _ratio(summary.ratio_of_best or 0),
    ]


def _ratio(value: float) -> str:
    return f"{value:.3f}" if value < 10 else number(value)


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for name, *cells in rows:
        numbers = (cell.rjust(width) for cell, width in zip(cells, widths[1:]))
        lines.append("  " + "  ".join([name.ljust(widths[0]), *numbers]))
    return [lines[0], "  " + "─" * (len(lines[0]) - 2), *lines[1:]]
