# SPDX-License-Identifier: Apache-2.0
"""What the numbers say: medians, best values and ratios of paired runs with an interval.

Programs run interleaved, so run i of a program and run i of the reference met the same
disturbances. The ratio is the median of the ratios of such pairs, its interval the middle 95 % of
that median over resampled pairs.
"""

import random
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from .measure import Values
from .model import Metric, Program, Scenario

RESAMPLES = 1000


@dataclass(frozen=True)
class Summary:
    group: str
    scenario: str
    program: str
    ours: bool
    metric: str
    unit: str
    runs: int
    median: float
    best: float
    reference: str
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    ratio_of_best: float | None = None

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def interval(ratios: Sequence[float], seed: int) -> tuple[float, float]:
    if len(ratios) < 3:
        return min(ratios), max(ratios)
    chance = random.Random(seed)
    medians = sorted(
        statistics.median(chance.choices(ratios, k=len(ratios))) for _ in range(RESAMPLES)
    )
    return medians[int(0.025 * RESAMPLES)], medians[int(0.975 * RESAMPLES) - 1]


def summarize(scenario: Scenario, rounds: list[dict[str, Values]], seed: int) -> list[Summary]:
    """`rounds` holds per round and program name the values of one run; a failed run is missing."""
    summaries = (
        _summarize(scenario, program, metric, rounds, seed)
        for metric in scenario.metrics
        for program in scenario.programs
    )
    return [summary for summary in summaries if summary is not None]


def _summarize(
    scenario: Scenario,
    program: Program,
    metric: Metric,
    rounds: list[dict[str, Values]],
    seed: int,
) -> Summary | None:
    def value(one: dict[str, Values], name: str) -> float | None:
        return one.get(name, {}).get(metric.key)

    values = [found for one in rounds if (found := value(one, program.name)) is not None]
    if not values:
        return None
    best = max if metric.higher_is_better else min
    pairs = [
        (mine, theirs)
        for one in rounds
        if (mine := value(one, program.name)) is not None
        and (theirs := value(one, scenario.reference))
    ]
    ratio = low = high = ratio_of_best = None
    if metric.compared and pairs:
        ratios = [mine / theirs for mine, theirs in pairs]
        ratio = statistics.median(ratios)
        low, high = interval(ratios, seed)
        ratio_of_best = best(mine for mine, _ in pairs) / best(theirs for _, theirs in pairs)
    return Summary(
        group=scenario.group,
        scenario=scenario.title,
        program=program.name,
        ours=program.ours,
        metric=metric.key,
        unit=metric.unit,
        runs=len(values),
        median=statistics.median(values),
        best=best(values),
        reference=scenario.reference,
        ratio=ratio,
        ratio_low=low,
        ratio_high=high,
        ratio_of_best=ratio_of_best,
    )
