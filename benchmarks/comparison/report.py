# SPDX-License-Identifier: Apache-2.0
"""Tables for the terminal."""

from .ratios import Summary
from .scenarios import Scenario


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
    """One row per program; a compared metric takes four columns, any other one its median."""
    found = {(summary.program, summary.metric): summary for summary in summaries}
    header = [f"{scenario.group}: {scenario.title}"]
    for metric in scenario.metrics:
        title = f"{metric.title} {metric.unit}".strip()
        header.append(title)
        if metric.compared:
            header += ["max" if metric.higher_is_better else "min", f"÷ {scenario.reference}", "of best"]
    rows = [header]
    for program in scenario.programs:
        row = [program.name]
        for metric in scenario.metrics:
            summary = found.get((program.name, metric.key))
            row += _cells(summary, metric.compared)
        if any(row[1:]):
            rows.append(row)
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    lines = [
        "  ".join(cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths)))
        for row in rows
    ]
    return "\n".join([lines[0], "─" * len(lines[0]), *lines[1:]])


def _cells(summary: Summary | None, compared: bool) -> list[str]:
    if summary is None:
        return [""] * (4 if compared else 1)
    cells = [number(summary.median)]
    if compared:
        cells.append(number(summary.best))
        if summary.ratio is None or summary.ratio_low is None or summary.ratio_high is None:
            cells += ["", ""]
        else:
            cells.append(f"{summary.ratio:.3f} [{summary.ratio_low:.3f}, {summary.ratio_high:.3f}]")
            cells.append(f"{summary.ratio_of_best:.3f}")
    return cells
