"""HTTP to event and back, by hand and through mangum, which reads events as programs on Lambda do."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mangum import Mangum

from holdfast.local.functions.config import FunctionConfig
from holdfast.local.functions.event import Call, Malformed, Reply, to_event, to_reply

FUNCTION = FunctionConfig(
    name="orders", app="a:b", region="eu-west-1", zones=("a",), concurrency=1, timeout_s=1.0, memory_mb=128,
    max_payload_bytes=1000, init_timeout_s=10.0, integration_timeout_s=29.0,
)  # fmt: skip
TEXT = replace(FUNCTION, binary_media_types=())
BINARY = FUNCTION.binary_media_types


def call(
    target: bytes = b"/",
    headers: list[tuple[bytes, bytes]] | None = None,
    body: bytes = b"",
    method: str = "GET",
) -> Call:
    return Call(method, target, headers or [], body, "127.0.0.9")


def test_single_maps_hold_the_last_value_and_multi_maps_all() -> None:
    event = to_event(call(b"/p?a=1&b=&a=2", [(b"X-One", b"1"), (b"X-One", b"2")]), FUNCTION, 0.0)
    assert event["headers"] == {"X-One": "2"}
    assert event["multiValueHeaders"] == {"X-One": ["1", "2"]}
    assert event["queryStringParameters"] == {"a": "2", "b": ""}
    assert event["multiValueQueryStringParameters"] == {"a": ["1", "2"], "b": [""]}


def test_the_query_is_decoded_and_the_path_is_not() -> None:
    event = to_event(call(b"/a%2Fb%20c?q=%C3%A9+%26"), FUNCTION, 0.0)
    assert event["path"] == "/a%2Fb%20c"
    assert event["pathParameters"] == {"proxy": "a%2Fb%20c"}
    assert event["queryStringParameters"] == {"q": "\u00e9 &"}
    assert event["requestContext"]["path"] == "/prod/a%2Fb%20c"


def test_nothing_is_null_not_empty() -> None:
    event = to_event(call(), FUNCTION, 0.0)
    assert (event["resource"], event["pathParameters"]) == ("/", None)
    assert event["queryStringParameters"] is event["multiValueQueryStringParameters"] is event["body"] is None
    assert event["isBase64Encoded"] is False


def test_the_context_says_who_calls_and_when() -> None:
    headers = [
        (b"X-Forwarded-For", b"203.0.113.7, 10.0.0.1"), (b"user-agent", b"curl"), (b"host", b"api.example.com"),
        (b"x-request-id", b"r-1"),
    ]  # fmt: skip
    context = to_event(call(b"/x", headers), FUNCTION, 1_700_000_000.5)["requestContext"]
    assert context["identity"]["sourceIp"] == "203.0.113.7"
    assert context["identity"]["userAgent"] == "curl"
    assert context["identity"]["userArn"] is None
    assert (context["requestId"], context["domainName"], context["domainPrefix"]) == (
        "r-1", "api.example.com", "api",
    )  # fmt: skip
    assert context["requestTime"] == "14/Nov/2023:22:13:20 +0000"
    assert context["requestTimeEpoch"] == 1_700_000_000_500


def test_awss_request_id_goes_before_the_proxys() -> None:
    headers = [(b"x-request-id", b"envoy"), (b"x-amzn-requestid", b"aws")]
    assert to_event(call(b"/", headers), FUNCTION, 0.0)["requestContext"]["requestId"] == "aws"


def test_without_a_proxy_the_caller_is_the_peer() -> None:
    assert to_event(call(), FUNCTION, 0.0)["requestContext"]["identity"]["sourceIp"] == "127.0.0.9"


@pytest.mark.parametrize(
    ("types", "content_type", "encoded"),
    [
        (("*/*",), b"application/json", True),
        ((), b"image/png", False),
        (("image/*",), b"image/png", True),
        (("image/png",), b"IMAGE/PNG; q=1", True),
        (("image/*",), b"application/json", False),
    ],
)
def test_declared_types_are_base64(types: tuple[str, ...], content_type: bytes, encoded: bool) -> None:
    function = replace(FUNCTION, binary_media_types=types)
    event = to_event(call(headers=[(b"Content-Type", content_type)], body=b"\xc3\xa9"), function, 0.0)
    assert event["isBase64Encoded"] is encoded
    assert event["body"] == ("w6k=" if encoded else "\u00e9")


def test_undeclared_bytes_suffer_as_they_do_on_aws() -> None:
    assert to_event(call(body=b"\xff\x00"), TEXT, 0.0)["body"] == "\ufffd\x00"


def answer(**fields: Any) -> bytes:
    return json.dumps({"statusCode": 200} | fields).encode()


def test_both_header_maps_are_merged_and_a_pair_in_both_counts_once() -> None:
    reply = to_reply(
        answer(headers={"A": "1", "b": "1"}, multiValueHeaders={"a": ["1", "2"], "B": ["2"]}), "", BINARY
    )
    assert reply.headers == [(b"a", b"1"), (b"a", b"2"), (b"B", b"2"), (b"b", b"1")]


def test_an_empty_answer_has_no_type_and_a_body_without_one_is_json() -> None:
    assert to_reply(answer(), "", BINARY) == Reply(200, [], b"")
    assert to_reply(answer(body="{}"), "", BINARY).headers == [(b"content-type", b"application/json")]


def test_headers_of_the_connection_are_dropped_or_remapped() -> None:
    sent = {"Content-Length": "3", "Transfer-Encoding": "chunked", "Server": "mine", "X-N": 7, "X-B": True}
    assert to_reply(answer(headers=sent), "", BINARY).headers == [
        (b"x-amzn-Remapped-Server", b"mine"), (b"X-N", b"7"), (b"X-B", b"true"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("accept", "types", "body"),
    [
        ("", ("*/*",), b"\xff"),
        ("image/png,*/*", ("image/png",), b"\xff"),
        ("*/*,image/png", ("image/png",), b"/w=="),
    ],
)
def test_the_first_accepted_type_decides_whether_base64_is_decoded(
    accept: str, types: tuple[str, ...], body: bytes
) -> None:
    assert to_reply(answer(body="/w==", isBase64Encoded=True), accept, types).body == body


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b'"hello"', "not an object"),
        (b"{}", "statusCode is None"),
        (answer(statusCode="20x"), "statusCode"),
        (answer(statusCode=True), "statusCode"),
        (answer(statusCode=101), "statusCode is 101"),
        (answer(statusCode=1e3), "statusCode"),
        (answer(body={"a": 1}), "body is dict"),
        (answer(body="!", isBase64Encoded=True), "not base64"),
        (answer(headers=[]), "headers is not an object"),
        (answer(headers={"a": ["1"]}), "not a string"),
        (answer(headers={"a b": "1"}), "does not allow"),
        (answer(headers={"a": "x\r\ny: z"}), "does not allow"),
        (answer(headers={"a": "\u20ac"}), "does not allow"),
        (answer(headers={"\u00e9": "1"}), "does not allow"),
        (answer(headers={"": "1"}), "does not allow"),
        (answer(multiValueHeaders={"a": "1"}), "not a list"),
    ],
)
def test_anything_else_is_malformed(text: bytes, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        to_reply(text, "", BINARY)


def test_half_a_surrogate_pair_does_not_break_the_front() -> None:
    assert to_reply(b'{"statusCode": 200, "body": "\\ud800"}', "", BINARY).body == b"\xed\xa0\x80"


def test_a_status_may_be_a_string() -> None:
    assert to_reply(answer(statusCode="204"), "", BINARY).status == 204


class Echo:
    """A program that remembers what it was asked and answers what it is told to."""

    def __init__(self) -> None:
        self.scope: dict[str, Any] = {}
        self.body = b""
        self.answer = Reply(200, [], b"")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope, self.body = scope, (await receive())["body"]
        start = {"type": "http.response.start", "status": self.answer.status, "headers": self.answer.headers}
        await send(start)
        await send({"type": "http.response.body", "body": self.answer.body})


@pytest.fixture(scope="module")
def loop() -> Iterator[None]:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    loop.close()
    asyncio.set_event_loop(None)


TOKENS = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=8).map(lambda name: "x-" + name)
VALUES = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=","), min_size=1)
PAIRS = st.lists(st.tuples(TOKENS.map(str.encode), VALUES.map(str.encode)), max_size=6)
WORDS = st.text(st.characters(codec="utf-8"), max_size=6)


@pytest.mark.usefixtures("loop")
@given(
    path=WORDS,
    query=st.lists(st.tuples(WORDS.filter(bool), WORDS), max_size=5),
    headers=PAIRS,
    body=st.binary(max_size=64),
    said=st.tuples(st.integers(200, 599), PAIRS, st.binary(max_size=64)),
)
def test_a_program_sees_the_request_and_the_caller_its_answer(
    path: str, query: list[tuple[str, str]], headers: list[tuple[bytes, bytes]], body: bytes, said: Any
) -> None:
    echo = Echo()
    echo.answer = Reply(*said)
    target = b"/" + urlencode({"": path})[1:].replace("+", "%20").encode() + b"?" + urlencode(query).encode()
    event = json.loads(json.dumps(to_event(call(target, headers, body, "POST"), FUNCTION, 0.0)))
    result = Mangum(echo, lifespan="off")(event, None)  # type: ignore[arg-type]
    assert (echo.scope["path"], echo.body) == ("/" + path, body)
    seen = parse_qsl(echo.scope["query_string"].decode(), keep_blank_values=True)
    assert sorted(seen) == sorted(query)
    expected: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        expected.setdefault(name, []).append(value)
    assert dict(echo.scope["headers"]) == {name: b", ".join(values) for name, values in expected.items()}
    reply = to_reply(json.dumps(result).encode(), "", BINARY)
    assert (reply.status, reply.body) == (echo.answer.status, echo.answer.body)
    content_type = (b"content-type", b"application/json")
    assert sorted(h for h in reply.headers if h != content_type) == sorted(echo.answer.headers)


@given(st.binary(), st.sampled_from([(), ("*/*",), ("image/*",)]))
def test_no_answer_is_anything_but_valid_or_malformed(text: bytes, types: tuple[str, ...]) -> None:
    with contextlib.suppress(Malformed):
        assert 200 <= to_reply(text, "image/png", types).status <= 599


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda x: st.lists(x) | st.dictionaries(st.text(), x),
)


@given(
    st.fixed_dictionaries(
        {"statusCode": st.just(200) | JSON, "headers": JSON, "multiValueHeaders": JSON, "body": JSON}
    )
)
def test_nor_is_any_object(fields: dict[str, Any]) -> None:
    with contextlib.suppress(Malformed):
        to_reply(json.dumps(fields).encode(), "", BINARY)


def test_base64_is_what_the_program_gets() -> None:
    event = to_event(call(body=b"\x00\xff"), FUNCTION, 0.0)
    assert base64.b64decode(event["body"]) == b"\x00\xff"
