"""Why the proxy answered or closed by itself: the one list that answers, metrics and docs share."""

import enum
from typing import Final


class Fault(enum.StrEnum):
    """Whose fault it was."""

    DOWNSTREAM = "downstream"
    UPSTREAM = "upstream"
    OURS = "ours"


class Reason(enum.Enum):
    """A stable code, the HTTP status it answers with, whose fault, whether a retry may help, and a sentence."""

    DENIED = ("denied", 403, Fault.DOWNSTREAM, False, "no policy allows this call, or one denies it")
    CALLS_DENIED = ("calls-denied", 403, Fault.DOWNSTREAM, False, "the caller's `calls` does not name this service")
    NO_ROUTE = ("no-route", 404, Fault.DOWNSTREAM, False, "no route of the service matches this request")
    NO_SERVICE = ("no-service", 404, Fault.DOWNSTREAM, False, "nothing is declared at this address or name and port")
    NO_BACKEND = ("no-backend", 500, Fault.OURS, False, "the route names no backend with a weight")
    NO_HEALTHY_ENDPOINT = ("no-healthy-endpoint", 503, Fault.UPSTREAM, True, "no endpoint of the backend is ready")
    CONNECT_FAILED = ("connect-failed", 503, Fault.UPSTREAM, True, "every endpoint tried refused the connection")
    SQUATTED = ("squatted", 503, Fault.UPSTREAM, True, "another program listens on the port of an attached service")
    UPSTREAM_TIMEOUT = ("upstream-timeout", 504, Fault.UPSTREAM, True, "the endpoint did not answer in time")
    UPSTREAM_RESET = ("upstream-reset", 502, Fault.UPSTREAM, True, "the endpoint closed before it had answered")
    UPSTREAM_PROTOCOL = ("upstream-protocol", 502, Fault.UPSTREAM, False, "the endpoint's answer was not valid HTTP")
    NO_EXTENDED_CONNECT = (
        "no-extended-connect",
        502,
        Fault.UPSTREAM,
        False,
        "the endpoint speaks HTTP/2 and takes no WebSocket or other upgrade there",
    )
    BAD_REQUEST = (
        "bad-request",
        400,
        Fault.DOWNSTREAM,
        False,
        "the request was not valid HTTP, or its `grpc-timeout` not gRPC",
    )
    ORIGIN_FORM = (
        "origin-form",
        400,
        Fault.DOWNSTREAM,
        False,
        "the forward proxy takes `http://` URIs and CONNECT: name it in `http_proxy`, do not dial it as a service",
    )
    HEAD_TOO_LARGE = ("head-too-large", 431, Fault.DOWNSTREAM, False, "the request head exceeds the limits")
    TARGET_TOO_LONG = ("target-too-long", 414, Fault.DOWNSTREAM, False, "the request target exceeds the limit")
    DEADLINE_EXCEEDED = (
        "deadline-exceeded",
        504,
        Fault.UPSTREAM,
        True,
        "the caller's `grpc-timeout` passed before an answer",
    )
    REQUEST_TIMEOUT = ("request-timeout", 408, Fault.DOWNSTREAM, True, "the request did not arrive in time")
    UNSUPPORTED = (
        "unsupported",
        501,
        Fault.DOWNSTREAM,
        False,
        "an unknown transfer coding, an upgrade to more HTTP, CONNECT to a service, or `https` and TCP without CONNECT",
    )
    OVERLOADED = ("overloaded", 503, Fault.OURS, True, "a limit of the proxy is reached")
    DRAINING = ("draining", 503, Fault.OURS, True, "the proxy is shutting down")
    INTERNAL = ("internal", 500, Fault.OURS, False, "a defect of the proxy; its log has the trace")

    def __init__(self, code: str, status: int, fault: Fault, retryable: bool, meaning: str) -> None:
        self.code = code
        self.status = status
        self.fault = fault
        self.retryable = retryable
        self.meaning = meaning

    @property
    def grpc_status(self) -> int:
        """What a gRPC call is answered (grpc.github.io/grpc/core/md_doc_statuscodes.html)."""
        if self is Reason.DEADLINE_EXCEEDED:
            return 4
        return _GRPC_STATUSES.get(self.status, 14)


_GRPC_STATUSES: Final = {
    400: 13,  # INTERNAL
    403: 7,  # PERMISSION_DENIED
    404: 12,  # UNIMPLEMENTED
    408: 4,  # DEADLINE_EXCEEDED
    414: 13,
    431: 8,  # RESOURCE_EXHAUSTED
    500: 13,
    501: 12,
    504: 4,
}
"""By HTTP status; UNAVAILABLE (14) for the others. As gRPC maps statuses of proxies, but for time-outs, whose cause we know."""
