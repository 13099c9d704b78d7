"""Ranges that AWS documents, taken from the facts, as pydantic validators."""

from __future__ import annotations

from pydantic import AfterValidator

from holdfast import facts


def allowed(key: str) -> AfterValidator:
    """Keep a number inside the minimum and maximum of the fact ``key``; the message names AWS's limit."""

    def check(value: float) -> float:
        fact = facts.get(key)
        low, high = fact.minimum, fact.maximum
        if (low is not None and value < low) or (high is not None and value > high):
            raise ValueError(f"AWS allows {_span(low, high)} {fact.unit} here ({key}), not {value:g}")
        return value

    return AfterValidator(check)


def one_of(key: str) -> AfterValidator:
    """Keep a value among those that the list fact ``key`` holds."""

    def check(value: object) -> object:
        choices = facts.get(key).value
        if value not in choices:
            raise ValueError(f"AWS offers {', '.join(map(str, choices))} here ({key}), not {value}")
        return value

    return AfterValidator(check)


def _span(low: float | None, high: float | None) -> str:
    if high is None:
        return f"{low:g} or more"
    return f"up to {high:g}" if low is None else f"{low:g} to {high:g}"
