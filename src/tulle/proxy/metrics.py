"""Every metric of the proxy, as data: the exposition and the reference documentation are made from this list."""

from tulle.kit.exposition import Kind, Metric

PAIR = ("source", "destination", "version", "route", "protocol", "response_class")
"""protocol: `http` is HTTP/1.1, then `http2`, `grpc` and `tcp`."""
CONNECTION = ("source", "destination", "protocol")
REFUSAL = ("source", "destination", "policy", "reason")

REQUESTS = Metric(
    "tulle_requests_total",
    Kind.COUNTER,
    "Requests, each counted once when it ends. response_class: 2xx to 5xx by the status the caller got, "
    "aborted when the caller left first, truncated when the endpoint broke off within its answer. protocol `grpc`: "
    "2xx for OK, 5xx for UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE and DATA_LOSS, 4xx for the "
    "others; answers of the proxy by their reason's status.",
    PAIR,
)
GRPC = Metric(
    "tulle_grpc_responses_total",
    Kind.COUNTER,
    "gRPC calls, each counted once when it ends, by the name of the status the caller got: CANCELLED when it left first, "
    "UNKNOWN where the answer held no valid one.",
    ("source", "destination", "version", "route", "grpc_status"),
)
DURATION = Metric(
    "tulle_request_duration_seconds",
    Kind.HISTOGRAM,
    "From the first octet of a request read to the last octet of its answer read from the endpoint.",
    PAIR,
)
REQUEST_BYTES = Metric(
    "tulle_request_bytes_total",
    Kind.COUNTER,
    "Octets from caller to service: bodies without framing, opaque TCP, and what follows an upgrade.",
    PAIR,
)
RESPONSE_BYTES = Metric(
    "tulle_response_bytes_total",
    Kind.COUNTER,
    "Octets from service to caller: bodies without framing, opaque TCP, and what follows an upgrade.",
    PAIR,
)
CONNECTIONS = Metric(
    "tulle_connections_total",
    Kind.COUNTER,
    "Connections of callers whose protocol became known.",
    CONNECTION,
)
CONNECTIONS_OPEN = Metric(
    "tulle_connections_open",
    Kind.GAUGE,
    "Connections of callers that are open now.",
    CONNECTION,
)
TCP = Metric(
    "tulle_tcp_connections_total",
    Kind.COUNTER,
    "Opaque connections, and requests that became one (protocol `websocket`, or `upgrade` for any other), each counted once when "
    "it ends. response_class: closed in order, or reset.",
    PAIR,
)
TCP_SECONDS = Metric(
    "tulle_tcp_connection_seconds_total", Kind.COUNTER, "How long these lasted, added when each ends.", PAIR
)
WEBSOCKET_CLOSES = Metric(
    "tulle_websocket_closes_total",
    Kind.COUNTER,
    "WebSockets that ended, by the code of the first close frame (1000 and others that RFC 6455 or its registry names, 3xxx, 4xxx, "
    "other; none without such a frame) and by who sent it: caller or endpoint.",
    ("source", "destination", "version", "code", "by"),
)
DENIED = Metric(
    "tulle_denied_total",
    Kind.COUNTER,
    "Requests and opaque connections refused by authorization; policy is empty when none allowed.",
    REFUSAL,
)
SHADOW_DENIED = Metric(
    "tulle_shadow_denied_total",
    Kind.COUNTER,
    "What passed in shadow mode and enforcing would have refused.",
    REFUSAL,
)
ANSWERS = Metric(
    "tulle_answers_total",
    Kind.COUNTER,
    "Answers that the proxy made itself, by reason code.",
    ("source", "destination", "reason"),
)
RETRIES = Metric(
    "tulle_retries_total",
    Kind.COUNTER,
    "Second attempts: cause `connect` (another endpoint), `stale` (a kept connection was closed by the endpoint) or "
    "`refused` (the endpoint refused an HTTP/2 stream without looking at it).",
    ("source", "destination", "version", "cause"),
)
REFUSED = Metric(
    "tulle_connections_refused_total",
    Kind.COUNTER,
    "Connections closed at accept: cause `direct` (listener dialled round the redirect), `limit` or `caller-limit`.",
    ("source", "cause"),
)
STREAMS_REFUSED = Metric(
    "tulle_streams_refused_total",
    Kind.COUNTER,
    "HTTP/2 streams that a caller opened beyond the limit `streams` of its connection, refused with REFUSED_STREAM.",
    ("source", "destination"),
)
SQUATTED = Metric(
    "tulle_squatted_total",
    Kind.COUNTER,
    "Attempts to reach an attached workload that found somebody else listening on its port: nothing was sent.",
    ("workload",),
)
ENDPOINT_READY = Metric(
    "tulle_endpoint_ready",
    Kind.GAUGE,
    "1 while an endpoint gets new traffic; 0 while its pod is not ready. Without a pod: always 1.",
    ("workload", "port"),
)
IN_FLIGHT = Metric(
    "tulle_requests_in_flight", Kind.GAUGE, "Requests being served now, WebSockets and other upgrades included."
)
BUFFERED = Metric("tulle_buffered_bytes", Kind.GAUGE, "Octets that wait for slow readers now, of all connections.")
UPSTREAM_OPEN = Metric("tulle_upstream_connections_open", Kind.GAUGE, "Connections to endpoints, idle ones included.")
TAP_DROPPED = Metric("tulle_tap_dropped_total", Kind.COUNTER, "Summaries that readers of /tap were too slow for.")
LOG_DROPPED = Metric(
    "tulle_access_log_dropped_total",
    Kind.COUNTER,
    "Lines missing in the access log. cause: `full` when its reader was too slow, `flood` beyond 100 alike within 10 seconds, "
    "which one line then counts.",
    ("cause",),
)
SNAPSHOT_GENERATION = Metric("tulle_snapshot_generation", Kind.GAUGE, "Generation in force; 0 before the first.")
SNAPSHOTS = Metric("tulle_snapshots_total", Kind.COUNTER, "Snapshots received, by result.", ("result",))
DEFECTS = Metric("tulle_defects_total", Kind.COUNTER, "Errors of the proxy itself; its log has the traces.")
BUILD = Metric("tulle_build_info", Kind.GAUGE, "Always 1.", ("version", "python", "compiled"))
CPU = Metric("process_cpu_seconds_total", Kind.COUNTER, "User and system CPU time of the proxy, in seconds.")
MEMORY = Metric("process_resident_memory_bytes", Kind.GAUGE, "Resident memory of the proxy.")
STARTED = Metric("process_start_time_seconds", Kind.GAUGE, "When the proxy started, Unix time.")

METRICS: tuple[Metric, ...] = (
    REQUESTS,
    GRPC,
    DURATION,
    REQUEST_BYTES,
    RESPONSE_BYTES,
    CONNECTIONS,
    CONNECTIONS_OPEN,
    TCP,
    TCP_SECONDS,
    WEBSOCKET_CLOSES,
    DENIED,
    SHADOW_DENIED,
    ANSWERS,
    RETRIES,
    REFUSED,
    STREAMS_REFUSED,
    SQUATTED,
    ENDPOINT_READY,
    IN_FLIGHT,
    BUFFERED,
    UPSTREAM_OPEN,
    TAP_DROPPED,
    LOG_DROPPED,
    SNAPSHOT_GENERATION,
    SNAPSHOTS,
    DEFECTS,
    BUILD,
    CPU,
    MEMORY,
    STARTED,
)
"""In the order of the exposition."""
