"""Complaints: what is wrong at which key, in a user's words. ``source.py`` adds file and line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

Path = tuple[str | int, ...]

_EXPECTED = {
    "string_type": "text in quotes",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "list_type": "a list in square brackets",
    "tuple_type": "a list in square brackets",
    "dict_type": "a table",
    "model_type": "a table",
}
_BOUNDS = {
    "greater_than": ("gt", "above"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "below"),
    "less_than_equal": ("le", "at most"),
}


@dataclass(frozen=True, slots=True)
class Complaint:
    """One thing wrong. ``path`` leads to the key; an empty path means the whole file."""

    path: Path
    message: str
    hint: str | None = None


def suggest(word: str, known: Iterable[str]) -> str | None:
    """``did you mean ...?`` for a near miss, else what there is; ``None`` for nothing."""
    names = list(known)
    close = get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f'did you mean "{close[0]}"?'
    return f"there is {', '.join(names)}" if names else None


def of_pydantic(error: ValidationError, model: type[BaseModel]) -> list[Complaint]:
    """All complaints of one failed validation of ``model``, in field order."""
    return [_complaint(details, model) for details in error.errors(include_url=False)]


def found(value: object) -> str:
    """``value`` as the end of a sentence: ``the number 3``, ``the text "3"``, ``a list``."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"the number {value:.12g}" if isinstance(value, float) else f"the number {_short(str(value))}"
    if isinstance(value, str):
        return f"the text {_short(json.dumps(value, ensure_ascii=False))}"
    return "a table" if isinstance(value, Mapping) else "a list"


def toml(value: object) -> str:
    """``value`` as it would stand in a manifest."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False, default=str)


def _complaint(details: ErrorDetails, model: type[BaseModel]) -> Complaint:
    kind, path, context = details["type"], details["loc"], details.get("ctx", {})
    holder = _field_type(model, path[:-1])
    last = str(path[-1]) if path else ""
    if kind == "extra_forbidden":
        return Complaint(path, f'unknown key "{_short(last)}"', suggest(last, _keys(holder)))
    example = _example(model, path)
    if kind == "missing":
        return Complaint(path, "is missing", example)
    if kind == "value_error":
        return Complaint(path, str(context["error"]), example)
    if kind in ("literal_error", "enum"):
        known = [word.strip("'") for word in context["expected"].replace(" or ", ", ").split(", ")]
        return Complaint(
            path,
            f"must be one of {', '.join(known)}; found {found(details['input'])}",
            _near(details["input"], known),
        )
    return Complaint(path, _expected(kind, context, details), example)


def _expected(kind: str, context: Mapping[str, Any], details: ErrorDetails) -> str:
    if kind in _EXPECTED:
        return f"expected {_EXPECTED[kind]}, found {found(details['input'])}"
    if kind in _BOUNDS:
        key, word = _BOUNDS[kind]
        return f"must be {word} {context[key]:g}, found {found(details['input'])}"
    if kind in ("too_short", "string_too_short"):
        return "must not be empty"
    if kind == "too_long":
        return f"has {context['actual_length']} entries; {context['max_length']} is the most"
    return f"{details['msg']}, found {found(details['input'])}"


def _near(value: object, known: list[str]) -> str | None:
    close = get_close_matches(str(value), known, n=1, cutoff=0.6)
    return f'did you mean "{close[0]}"?' if close else None


def _example(model: type[BaseModel], path: Path) -> str | None:
    """``for example drain_s = 20``, from the field's own examples or its default."""
    field = _field(model, path)
    if field is None:
        return None
    if field.examples:
        return f"for example {path[-1]} = {toml(field.examples[0])}"
    plain = isinstance(field.default, bool | int | float | str)
    return f"for example {path[-1]} = {toml(field.default)}" if plain else None


def _field(model: type[BaseModel], path: Path) -> FieldInfo | None:
    holder = _field_type(model, path[:-1])
    return _keys(holder).get(str(path[-1])) if path else None


def _keys(model: type[BaseModel] | None) -> dict[str, FieldInfo]:
    """Fields by the key that stands in the file."""
    return {field.alias or name: field for name, field in model.model_fields.items()} if model else {}


def _field_type(model: type[BaseModel], path: Path) -> type[BaseModel] | None:
    """The model that holds the last key of ``path``; ``None`` where that is no model."""
    here: type[BaseModel] | None = model
    for part in path:
        field = _keys(here).get(str(part))
        here = _model_in(field.annotation) if field else None
    return here


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, UnionType, Annotated):
        return next(filter(None, map(_model_in, get_args(annotation))), None)
    return None


def _short(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."
