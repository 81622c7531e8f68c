"""How ferromqtt is imported under pytest: as everywhere else.

pytest rewrites the assert statements of every package in a distribution that has a plugin.
ferromqtt has none, and to read the rewritten copies took as long as the rest of its import.
"""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    import pytest


class _AsItIs:
    """Finds ferromqtt before pytest's finder does."""

    @staticmethod
    def find_spec(
        fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] != "ferromqtt":
            return None
        return PathFinder.find_spec(fullname, path, target)


def leave_as_it_is(config: pytest.Config) -> None:
    """Have ferromqtt imported without pytest's finder until the end of the run."""
    finder = _AsItIs()
    sys.meta_path.insert(0, finder)

    def no_longer() -> None:
        if finder in sys.meta_path:  # a test may have set another list
            sys.meta_path.remove(finder)

    config.add_cleanup(no_longer)
