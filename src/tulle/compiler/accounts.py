"""Telemetry resource → what the proxy writes of single requests, and which traces it begins."""

from tulle.model.telemetry import Telemetry, TelemetrySpec
from tulle.wire.snapshot import USUAL_LOG, USUAL_TRACING, AccessLog, Tracing


def access_log(telemetry: Telemetry | None) -> AccessLog:
    """What the proxy writes. How much of that is kept is the plan's matter."""
    said = spec_of(telemetry).access_log
    made = AccessLog(enabled=said.files > 0, sample=float(said.sample), query=said.query)
    return USUAL_LOG if made == USUAL_LOG else made


def tracing(telemetry: Telemetry | None) -> Tracing:
    """What happens to requests without a trace."""
    said = spec_of(telemetry).tracing
    made = Tracing(create=said.create, sample=float(said.sample))
    return USUAL_TRACING if made == USUAL_TRACING else made


def spec_of(telemetry: Telemetry | None) -> TelemetrySpec:
    """What is said; without a word, what holds then."""
    return telemetry.spec if telemetry is not None else TelemetrySpec()
