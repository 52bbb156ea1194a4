# SPDX-License-Identifier: Apache-2.0
"""What a comparison is made of: programs, metrics, scenarios, and how long each run may take."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Program:
    """A program below build/benchmarks/ with the arguments that make it this peer."""

    name: str
    path: str
    arguments: tuple[str, ...] = ()
    ours: bool = False


@dataclass(frozen=True)
class Metric:
    """A key of the program's JSON; ratios, intervals and a panel in the plot when `compared`."""

    key: str
    title: str
    unit: str
    compared: bool = False
    higher_is_better: bool = False


@dataclass(frozen=True)
class Scenario:
    group: str
    title: str
    kind: str  # how measure.py runs it: echo, enters, json or google
    programs: tuple[Program, ...]
    reference: str
    metrics: tuple[Metric, ...]
    arguments: tuple[str, ...] = ()
    pinned: bool = False  # to the first CPU; programs that use both pin themselves
    rounds_most: int | None = None
    curve: str = ""  # scenarios of one curve share a panel of lines; `at` is the place on its axis
    at: float = 0.0


@dataclass(frozen=True)
class Effort:
    """How long each run takes: a first look (`--quick`) or figures to quote."""

    echo_seconds: float = 1.0
    echo_warmup: float = 0.2
    enters_seconds: float = 1.0
    file_ms: int = 1000
    timers: int = 100_000
    kernel_timers: int = 5000
    wakes: int = 20_000
    tick_seconds: float = 5.0
    tick_rounds: int = 5
    task_seconds: float = 0.3
    dispatches: int = 5_000_000
    trips: int = 20_000
    large_trips: int = 500


QUICK = Effort(
    echo_seconds=0.2,
    echo_warmup=0.1,
    enters_seconds=0.3,
    file_ms=200,
    timers=20_000,
    kernel_timers=1000,
    wakes=2000,
    tick_seconds=0.5,
    tick_rounds=2,
    task_seconds=0.05,
    dispatches=1_000_000,
    trips=2000,
    large_trips=100,
)


@dataclass(frozen=True)
class Setting:
    effort: Effort
    cpus: tuple[int, int]
    data_file: Path
    groups: tuple[str, ...] = field(default=())
