"""Names of a module that are imported when somebody first asks for them.

Importing ferromqtt is part of the start of every program and of every user's first test, and most
of its cost is making classes that many of them never use.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


class Later:
    """A module that is imported when somebody first asks for one of its functions."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:  # noqa: ANN401 - any of its functions
        found = getattr(import_module(self._name), attribute)
        setattr(self, attribute, found)  # so that it is found at once from then on
        return found


def names(
    module: str, homes: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the `__getattr__` and the `__dir__` of a module.

    Args:
        module: Its name.
        homes: The modules that names come from. A module stands for itself.
    """

    def getattr_of_module(name: str) -> Any:  # noqa: ANN401 - any of the names
        home = homes.get(name)
        if home is None:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        found = import_module(home)
        value = found if home == f"{module}.{name}" else getattr(found, name)
        setattr(sys.modules[module], name, value)
        return value

    def dir_of_module() -> list[str]:
        return sorted({*vars(sys.modules[module]), *homes})

    return getattr_of_module, dir_of_module
