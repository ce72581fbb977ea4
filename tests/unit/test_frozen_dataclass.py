"""A frozen class of ours behaves as one of the standard decorator."""

import copy
import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import pytest

from s3mount import frozen_dataclass

Decorator = Callable[..., Any]


def _point(decorator: Decorator) -> Any:
    @decorator(frozen=True, slots=True)
    class Point:
        x: int
        names: list[str] = dataclasses.field(default_factory=list)
        y: int = 2
        hidden: int = dataclasses.field(default=3, repr=False, compare=False)

        def __post_init__(self) -> None:
            if self.x < 0:
                raise ValueError("negative")

    return Point


def _keywords(decorator: Decorator) -> Any:
    @decorator(frozen=True, slots=True, kw_only=True)
    class Keywords:
        a: int
        b: str = "b"

    return Keywords


def _own(decorator: Decorator) -> Any:
    @decorator(frozen=True, slots=True)
    class Own:  # noqa: PLW1641 - the decorator adds it
        a: int

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Own)

        def __repr__(self) -> str:
            return "own"

    return Own


def _empty(decorator: Decorator) -> Any:
    @decorator(frozen=True, slots=True)
    class Empty:
        pass

    return Empty


def _identity(decorator: Decorator) -> Any:
    @decorator(frozen=True, slots=True, eq=False, repr=False)
    class Identity:
        a: int

    return Identity


def _subclass(decorator: Decorator) -> Any:
    class Subclass(_keywords(decorator)):  # type: ignore[misc]
        pass

    return Subclass


COPIES = (copy.copy, copy.deepcopy)
CLASSES = (_point, _keywords, _own, _empty, _identity, _subclass)
ARGUMENTS: tuple[tuple[tuple[Any, ...], dict[str, Any]], ...] = (
    ((), {}),
    ((1,), {}),
    ((-1,), {}),
    ((1, ["n"], 5, 6), {}),
    ((), {"a": 1}),
    ((), {"a": 1, "b": "c"}),
    ((), {"x": 1, "hidden": 9}),
    ((1, 2, 3, 4, 5), {}),
)


def _outcome(call: Callable[..., object]) -> object:
    try:
        return call()
    except (AttributeError, TypeError, ValueError) as exc:
        return type(exc)


def _behaviour(cls: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> list[object]:
    try:
        value, other = cls(*arguments, **keywords), cls(*arguments, **keywords)
    except (TypeError, ValueError) as exc:
        return [type(exc)]
    has_own_repr = cls.__repr__ is not object.__repr__
    names = [field.name for field in dataclasses.fields(cls)]
    return [
        repr(value).replace(_behaviour.__qualname__, "") if has_own_repr else None,
        value == other,
        value == 1,
        {getattr(value, "a", None)} == {getattr(other, "a", None)},
        _outcome(lambda: hash(value) == hash(other)),
        [getattr(value, name) for name in names],
        [_outcome(lambda name=name: setattr(value, name, 1)) for name in names],
        [_outcome(lambda name=name: delattr(value, name)) for name in names],
        _outcome(lambda: dataclasses.replace(value, **dict.fromkeys(names[:1], 7)) == value),
        _outcome(lambda: dataclasses.asdict(value)),
        [_outcome(lambda make=make: repr(make(value)) == repr(value)) for make in COPIES],
        getattr(cls, "__match_args__", None),
        getattr(cls, "__slots__", None),
    ]


@pytest.mark.parametrize("make", CLASSES)
@pytest.mark.parametrize(("arguments", "keywords"), ARGUMENTS)
def test_a_class_behaves_as_one_of_the_standard_decorator(
    make: Callable[[Decorator], Any], arguments: tuple[Any, ...], keywords: dict[str, Any]
) -> None:
    ours, standard = make(frozen_dataclass.dataclass), make(dataclasses.dataclass)

    assert _behaviour(standard, arguments, keywords) == _behaviour(ours, arguments, keywords)


@pytest.mark.parametrize("make", CLASSES)
def test_the_names_and_kinds_of_arguments_are_the_same(make: Callable[[Decorator], Any]) -> None:
    ours, standard = make(frozen_dataclass.dataclass), make(dataclasses.dataclass)

    kinds = [
        [(each.name, each.kind) for each in inspect.signature(cls).parameters.values()]
        for cls in (standard, ours)
    ]
    assert kinds[0] == kinds[1]


def test_classes_that_change_or_have_an_order_are_made_by_the_standard_decorator() -> None:
    @frozen_dataclass.dataclass(slots=True)
    class Changing:
        a: int

    @frozen_dataclass.dataclass(frozen=True, order=True)
    class Ordered:
        a: int

    changing = Changing(1)
    changing.a = 2
    assert Changing(2) == changing
    assert Ordered(1) < Ordered(2)
