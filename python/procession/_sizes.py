"""Sizes of memory, as numbers of bytes or as text such as "512MiB"."""

from __future__ import annotations

import operator

__all__ = ["parse_size"]

_UNITS = {"b": 1}
for _power, _letter in enumerate("kmgt", start=1):
    _UNITS[f"{_letter}b"] = 1000**_power
    _UNITS[f"{_letter}ib"] = 1024**_power


def parse_size(name: str, value: int | str | None) -> int | None:
    """Returns a size in bytes, or None if there is none.

    Args:
        name: What the size is of, for the error.
        value: A number of bytes, or a number with a unit: "B", "kB", "MB", "GB" and "TB" are
            powers of 1000, "KiB", "MiB", "GiB" and "TiB" powers of 1024. Capital and small
            letters mean the same, and there may be a space before the unit.

    Raises:
        ValueError: It is not a size, or less than a byte.
    """
    if value is None:
        return None
    if isinstance(value, str):
        size = _parse_text(value)
    else:
        try:
            # A bool would be a mistake.
            size = None if isinstance(value, bool) else operator.index(value)
        except TypeError:
            size = None
    if size is None or size <= 0:
        raise ValueError(
            f"{name} must be a positive number of bytes, or text such as '512MiB' or "
            f"'1.5GB', not {value!r}"
        )
    return size


def _parse_text(text: str) -> int | None:
    number = text.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    unit = _UNITS.get(text[len(number) :].lower())
    whole, point, fraction = number.strip().partition(".")
    digits = whole + fraction
    if unit is None or not (digits.isascii() and digits.isdigit()):
        return None
    if point and not (whole and fraction):
        return None
    # In whole numbers: a float does not hold each number of bytes.
    divisor: int = 10 ** len(fraction)
    return int(digits) * unit // divisor
