"""Finding, telling apart and adapting the user's program."""

from __future__ import annotations

import asyncio
import functools
import itertools
from pathlib import Path
from typing import Any

import flask
import pytest
from fastapi import FastAPI

from holdfast.errors import InputError
from holdfast.local.application import as_asgi, interface, load

NUMBER = itertools.count()


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """``module(source)`` writes a module nobody has imported yet and returns its name."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(source: str) -> str:
        name = f"program{next(NUMBER)}"
        (tmp_path / f"{name}.py").write_text(source)
        return name

    return write


def test_loads_a_dotted_attribute(module: Any) -> None:
    name = module("class holder:\n    app = 'found'\n")
    assert load(f"{name}:holder.app") == "found"


@pytest.mark.parametrize("target", ["orders.api", "orders.api:", ":app", ""])
def test_a_target_needs_both_halves(target: str) -> None:
    with pytest.raises(InputError, match="write module:attribute"):
        load(target)


def test_a_misspelt_attribute_gets_a_suggestion(module: Any) -> None:
    name = module(
        "class Service:\n    def __call__(self, environ, start_response): ...\nserver = Service()\n"
    )
    with pytest.raises(InputError, match=r'has no attribute "sever".*did you mean "server"'):
        load(f"{name}:sever")


def test_an_attribute_unlike_any_other_lists_what_there_is(module: Any) -> None:
    name = module("from json import dumps\nasync def app(scope, receive, send): ...\nLIMIT = 3\n")
    with pytest.raises(InputError, match="there is: app"):
        load(f"{name}:main")


def test_a_misspelt_module_gets_a_suggestion(module: Any) -> None:
    name = module("")
    with pytest.raises(InputError, match=f'no module "{name}x".*did you mean "{name}"'):
        load(f"{name}x:app")


def test_a_misspelt_module_of_a_package_gets_a_suggestion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "shop_with_typo"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "orders.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match='did you mean "orders"'):
        load("shop_with_typo.order:app")


def test_what_the_users_module_lacks_is_not_ours_to_explain(module: Any) -> None:
    name = module("import a_package_that_is_not_installed\n")
    with pytest.raises(ModuleNotFoundError, match="a_package_that_is_not_installed"):
        load(f"{name}:app")


def test_what_the_users_module_raises_comes_through(module: Any) -> None:
    name = module("1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        load(f"{name}:app")


async def asgi(scope: Any, receive: Any, send: Any) -> None: ...


def asgi_without_async(scope: Any, receive: Any, send: Any) -> Any: ...


def asgi_with_option(scope: Any, receive: Any, send: Any, strict: bool = False) -> Any: ...


def asgi2(scope: Any) -> Any: ...


class Asgi2Class:
    def __init__(self, scope: Any) -> None: ...


def wsgi(environ: Any, start_response: Any) -> Any: ...


class WsgiClass:
    def __init__(self, environ: Any, start_response: Any) -> None: ...


class SetsCallLater:
    def __init__(self) -> None:
        self.__call__ = asgi

    def __call__(self) -> None: ...


@pytest.mark.parametrize(
    ("app", "expected"),
    [
        (asgi, "asgi"),
        (asgi_without_async, "asgi"),
        (asgi_with_option, "asgi"),
        (asgi2, "asgi"),
        (Asgi2Class, "asgi"),
        (SetsCallLater(), "asgi"),
        (functools.partial(asgi_with_option, strict=True), "asgi"),
        (FastAPI(), "asgi"),
        (wsgi, "wsgi"),
        (WsgiClass, "wsgi"),
        (flask.Flask("x"), "wsgi"),
        (flask.Flask("x").wsgi_app, "wsgi"),
    ],
)
def test_interface(app: object, expected: str) -> None:
    assert interface(app) == expected


def factory() -> FastAPI:
    return FastAPI()


@pytest.mark.parametrize(
    ("app", "because"),
    [
        (factory, "for a factory, write"),
        ([], "a list is not an application"),
        (None, "a NoneType is not an application"),
        (lambda a, b, c, d: None, "neither ASGI nor WSGI"),
    ],
)
def test_what_is_no_application_is_refused(app: object, because: str) -> None:
    with pytest.raises(InputError, match=because):
        interface(app)


def test_asgi_3_is_passed_on_untouched() -> None:
    assert as_asgi(asgi) is asgi


def test_asgi_2_answers_through_asgi_3() -> None:
    def double(scope: Any) -> Any:
        async def instance(receive: Any, send: Any) -> None:
            await send({"path": scope["path"], "got": await receive()})

        return instance

    assert answer(double, {"path": "/a"}) == [{"path": "/a", "got": "body"}]


def answer(app: Any, scope: dict[str, Any]) -> list[Any]:
    sent: list[Any] = []

    async def receive() -> str:
        return "body"

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(as_asgi(app)(scope, receive, send))
    return sent
