"""Telemetry resource → the document of what the agent sends away."""

from collections.abc import Callable
from posixpath import join

from tulle.model.telemetry import Push, Telemetry, TlsConfig
from tulle.wire.sinks import PushSink, Sinks, Tls


def sinks(telemetry: Telemetry | None, base_dir: str) -> Sinks:
    """With every file's path absolute; relative ones start at `base_dir`."""
    prometheus = telemetry.spec.prometheus if telemetry else None
    target = prometheus.target if prometheus else None
    return Sinks(push=_push(target, base_dir) if target else None)


def _push(push: Push, base_dir: str) -> PushSink:
    def path(written: str | None) -> str:
        return join(base_dir, str(written)) if written else ""

    basic = push.basic_auth
    return PushSink(
        url=str(push.url),
        interval=push.interval,
        timeout=push.remote_timeout,
        labels={str(name): str(value) for name, value in push.labels.items()},
        headers={str(name): str(value) for name, value in push.headers.items()},
        username=str(basic.username) if basic else "",
        password_file=path(basic.password_file if basic else None),
        bearer_token_file=path(push.bearer_token_file),
        tls=_tls(push.tls_config, path) if push.tls_config else Tls(),
        spool_bytes=push.spool.max_bytes,
        spool_seconds=push.spool.max_age,
    )


def _tls(tls: TlsConfig, path: Callable[[str | None], str]) -> Tls:
    return Tls(
        ca_file=path(tls.ca_file),
        cert_file=path(tls.cert_file),
        key_file=path(tls.key_file),
        server_name=str(tls.server_name or ""),
    )
