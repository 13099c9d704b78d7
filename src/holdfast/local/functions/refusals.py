"""What API Gateway answers when the function does not.

=======================  ======  ============================================================================
what happened            status  documented in
=======================  ======  ============================================================================
throttled                500     lambda/latest/dg/services-apigateway-errors.html: the Lambda API rejects the
                                 invocation
function error, crash,   502     the same page: the function ran and failed. What a crash or timeout does to
timeout, no valid or             the environment is in lambda/latest/dg/lambda-runtime-environment.html
too long an answer
no answer in time        504     apigateway/latest/developerguide/supported-gateway-response-types.html,
                                 INTEGRATION_TIMEOUT; the function keeps running
request too long         413     the same page, REQUEST_TOO_LARGE; lambda/latest/api/API_Invoke.html,
                                 RequestTooLargeException
=======================  ======  ============================================================================

All below https://docs.aws.amazon.com/.
"""

from __future__ import annotations

import json
from enum import StrEnum

from holdfast.local.functions.event import Reply


class Refusal(StrEnum):
    """Why a request got no answer from the function."""

    THROTTLED = "throttled"
    FUNCTION_ERROR = "function-error"
    CRASHED = "crashed"
    TIMED_OUT = "timed-out"
    INIT_FAILED = "init-failed"
    MALFORMED = "malformed"
    RESPONSE_TOO_LONG = "response-too-long"
    INTEGRATION_TIMEOUT = "integration-timeout"
    REQUEST_TOO_LONG = "request-too-long"


ERRORS = frozenset({
    Refusal.FUNCTION_ERROR, Refusal.CRASHED, Refusal.TIMED_OUT, Refusal.INIT_FAILED,
    Refusal.RESPONSE_TOO_LONG,
})  # fmt: skip
"""What Lambda counts as an error of the function. A malformed answer is an error only to API Gateway."""

_SPECIAL = {
    Refusal.INTEGRATION_TIMEOUT: (504, "Endpoint request timed out"),
    Refusal.REQUEST_TOO_LONG: (413, "Request Too Long"),
}


def reply(refusal: Refusal, throttled_status: int) -> Reply:
    """The HTTP answer; ``throttled_status`` is 500 behind API Gateway and 429 from a function URL."""
    status, message = _SPECIAL.get(refusal, (502, "Internal server error"))
    if refusal is Refusal.THROTTLED:
        status = throttled_status
        message = "Rate Exceeded." if status == 429 else message
    body = json.dumps({"message": message}).encode()
    return Reply(status, [(b"content-type", b"application/json")], body)
