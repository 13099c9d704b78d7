"""The user's program as an object: import it, say which interface it speaks, adapt it to ASGI 3.

Light on purpose: the server of a worker and the handler of a function both use it, and a function must not
pay for a web server it never starts.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Awaitable, Callable, Iterable
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Literal

from a2wsgi import WSGIMiddleware

from holdfast.errors import InputError, Problem

AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]

ASGI2_ARGUMENTS, WSGI_ARGUMENTS, ASGI3_ARGUMENTS = 1, 2, 3
KINDS: dict[int, Literal["asgi", "wsgi"]] = {
    ASGI2_ARGUMENTS: "asgi",
    WSGI_ARGUMENTS: "wsgi",
    ASGI3_ARGUMENTS: "asgi",
}


def load(target: str) -> object:
    """The object that ``module:attribute`` names; the attribute may be dotted.

    Raises:
        InputError: the text is not of that shape, or there is no such module or attribute.
        Exception: whatever the module itself raises while it is imported. That is the user's to read.
    """
    module_name, colon, attribute = target.partition(":")
    if not (colon and module_name and attribute):
        raise _refused(
            f'"{target}" does not name an application', "write module:attribute, such as orders.api:app"
        )
    module = _module(module_name)
    found: object = module
    for name in attribute.split("."):
        if not hasattr(found, name):
            raise _refused(
                f'module "{module_name}" has no attribute "{attribute}"', _similar(name, _offered(found))
            )
        found = getattr(found, name)
    return found


def interface(app: object) -> Literal["asgi", "wsgi"]:
    """Which interface ``app`` speaks, told by how many arguments it takes.

    Raises:
        InputError: it takes neither an ASGI scope nor a WSGI environment.
    """
    count = _arguments(app)
    if count not in KINDS:
        raise _refused(*_why_not(app, count))
    return KINDS[count]


def as_asgi(app: object, *, threads: int = 10) -> AsgiApp:
    """``app`` as an ASGI 3 application. A WSGI application answers up to ``threads`` requests at once.

    Raises:
        InputError: it is neither ASGI nor WSGI.
    """
    if interface(app) == "wsgi":
        return WSGIMiddleware(app, workers=threads)  # type: ignore[arg-type]
    return _single_callable(app) if _arguments(app) == ASGI2_ARGUMENTS else app  # type: ignore[return-value]


def _single_callable(app: Any) -> AsgiApp:
    async def asgi3(scope: Any, receive: Any, send: Any) -> None:
        await app(scope)(receive, send)

    return asgi3


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if not _is_part_of(name, error.name):
            raise
        raise _refused(
            f'there is no module "{error.name}"', _similar(*_siblings(error.name or name))
        ) from None


def _is_part_of(name: str, missing: str | None) -> bool:
    """Whether the missing module is ours to explain, not one that the user's code imports in turn."""
    return missing is not None and (name == missing or name.startswith(f"{missing}."))


def _siblings(missing: str) -> tuple[str, list[str]]:
    parent, _, last = missing.rpartition(".")
    spec = find_spec(parent) if parent else None
    path = spec.submodule_search_locations if spec else sys.path[:1]
    return last, [found.name for found in pkgutil.iter_modules(path)]


def _offered(owner: object) -> list[str]:
    """Public names in ``owner`` that could be served: application objects, or else functions."""
    public = {
        name: value for name, value in getattr(owner, "__dict__", {}).items() if not name.startswith("_")
    }
    servable = [
        name for name, value in public.items() if not inspect.isclass(value) and _arguments(value) in KINDS
    ]
    return [name for name in servable if not inspect.isroutine(public[name])] or servable


def _similar(name: str, offered: Iterable[str]) -> str:
    offered = sorted(offered)
    close = difflib.get_close_matches(name, offered, n=1)
    if close:
        return f'did you mean "{close[0]}"?'
    listed = ", ".join(offered[:5])
    return f"there is: {listed}" if listed else "check the name and the folder it is started in"


def _arguments(app: object) -> int | None:
    """How many positional arguments a call takes; ``None`` where it cannot be called or does not say."""
    if not callable(app):
        return None
    try:
        parameters = inspect.signature(_entry(app)).parameters.values()
    except (TypeError, ValueError):
        return None
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    required = [p for p in parameters if p.kind in positional and p.default is p.empty]
    return len(required)


def _entry(app: Any) -> Any:
    """What a call runs. Some middleware sets ``__call__`` on the instance, which ``signature`` ignores."""
    plain = inspect.isfunction(app) or inspect.ismethod(app) or inspect.isclass(app)
    return app if plain or isinstance(app, functools.partial) else app.__call__


def _why_not(app: object, count: int | None) -> tuple[str, str]:
    kind = type(app).__name__
    if count == 0:
        return (
            f"a {kind} without arguments is not an application",
            "for a factory, write app = create_app() and name app",
        )
    if not callable(app):
        return (
            f"a {kind} is not an application",
            "name an ASGI or WSGI application, such as a FastAPI or Flask object",
        )
    return (
        f"this {kind} is neither ASGI nor WSGI",
        "ASGI takes (scope, receive, send), WSGI (environ, start_response)",
    )


def _refused(message: str, hint: str) -> InputError:
    return InputError((Problem(message, hint=hint),))
