"""Decorator `dataclass` that makes a frozen class in a quarter of the time of the standard one.

The standard decorator compiles six methods a class, an eighth of the time of a start: see
docs/decisions/start-time.md. This one compiles `__init__`, and shares the others. The rest, and
classes that are not frozen, it leaves to the standard one.
"""

import dataclasses
from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

__all__ = ["dataclass"]

if TYPE_CHECKING:  # the types are those of the standard one
    from dataclasses import dataclass
else:

    def dataclass(*, frozen: bool = False, order: bool = False, **kwargs: bool) -> Callable:
        """Return the decorator for the arguments of `dataclasses.dataclass`."""
        if not frozen or order:
            return dataclasses.dataclass(frozen=frozen, order=order, **kwargs)
        return lambda cls: _frozen(cls, **kwargs)


_UNSET: Final = object()  # the default of a field that has a factory


def _frozen(cls: Any, **kwargs: bool) -> Any:
    has_eq, has_repr = kwargs.pop("eq", True), kwargs.pop("repr", True)
    # a class with an `__eq__` of its own has None for `__hash__`
    own = {name for name, value in vars(cls).items() if value is not None}
    if cls.__doc__ is None:
        cls.__doc__ = cls.__name__  # else the standard decorator makes it of a signature
    cls = dataclasses.dataclass(init=False, repr=False, eq=False, **kwargs)(cls)
    fields = dataclasses.fields(cls)
    methods: dict[str, object] = {"__init__": _init(cls, fields), **_setters(cls, fields)}
    if has_repr:
        methods["__repr__"] = _repr(fields)
    if has_eq:
        methods |= _comparison(fields)
    if kwargs.get("slots"):
        methods |= {"__getstate__": _state, "__setstate__": _restore}
    for name, method in methods.items():
        if name not in own:
            setattr(cls, name, method)
    return cls


def _init(cls: Any, fields: tuple[Any, ...]) -> object:
    """Compile `__init__`: the arguments in order, those by keyword last.

    Every field is an argument, without a default, with one, or with a factory of defaults.
    """
    scope: dict[str, Any] = {"_set": object.__setattr__, "_unset": _UNSET}
    positional, by_keyword, body = ["self"], ["*"], []
    for field in fields:
        name = argument = value = field.name
        assert field.init, "every field is an argument"
        if field.default is not dataclasses.MISSING:
            scope[f"_default_{name}"] = field.default
            argument = f"{name}=_default_{name}"
        elif field.default_factory is not dataclasses.MISSING:
            scope[f"_make_{name}"] = field.default_factory
            argument = f"{name}=_unset"
            value = f"_make_{name}() if {name} is _unset else {name}"
        (by_keyword if field.kw_only else positional).append(argument)
        body.append(f"_set(self, {name!r}, {value})")
    if hasattr(cls, "__post_init__"):
        body.append("self.__post_init__()")
    arguments = ", ".join([*positional, *(by_keyword if len(by_keyword) > 1 else [])])
    exec(f"def __init__({arguments}):\n {'; '.join(body) or 'pass'}", scope)  # noqa: S102 - ours
    return scope["__init__"]


def _setters(cls: Any, fields: tuple[Any, ...]) -> dict[str, object]:
    names = frozenset(field.name for field in fields)

    def refuse(self: Any, name: str) -> None:
        if type(self) is cls or name in names:
            raise dataclasses.FrozenInstanceError(f"cannot change field {name!r}")

    def setattr_(self: Any, name: str, value: object) -> None:
        refuse(self, name)
        object.__setattr__(self, name, value)

    def delattr_(self: Any, name: str) -> None:
        refuse(self, name)
        object.__delattr__(self, name)

    return {"__setattr__": setattr_, "__delattr__": delattr_}


def _repr(fields: tuple[Any, ...]) -> Callable[[Any], str]:
    names = [field.name for field in fields if field.repr]

    def repr_(self: Any) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
        return f"{type(self).__qualname__}({shown})"

    return repr_


def _comparison(fields: tuple[Any, ...]) -> dict[str, object]:
    names = [field.name for field in fields if field.compare]
    value: Callable[[Any], object] = attrgetter(*names) if names else lambda _: ()

    def eq(self: Any, other: object) -> bool:
        return value(self) == value(other) if type(other) is type(self) else NotImplemented

    def hash_(self: Any) -> int:
        return hash(value(self))

    return {"__eq__": eq, "__hash__": hash_}


def _state(self: Any) -> list[object]:
    """Return what copies of an instance with slots are made of."""
    return [getattr(self, field.name) for field in dataclasses.fields(self)]


def _restore(self: Any, state: list[object]) -> None:
    for field, value in zip(dataclasses.fields(self), state, strict=True):
        object.__setattr__(self, field.name, value)
