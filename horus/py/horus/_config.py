# SPDX-License-Identifier: Apache-2.0
"""Settings of a scheduler and the five presets. Plain values; a scheduler copies them when it is
made."""

import io
import os
import tempfile
from typing import Any, Callable, Generic, Optional, TypeVar, Union, overload

from horus import _check, _core


T = TypeVar("T")


class _Setting(Generic[T]):
    """A property that checks what it is given."""

    def __init__(self, check: Callable[[str, Any], T], doc: str) -> None:
        self.check = check
        self.__doc__ = doc

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, config: None, owner: Any) -> "_Setting[T]": ...

    @overload
    def __get__(self, config: object, owner: Any) -> T: ...

    def __get__(self, config: Any, owner: Any = None) -> Any:
        return self if config is None else getattr(config._core, self.name)

    def __set__(self, config: Any, value: T) -> None:
        setattr(config._core, self.name, self.check(self.name, value))


def _number(low: float, high: float, unit: str, doc: str) -> "_Setting[float]":
    return _Setting(lambda name, value: _check.number(name, value, low, high, unit), doc)


def _integer(low: int, high: int, doc: str) -> "_Setting[int]":
    return _Setting(lambda name, value: _check.integer(name, value, low, high), doc)


def _maybe_integer(low: int, high: int, doc: str) -> "_Setting[Optional[int]]":
    return _Setting(
        lambda name, value: None if value is None else _check.integer(name, value, low, high), doc
    )


def _flag(doc: str) -> "_Setting[bool]":
    return _Setting(_check.flag, doc)


def _text(doc: str) -> "_Setting[str]":
    return _Setting(_check.text, doc)


class SchedulerConfig:
    """Settings of a scheduler: a preset, and the settings that differ from it.

        SchedulerConfig(tick_rate=100.0, circuit_breaker=True, deadline_monitoring=True)
        SchedulerConfig.low_latency()

    Errors: TypeError for an unknown keyword or a wrong type, ValueError out of range,
    AttributeError for a setting that does not exist."""

    tick_rate = _number(0.001, 100_000, "Hz", "Hz of nodes that set no rate.")
    policy = _text("Who starts first at one instant: priority, rate_monotonic, edf.")
    backend = _text("automatic, uring, epoll.")
    circuit_breaker = _flag("Nodes that fail again and again are left alone for a while.")
    max_failures = _integer(1, 1000, "Consecutive failures that open the circuit.")
    circuit_open_ms = _number(1, 86_400_000, "ms", "The first rest of an open circuit; it doubles.")
    auto_restart = _flag("Instead of a rest: shutdown(), a pause, init().")
    restart_delay_ms = _number(0, 86_400_000, "ms", "The first pause before a restart; it doubles.")
    max_restarts = _integer(
        0, 1_000_000, "Restarts within a minute; one more, and the node stays stopped."
    )
    deadline_monitoring = _flag("Whether deadlines and budgets are looked at.")
    watchdog_enabled = _flag("Of nodes that say nothing about theirs.")
    watchdog_timeout_ms = _number(10, 60_000, "ms", "Longest time between two successful ticks.")
    spin_us = _number(0, 10_000, "us", "Poll instead of sleeping this long before a release.")
    timer_slack_ns = _maybe_integer(
        1, 1_000_000_000, "How late the kernel may wake the thread; None: as it is."
    )
    lock_memory = _flag("mlockall; a refusal is one line in the log.")
    rt_priority = _integer(0, 99, "SCHED_FIFO priority; 0: an ordinary thread.")
    cpu = _maybe_integer(0, 4095, "The only processor of the thread; None: any.")
    finish_limit_ms = _number(0, 86_400_000, "ms", "At the end: for ticks in flight.")
    shutdown_limit_ms = _number(
        0, 86_400_000, "ms", "At the end: for each node's shutdown() that awaits."
    )
    inspect = _flag("Whether tools may look in; False closes the door of the whole process.")
    inspect_control = _flag("Whether they may pause, resume and restart nodes, and end an emergency stop.")
    seed = _integer(0, 2**64 - 1, "Of the restarts' jitter.")

    def __init__(self, preset: str = "standard", **settings: Any) -> None:
        object.__setattr__(self, "_core", _core.Config.named(_check.text("preset", preset)))
        for name, value in settings.items():
            if name not in _names():
                raise TypeError(
                    f"SchedulerConfig has no setting {name!r}; there are: {', '.join(_names())}"
                )
            setattr(self, name, value)

    @classmethod
    def from_file(cls, path: Union[str, "os.PathLike[str]"]) -> "SchedulerConfig":
        """Reads [scheduler], [executor.NAME] and [node.NAME] of a TOML or YAML file;
        docs/scheduler.toml has every key.

        Errors: ValueError with file, line and key; OSError when it cannot be read.
        """
        config = cls()
        object.__setattr__(config, "_core", _core.Config.from_file(os.fspath(path)))
        with io.open(path, encoding="utf-8") as file:
            object.__setattr__(config, "_file", (os.path.basename(os.fspath(path)), file.read()))
        return config

    @classmethod
    def standard(cls) -> "SchedulerConfig":
        """100 Hz, balanced."""
        return cls("standard")

    @classmethod
    def high_performance(cls) -> "SchedulerConfig":
        """200 Hz, larger batches, no spin."""
        return cls("high_performance")

    @classmethod
    def low_latency(cls) -> "SchedulerConfig":
        """500 Hz, short spin, 1 ns timer slack."""
        return cls("low_latency")

    @classmethod
    def power_saving(cls) -> "SchedulerConfig":
        """30 Hz, default timer slack."""
        return cls("power_saving")

    @classmethod
    def realtime(cls) -> "SchedulerConfig":
        """1000 Hz, spin, locked memory and SCHED_FIFO where permitted; refusals are logged."""
        return cls("realtime")

    @property
    def preset(self) -> str:
        """The preset that it started from."""
        return str(self._core.preset)

    _core: Any
    _file: "Optional[tuple[str, str]]" = None  # name and text of the file that it was read from

    def __copy__(self) -> "SchedulerConfig":
        copied = type(self).__new__(type(self))
        object.__setattr__(copied, "_core", self._core.copy())
        object.__setattr__(copied, "_file", self._file)
        return copied

    def __deepcopy__(self, _known: Any) -> "SchedulerConfig":
        return self.__copy__()

    def _state(self) -> "tuple[Any, ...]":
        return self.preset, self._file, {name: getattr(self, name) for name in _names()}

    def __reduce__(self) -> Any:
        return _restored, (type(self), *self._state())

    def __eq__(self, other: Any) -> bool:
        """The same preset and settings; of configurations from files also the same text, whose
        [node.*] and [executor.*] are no settings here."""
        if not isinstance(other, SchedulerConfig):
            return NotImplemented
        return self._state() == other._state()

    __hash__ = None  # type: ignore[assignment]

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in _names():
            raise AttributeError(
                f"SchedulerConfig has no setting {name!r}; there are: {', '.join(_names())}"
            )
        object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={getattr(self, name)!r}" for name in _names())
        return f"SchedulerConfig({self.preset!r}, {settings})"


def _restored(
    cls: Any, preset: str, file: "Optional[tuple[str, str]]", settings: "dict[str, Any]"
) -> Any:
    if file is None:
        return cls(preset, **settings)
    name, text = file
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, name)
        with io.open(path, "w", encoding="utf-8") as copy:
            copy.write(text)
        config = cls.from_file(path)
    for setting, value in settings.items():
        setattr(config, setting, value)
    return config


def _names() -> "list[str]":
    return [name for name, member in vars(SchedulerConfig).items() if isinstance(member, _Setting)]


RobotPreset = SchedulerConfig
"""The five presets by the name that HORUS gives them: `RobotPreset.realtime()`."""

ConfigLike = Optional[Union[SchedulerConfig, str, "os.PathLike[str]"]]


def core_of(config: ConfigLike) -> Any:
    """A copy of the settings, whatever they were given as."""
    if config is None:
        config = SchedulerConfig.standard()
    elif isinstance(config, (str, os.PathLike)):
        config = SchedulerConfig.from_file(config)
    if not isinstance(config, SchedulerConfig):
        raise TypeError(
            f"config is a SchedulerConfig or the path of a file, not {type(config).__name__}"
        )
    return config._core.copy()
