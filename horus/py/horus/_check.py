# SPDX-License-Identifier: Apache-2.0
"""Arguments that are wrong: TypeError and ValueError that say what was expected. Any thread."""

import math
from typing import Any


def number(what: str, value: Any, low: float, high: float, unit: str = "") -> float:
    """A finite number within [low, high]; bool is not a number here."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(
            f"{what} is a number{' of ' + unit if unit else ''}, not {type(value).__name__}"
        )
    if not math.isfinite(value) or not low <= value <= high:
        raise ValueError(
            f"{what} is {low:g} to {high:g}{' ' + unit if unit else ''}, not {value!r}"
        )
    return float(value)


def integer(what: str, value: Any, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{what} is a whole number, not {type(value).__name__}")
    if not low <= value <= high:
        raise ValueError(f"{what} is {low} to {high}, not {value!r}")
    return value


def flag(what: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{what} is True or False, not {value!r}")
    return value


def text(what: str, value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{what} is a str, not {type(value).__name__}")
    if not value:
        raise ValueError(f"{what} is empty")
    return value


def function(what: str, value: Any) -> Any:
    if not callable(value):
        raise TypeError(f"{what} is a function, not {type(value).__name__}")
    return value
