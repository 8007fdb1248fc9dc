"""Frozen dataclasses of settings to and from plain data, strictly: unknown names, wrong types and ranges are refused.

A single-key mapping stands for a value: `rank: {energy: 0.95}`, `objective: {distill.response: {temperature: 4}}`.
"""

from __future__ import annotations

import re
import types
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, Union, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from paring.catalog import OBJECTIVES, PASSES, objective_class, pass_class
from paring.core.objective import Objective
from paring.core.recipe import Pass
from paring.errors import ParingError, RecipeError, UnknownNameError


def build(cls: type[Any], settings: object, where: str) -> Any:
    """`cls(**settings)`, each setting checked against its annotation.

    Raises: UnknownNameError for a setting `cls` lacks, RecipeError for a value of the wrong type, SettingError from
    the class itself, all prefixed with `where`.
    """
    settings = {} if settings is None else settings
    if not isinstance(settings, Mapping):
        single = _only_field(cls)
        if single is None:
            raise RecipeError(f"{where}: got {settings!r}; settings must be a mapping, such as {{name: value}}.")
        settings = {single: settings}
    known = {field.name: field for field in fields(cls)}
    hints = get_type_hints(cls)
    for name in settings:
        if name not in known:
            raise UnknownNameError("setting", name, known, where)
    values = {name: convert(hints[name], value, f"{where}.{name}") for name, value in settings.items()}
    try:
        return cls(**values)
    except ParingError as error:
        error.args = (_located(where, str(error)),)
        raise
    except TypeError as error:
        missing = [name for name, field in known.items() if _required(field) and name not in values]
        raise RecipeError(f"{where}: the setting {', '.join(missing)} is missing.") from error


def convert(hint: Any, value: object, where: str) -> Any:
    """`value` as the annotation `hint` wants it. Raises RecipeError or UnknownNameError."""
    if (choices := value_classes(hint)) and not (int in get_args(hint) and isinstance(value, int | float)):
        return _value(choices, value, where)
    if (item := _item_of(hint)) is not None and (choices := value_classes(item)):
        if not isinstance(value, list | tuple):
            raise RecipeError(f"{where}: got {value!r}; it must be a list, each one of: {', '.join(sorted(choices))}.")
        return tuple(_value(choices, one, f"{where}[{place}]") for place, one in enumerate(value))
    if hint == tuple[str, ...] and isinstance(value, str):
        value = (value,)
    try:
        return TypeAdapter(hint).validate_python(_strict_scalar(hint, value, where))
    except ValidationError as error:
        wanted = re.sub(r"\b(typing|paring)\.(\w+\.)*", "", str(getattr(hint, "__name__", hint)))
        problem = error.errors()[0]["msg"]
        raise RecipeError(f"{where}: got {value!r}; {problem[0].lower()}{problem[1:]} (wants {wanted}).") from error


def plain(value: object) -> Any:
    """The plain data that `build` reads: only settings that differ from their defaults."""
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if not is_dataclass(value) or isinstance(value, type):
        return value
    return {name_of(type(value)): _changed(value)}


def changed_settings(value: Any) -> dict[str, Any]:
    """The settings of a dataclass instance that differ from its defaults, as plain data."""
    return {
        field.name: plain(getattr(value, field.name))
        for field in fields(value)
        if _required(field) or getattr(value, field.name) != _default(field)
    }


def name_of(cls: type[Any]) -> str:
    """How a value's class is written in a recipe: its own `name`, else `PerGroup` as `per_group`."""
    own = vars(cls).get("name")
    return own if isinstance(own, str) else re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()


def value_classes(hint: Any) -> dict[str, type[Any]]:
    """Recipe name -> class for an annotation that stands for a value class or a family of them; else empty."""
    members = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    found: dict[str, type[Any]] = {}
    for member in members:
        if member is Objective:
            found |= {name: objective_class(name) for name in OBJECTIVES}
        elif member is Pass:
            found |= {name: pass_class(name) for name in PASSES}
        elif isinstance(member, type) and (is_dataclass(member) or _family(member)):
            found |= {name_of(cls): cls for cls in (_family(member) or [member])}
    return found


def _value(choices: Mapping[str, type[Any]], value: object, where: str) -> Any:
    if type(value) in choices.values():
        return value
    if isinstance(value, str):
        value = {value: None}
    if not isinstance(value, Mapping) or len(value) != 1:
        shape = f"a single name with its settings, one of: {', '.join(sorted(choices))}"
        raise RecipeError(f"{where}: got {value!r}; it must be {shape}.")
    ((name, settings),) = value.items()
    if name not in choices:
        raise UnknownNameError("value", name, choices, where)
    return build(choices[name], settings, f"{where}.{name}")


def _item_of(hint: Any) -> Any:
    """X of an annotation `tuple[X, ...]`, else None."""
    arguments = get_args(hint)
    return arguments[0] if get_origin(hint) is tuple and len(arguments) == 2 and arguments[1] is Ellipsis else None


def _family(base: type[Any]) -> list[type[Any]]:
    """The concrete dataclasses under an abstract value class of our own."""
    if not base.__module__.startswith("paring.") or is_dataclass(base):
        return []
    return [cls for cls in base.__subclasses__() if is_dataclass(cls)]


def _strict_scalar(hint: Any, value: object, where: str) -> object:
    """Refuses what pydantic would kindly coerce: text for a number, a number for text, true for 1."""
    numeric = {int, float} & set(get_args(hint) or (hint,))
    if numeric and isinstance(value, str | bool) and bool not in (get_args(hint) or (hint,)):
        raise RecipeError(f"{where}: got {value!r}; it must be a number.")
    return value


def _only_field(cls: type[Any]) -> str | None:
    names = [field.name for field in fields(cls)]
    return names[0] if len(names) == 1 else None


def _changed(value: Any) -> Any:
    settings = changed_settings(value)
    single = _only_field(type(value))
    return settings[single] if single is not None and single in settings else settings


def _required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _default(field: Field[Any]) -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default


def _located(where: str, message: str) -> str:
    return message if message.startswith(where) else f"{where}: {message}"
