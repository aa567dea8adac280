"""The adapter's settings."""

from typing import Annotated

import msgspec
from msgspec import Meta

from service.settings import LogLevel, Port


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Read from `TFPOD_ADAPTER_*`; a port of 0 lets the system choose one."""

    #: The API, over TLS.
    port: Port = 6443
    #: /livez and /readyz, over plain HTTP.
    health_port: Port = 8080
    #: The serving certificate and its key, PEM; both are read again when they change.
    cert_file: str = "/etc/tfpod-adapter/tls/tls.crt"
    key_file: str = "/etc/tfpod-adapter/tls/tls.key"
    #: The name of the container port at which a pod answers /metrics.
    metrics_port_name: Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,15}$")] = "metrics"
    #: The folder of the service account's `token` and `ca.crt`.
    service_account: str = "/var/run/secrets/kubernetes.io/serviceaccount"
    #: After SIGTERM, this many seconds go by until no new connection is taken: the endpoints have to spread.
    drain_delay: Annotated[float, Meta(ge=0, le=3600)] = 5.0
    log_level: LogLevel = "info"
