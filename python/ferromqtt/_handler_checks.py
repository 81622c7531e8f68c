"""Checks of what handlers of a `Router` are registered with, and of what they return."""

from __future__ import annotations

import inspect
from typing import cast

from ferromqtt import _checks


def no_client(given: type) -> TypeError:
    """Return the error for what is no client of this package."""
    module = "" if given.__module__ == "builtins" else f"{given.__module__}."
    return TypeError(f"client must be a ferromqtt.Client, not {module}{given.__qualname__}")


def check_topics(topics: tuple[object, ...], usage: str) -> None:
    """Raise ValueError without a filter, and TypeError for a handler in place of one."""
    if not topics:
        raise ValueError(f"A handler needs a filter: {usage}")
    for topic in topics:
        if callable(topic):
            shown = _checks.wrong_type("the filter of a handler", "str", topic)
            raise TypeError(f"{shown}: write {usage} above the handler")


def check_count(option: str, given: object, least: int) -> None:
    """Raise TypeError for what is no number, and ValueError for one that is too small."""
    if not _checks.is_count(given):
        raise _checks.wrong_type(option, "int", given)
    count = cast("int", given)
    if count < least:
        raise ValueError(f"{option} must be {least} or more, not {count}")


def check_handler(handler: object, must_be: str) -> None:
    """Raise TypeError for what cannot be called, or does not return."""
    if not callable(handler):
        raise _checks.wrong_type("a handler", must_be, handler)
    if inspect.isgeneratorfunction(handler) or inspect.isasyncgenfunction(handler):
        name = getattr(handler, "__qualname__", type(handler).__name__)
        raise TypeError(f"{name} has a yield: a handler must return")


def check_result(result: object) -> None:
    """Raise TypeError for what a handler has returned and nobody runs."""
    if inspect.isgenerator(result) or inspect.isasyncgen(result):
        raise TypeError("The handler has returned a generator, which nobody runs")
