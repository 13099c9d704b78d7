"""The other end of the control surface, light enough for ``holdfast status``: the standard library alone."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.errors import AnswerNo, EnvironmentProblem, HoldfastError, InputError, Problem

TIMEOUT_S = 60.0
ERRORS: Mapping[int, type[HoldfastError]] = {1: AnswerNo, 3: EnvironmentProblem}


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("holdfast", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@dataclass(frozen=True, slots=True)
class Client:
    """Calls one running system. Every method raises the :class:`HoldfastError` that the system answered with."""

    socket_path: str
    token: str

    def get(self, path: str) -> dict[str, Any]:
        """``GET /v1/<path>`` as JSON."""
        return self._call("GET", path, None)

    def post(self, path: str, **body: Any) -> dict[str, Any]:
        """``POST /v1/<path>`` with a JSON body."""
        return self._call("POST", path, body)

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        connection = _UnixConnection(self.socket_path, TIMEOUT_S)
        try:
            text = None if body is None else json.dumps(body)
            headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
            connection.request(method, f"/v1/{path}", text, headers)
            response = connection.getresponse()
            answer: dict[str, Any] = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise EnvironmentProblem(
                f"the system does not answer on its control socket: {error}",
                hint="`holdfast down` cleans up, `holdfast up` starts it",
            ) from error
        finally:
            connection.close()
        if response.status >= 400:
            raise _error(answer)
        return answer


def _error(answer: Mapping[str, Any]) -> HoldfastError:
    message, hint = str(answer.get("message", "refused")), answer.get("hint")
    code = int(answer.get("exit_code") or 3)
    if code == InputError.exit_code:
        problems = answer.get("problems") or [message]
        return InputError(tuple(Problem(str(problem)) for problem in problems), hint=hint)
    return ERRORS.get(code, HoldfastError)(message, hint=hint)
