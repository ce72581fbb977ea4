"""Deferred import of modules that few mounts use, though trio, pyfuse3 or a module of ours needs
them: a stand-in imports its module at the first use of it.

A stand-in is in `sys.modules` only while `deferred_imports` is entered; whoever imports the module
then keeps the stand-in. `from module import name` imports it at once, and so does a class below it.
"""

import contextlib
import importlib
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Final

_DEFERRED: Final = ("configparser", "html", "idna", "shutil", "subprocess")
# read while they are imported, and never later: trio has ldconfig run, to give names to threads;
# pyfuse3 reads its own version from the metadata of installed packages
_ANSWERED: Final[dict[str, dict[str, object]]] = {
    "ctypes.util": {"find_library": lambda _name: "libpthread.so.0"},  # of glibc; else no names
    "importlib.metadata": {
        "PackageNotFoundError": LookupError,
        "version": lambda _name: "unknown",
    },
}


@contextlib.contextmanager
def deferred_imports() -> Iterator[None]:
    """Defer the modules that are not imported yet. No other thread may be running."""
    missing = [name for name in (*_DEFERRED, *_ANSWERED) if name not in sys.modules]
    placed = [_StandIn(name) for name in missing]
    for stand_in in placed:
        stand_in.place()
    try:
        yield
    finally:
        for stand_in in placed:
            stand_in.remove()


def import_deferred() -> None:
    """Import the modules now: before an upgrade replaces them, or while they may be read."""
    for name in (*_DEFERRED, *_ANSWERED):
        __import__(name)  # not import_module, which -X importtime does not see


class _StandIn(ModuleType):
    """Module that is imported when an attribute of it is read that the stand-in lacks."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__dict__.update(_ANSWERED.get(name, {}))

    def __getattr__(self, attribute: str) -> object:
        if attribute == "__path__" and self.__name__ in _ANSWERED:
            raise AttributeError(attribute)  # no package: `from` asks before it reads a name
        self.remove()
        return getattr(importlib.import_module(self.__name__), attribute)

    def place(self) -> None:
        sys.modules[self.__name__] = self
        package, _, name = self.__name__.rpartition(".")
        if package:
            setattr(importlib.import_module(package), name, self)

    def remove(self) -> None:
        """Leave `sys.modules`; without effect if the module, or nothing, is there."""
        if sys.modules.get(self.__name__) is not self:
            return
        del sys.modules[self.__name__]
        package, _, name = self.__name__.rpartition(".")
        if package:
            delattr(sys.modules[package], name)
