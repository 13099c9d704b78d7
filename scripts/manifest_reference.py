"""Write ``docs/manifest.md`` from the models: ``python scripts/manifest_reference.py``, or ``--check`` to compare only.

Every table, key, type, default and sentence comes from the manifest's and the components' pydantic models, so the
page cannot say anything that the program does not do.
"""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel
from pydantic.fields import FieldInfo

from holdfast import facts
from holdfast.components import REGISTRY
from holdfast.components.base import Component
from holdfast.errors import HoldfastError
from holdfast.manifest import ORIGIN, PLATFORMS
from holdfast.manifest.complaints import toml
from holdfast.manifest.schema import Compute, Entry, Load, Objectives, Regions, Replicas, Scale, Service
from holdfast.model import Fact

PAGE = Path(__file__).resolve().parents[1] / "docs" / "manifest.md"
TABLES: Mapping[str, type[BaseModel]] = {
    "service": Service,
    "regions": Regions,
    "entry": Entry,
    "compute": Compute,
    "compute.replicas": Replicas,
    "compute.scale": Scale,
    "objectives": Objectives,
    "load": Load,
}
PLAIN = {str: "text", int: "whole number", float: "number", bool: "true or false", type(None): "nothing"}
BOUNDS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
INTRO = """\
# The manifest

<!-- Written by scripts/manifest_reference.py; a test compares it with the code. -->

`holdfast.toml` describes one HTTP API. It needs a name and something to run; everything else has a default that is
highly available: two regions, three zones each, CloudFront, API Gateway and a load balancer in front.

```toml
[service]
name = "orders"
app  = "orders.api:app"
```

- Unknown tables and keys are errors with a suggestion. All problems of a file are reported at once, each with file,
  line and key.
- `[env.NAME.<table>]` holds values for one environment, such as `[env.small.regions]`; `--env NAME` lays them over
  the rest. Every overlay is checked, also those that are not asked for.
- Paths are relative to the manifest's folder. Durations are seconds.
- `[stores.NAME]` is reserved: stores come with a later version, and a table is refused until then.
- `holdfast check` shows what a manifest comes to.
"""
BLOCKS = """\
## Tables of AWS blocks

One optional table for each block; a table whose block is not in the topology is pointed out by `holdfast check`. A
default such as "as `[service] health`" means that the key takes its value from there unless it is set here.
Ranges are those that AWS documents; the facts file of each block names source and date.
"""


def page() -> str:
    """The whole page."""
    parts = [INTRO, *(section(name, model) for name, model in TABLES.items()), patterns(), BLOCKS]
    parts += [text for block in REGISTRY for text in block_sections(block)]
    return "\n".join(parts)


def section(name: str, model: type[BaseModel]) -> str:
    """One table of the manifest."""
    return f"## `[{name}]`\n\n{sentence(model)}\n\n{keys(model)}"


def block_sections(block: Component[Any]) -> Iterator[str]:
    """The table of one AWS block, and the tables inside of it."""
    about = inspect.cleandoc(type(block).__doc__ or "").splitlines()[0]
    yield f"### `[{block.name}]`\n\n{about}\n\n{keys(block.Settings, facts_of=block.name)}"
    for name, field in block.Settings.model_fields.items():
        inner, listed = nested(field.annotation)
        if inner is not None:
            head = f"[[{block.name}.{name}]]" if listed else f"[{block.name}.{name}]"
            yield f"#### `{head}`\n\n{sentence(inner)}\n\n{keys(inner)}"


def patterns() -> str:
    """What each ``compute.pattern`` runs on."""
    rows = [f"| `{name}` | `[{p.component}]` | {p.launch or ''} |" for name, p in PLATFORMS.items()]
    return "\n".join(
        ["## Patterns\n", "| `compute.pattern` | table of its block | `launch` |", "|---|---|---|", *rows, ""]
    )


def sentence(model: type[BaseModel]) -> str:
    """The first paragraph of a model's docstring, without the table's name that heads it."""
    text = inspect.cleandoc(model.__doc__ or "").split("\n\n")[0].replace("\n", " ").replace("``", "`")
    _, colon, rest = text.partition("`: ")
    text = rest if colon and text.startswith("`[") else text
    return text[:1].upper() + text[1:]


def keys(model: type[BaseModel], facts_of: str | None = None) -> str:
    """The keys of a table as Markdown."""
    rows = [row(name, field, facts_of) for name, field in model.model_fields.items()]
    return "\n".join(["| key | type | default | meaning |", "|---|---|---|---|", *rows, ""])


def row(name: str, field: FieldInfo, facts_of: str | None) -> str:
    """One key."""
    limits = ", ".join(bounds(field))
    kind = type_words(field.annotation) + (f", {limits}" if limits else "")
    meaning = (field.description or "").replace("\n", " ").replace("``", "`")
    default = default_words(name if facts_of else "", field)
    cells = (f"`{field.alias or name}`", kind, default, meaning)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def default_words(name: str, field: FieldInfo) -> str:
    """The default as it would stand in the file."""
    if name in ORIGIN:
        *table, key = ORIGIN[name]
        return f"as `[{'.'.join(map(str, table))}] {key}`"
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None:
        return ""
    plain = value.model_dump(mode="json", exclude_none=True) if isinstance(value, BaseModel) else value
    if isinstance(plain, float) and plain.is_integer():
        plain = int(plain)
    return f"`{toml(plain)}`" if plain != {} else "`{}`"


def bounds(field: FieldInfo) -> Iterator[str]:
    """Limits of a number: the model's own, and those of the fact that a validator goes by."""
    for item in (*field.metadata, *optional_metadata(field.annotation)):
        for attribute, word in BOUNDS.items():
            limit = getattr(item, attribute, None)
            if limit is not None:
                yield f"{word} {limit:g}"
        if isinstance(item, AfterValidator):
            yield from fact_limits(item)


def optional_metadata(annotation: Any) -> Iterator[Any]:
    """The limits in ``Annotated[float, ...] | None``, which are not the field's own."""
    for part in get_args(annotation) if get_origin(annotation) in (Union, UnionType) else ():
        for item in get_args(part)[1:] if get_origin(part) is Annotated else ():
            yield from item.metadata if isinstance(item, FieldInfo) else (item,)


def fact_limits(validator: AfterValidator) -> Iterator[str]:
    """``1 to 10`` or ``10, 30``: what the fact behind ``components.limits`` allows."""
    fact = fact_behind(validator)
    if fact is None:
        return
    if isinstance(fact.value, list):
        yield " or ".join(map(str, fact.value))
    elif fact.minimum is not None and fact.maximum is not None:
        yield f"{fact.minimum:g} to {fact.maximum:g}"
    elif fact.minimum is not None or fact.maximum is not None:
        yield f"at most {fact.maximum:g}" if fact.minimum is None else f"at least {fact.minimum:g}"


def fact_behind(validator: AfterValidator) -> Fact | None:
    """The fact whose key the validator closes over, if it goes by one."""
    key = inspect.getclosurevars(validator.func).nonlocals.get("key")
    try:
        return facts.get(key) if isinstance(key, str) else None
    except HoldfastError:
        return None


def type_words(annotation: Any) -> str:
    """A type in a user's words."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_words(arguments[0])
    if origin is Literal:
        return " or ".join(f"`{toml(value)}`" for value in arguments)
    if origin in (Union, UnionType):
        return " or ".join(type_words(part) for part in arguments if part is not type(None))
    if origin is tuple:
        return f"list of {type_words(arguments[0])}s"
    if origin is dict:
        return f"table of {type_words(arguments[1])}s"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "table"
    return PLAIN.get(annotation, "value")


def nested(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """The model inside of a field's type, and whether it stands in a list."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    if get_origin(annotation) is tuple:
        return nested(get_args(annotation)[0])[0], True
    return None, False


def main(argv: list[str] | None = None) -> int:
    """Returns 1 when ``--check`` finds that the page is out of date."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare, do not write")
    if parser.parse_args(argv).check:
        return int(not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != page())
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
