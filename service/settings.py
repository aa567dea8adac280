"""Frozen settings out of a mapping of strings; every fault is reported at once, by the setting's own name."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

Positive = Annotated[int, Meta(ge=1, le=(1 << 31) - 1)]
Natural = Annotated[int, Meta(ge=0, le=(1 << 31) - 1)]
Port = Annotated[int, Meta(ge=0, le=65535)]
Seconds = Annotated[float, Meta(gt=0, le=86400)]
Pause = Annotated[float, Meta(ge=0, le=3600)]
Sizes = Annotated[str, Meta(pattern="^([1-9][0-9]{0,8}( *, *[1-9][0-9]{0,8})*)?$")]
Origins = Annotated[str, Meta(pattern=r"^(\*|https?://[^\s,/]+( *, *https?://[^\s,/]+)*)?$")]
RedisUrl = Annotated[str, Meta(pattern=r"^((rediss?|unix)://\S+)?$")]
LogLevel = Annotated[str, Meta(pattern="(?i)^(debug|info|warning|error|critical)$")]

S = TypeVar("S", bound=msgspec.Struct)

_BUNDLED = Path(__file__).resolve().parent.parent / "models"
_MODEL_FILES = ("saved_model.pb", "model.tflite")
#: These may hold passwords: what they are is neither logged nor told.
_SECRET = ("sessions_url",)
_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_LABEL = re.compile(rf"({_MODEL_NAME.pattern})/({_MODEL_NAME.pattern})=([0-9]{{1,18}})")


class SettingsError(ValueError):
    """One or more settings cannot be used; `faults` holds a sentence for each."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The pod's settings, each with what `--help` says of it. Times are seconds, sizes bytes."""

    models: Annotated[str, "NAME=PATH,…: what is served, else the bundled models"] = ""
    version_labels: Annotated[str, "MODEL/LABEL=VERSION,…: other names of versions, served besides the newest"] = ""
    reload_interval: Annotated[Pause, "seconds between looks for new versions; 0: no looks"] = 1.0
    host: Annotated[str, "the address to listen at, else all, of IPv4 and IPv6"] = ""
    port: Annotated[Port, "of the API; 0: the system chooses one"] = 8000
    admin_port: Annotated[Port, "of metrics and probes; 0: the system chooses one"] = 9000
    grpc: Annotated[bool, "serves gRPC too: TensorFlow Serving's, and the Open Inference Protocol's"] = False
    grpc_port: Annotated[Port, "of gRPC; 0: the system chooses one"] = 8500
    tokens_file: Annotated[str, "who may ask, one token a line; without a file, everybody"] = ""
    cors_origins: Annotated[Origins, "ORIGIN,… or *: whose web pages may ask, such as https://example.com"] = ""
    request_timeout: Annotated[Seconds, "seconds that a request may take in all"] = 10.0
    max_body_bytes: Annotated[Positive, "of one request"] = 8 << 20
    max_binary_bytes: Annotated[Positive, "of one request with binary tensors (OIP)"] = 64 << 20
    max_inflight_bytes: Annotated[Positive, "of the bodies of all requests in flight together"] = 256 << 20
    max_inflight: Annotated[Positive, "inference requests at once; more are refused"] = 256
    max_connections: Annotated[Positive, "of clients; beyond it idle ones are closed"] = 4096
    header_timeout: Annotated[Seconds, "seconds for a request's head, and for the first byte of a connection"] = 10.0
    keep_alive: Annotated[Seconds, "seconds between requests; longer than proxies in front keep a connection"] = 3900.0
    drain_delay: Annotated[Pause, "seconds from SIGTERM in which new connections are still accepted"] = 5.0
    drain_timeout: Annotated[Pause, "seconds from there in which what is in flight is finished"] = 30.0
    batching: Annotated[bool, "callers share batches; not for models in which rows affect each other"] = True
    max_batch_rows: Annotated[Positive, "that are computed together"] = 64
    max_batch_bytes: Annotated[Positive, "of inputs that are computed together; a single row always is"] = 64 << 20
    batch_timeout: Annotated[Pause, "seconds that a batch waits for company although the model is free"] = 0.0
    allowed_batch_sizes: Annotated[Sizes, "ROWS,…: the model sees no others, copies of a row fill the gap"] = ""
    max_queue_rows: Annotated[Positive, "that may wait for one model; more are refused"] = 4096
    max_queue_bytes: Annotated[Positive, "of inputs that may wait for one model; more are refused"] = 256 << 20
    overload_wait: Annotated[Pause, "seconds that calls beyond the next batch may wait in a lasting overload"] = 0.01
    sessions_url: Annotated[RedisUrl, "redis://…: keeps sessions for all pods, else each pod has its own"] = ""
    session_seconds: Annotated[Positive, "after which a session that nobody asks for ends"] = 300
    max_sessions_per_token: Annotated[Positive, "at once; more are refused"] = 32
    max_sessions: Annotated[Natural, "in one pod's memory at once; more are refused; 0: none"] = 256
    tracing: Annotated[bool, "sends spans by OTLP, as OTEL_EXPORTER_OTLP_ENDPOINT and its like say"] = False
    access_log: Annotated[bool, "logs a line for each answer"] = False
    log_level: Annotated[LogLevel, "debug, info, warning, error or critical"] = "info"

    def __repr__(self) -> str:
        shown = {name: "…" if name in _SECRET else getattr(self, name) for name in self.__struct_fields__}
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    def model_paths(self) -> dict[str, Path]:
        """Return each served model's folder by name: what `models` says, else the bundled ones."""
        if not self.models:
            files = {file for name in _MODEL_FILES for file in _BUNDLED.glob(f"*/*/{name}")}
            return {path.name: path for path in sorted({file.parents[1] for file in files})}
        return {name: Path(path) for name, _, path in _entries(self.models)}

    def labels(self) -> dict[str, dict[str, int]]:
        """Return the version of each label of each model: what `version_labels` says."""
        found: dict[str, dict[str, int]] = {}
        for entry in self._label_entries():
            if match := _LABEL.fullmatch(entry):
                found.setdefault(match[1], {})[match[2]] = int(match[3])
        return found

    def batch_sizes(self) -> tuple[int, ...]:
        """Return the numbers of rows that a model may be given, none for all: what `allowed_batch_sizes` says."""
        return tuple(map(int, self.allowed_batch_sizes.split(","))) if self.allowed_batch_sizes else ()

    def origins(self) -> list[str]:
        """Return whose web pages may ask: what `cors_origins` says."""
        return [origin.strip() for origin in self.cors_origins.split(",")]

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield (field, what is wrong with it) for what a field's type cannot say."""
        entries = _entries(self.models)
        for name, equals, path in entries:
            if not (path and _MODEL_NAME.fullmatch(name)):
                yield "models", f"expected NAME=PATH, got {name + equals + path!r}"
        names = [name for name, _, _ in entries if name]
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield "models", f"{name!r} is named twice"
        yield from self._label_faults()
        if self.port == self.admin_port != 0:
            yield "admin_port", f"{self.admin_port} is the API's port already"
        if self.grpc and self.grpc_port in {self.port, self.admin_port} - {0}:
            yield "grpc_port", f"{self.grpc_port} is another server's port already"
        longest = max(self.max_body_bytes, self.max_binary_bytes)
        if longest > self.max_inflight_bytes:
            yield "max_inflight_bytes", f"{self.max_inflight_bytes} is less than one body of {longest}"
        yield from self._batching_faults()

    def _batching_faults(self) -> Iterator[tuple[str, str]]:
        if self.max_batch_rows > self.max_queue_rows:
            yield "max_queue_rows", f"{self.max_queue_rows} is less than one batch of {self.max_batch_rows}"
        if self.max_batch_bytes > self.max_queue_bytes:
            yield "max_queue_bytes", f"{self.max_queue_bytes} is less than one batch of {self.max_batch_bytes}"
        if self.batch_timeout >= self.request_timeout:
            yield "batch_timeout", f"{self.batch_timeout:g} leaves nothing of a request's {self.request_timeout:g} s"
        sizes = self.batch_sizes()
        if sizes and (sizes[-1] != self.max_batch_rows or sorted({*sizes}) != [*sizes]):
            yield "allowed_batch_sizes", f"expected numbers that rise to a batch's {self.max_batch_rows}"
        for name in ("batch_timeout", "allowed_batch_sizes"):
            if getattr(self, name) and not self.batching:
                yield name, "of no use without batching"

    def _label_entries(self) -> list[str]:
        return [entry.strip() for entry in self.version_labels.split(",")] if self.version_labels else []

    def _label_faults(self) -> Iterator[tuple[str, str]]:
        seen = set()
        for entry in self._label_entries():
            match, label = _LABEL.fullmatch(entry), entry.partition("=")[0]
            if not match:
                yield "version_labels", f"expected MODEL/LABEL=VERSION, got {entry!r}"
            elif match[1] not in self.model_paths():
                yield "version_labels", f"{entry!r} is about no model that is served"
            elif label in seen:
                yield "version_labels", f"{label!r} is named twice"
            seen.add(label)


def read(cls: type[S], given: Mapping[str, str], prefix: str) -> S:
    """Return a `cls` made of the entries of `given` whose names begin with `prefix`.

    Field `max_inflight` is read from `PREFIX` + `MAX_INFLIGHT`; an absent entry leaves its default. Raises
    SettingsError with every fault: unknown names, values of the wrong type, and what the method `faults` of `cls`
    yields, if it has one.
    """
    fields = {prefix + field.name.upper(): field for field in msgspec.structs.fields(cls)}
    wrong = {name: "no such setting" for name in sorted(given) if name.startswith(prefix) and name not in fields}
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if name in given:
            try:
                values[field.name] = msgspec.convert(given[name].strip(), field.type, strict=False)
            except msgspec.ValidationError as error:
                wrong[name] = _lower(error) if field.name in _SECRET else f"{_lower(error)}, got {given[name]!r}"
    settings = cls(**values)
    faults = [f"{name}: {fault}" for name, fault in wrong.items()]
    for field_name, fault in getattr(settings, "faults", tuple)():
        if (name := prefix + field_name.upper()) not in wrong:
            faults.append(f"{name}: {fault}")
    if faults:
        raise SettingsError(faults)
    return settings


def _entries(models: str) -> list[tuple[str, str, str]]:
    """Split `NAME=PATH,…` into (name, "=", path); a malformed entry lacks some of it."""
    return [entry.strip().partition("=") for entry in models.split(",")] if models else []


def _lower(error: msgspec.ValidationError) -> str:
    """Return the decoder's sentence as the beginning of one of ours."""
    text = str(error).removesuffix(", got `str`")
    for name, meaning in (("`str`", "text"), ("`int`", "a whole number"), ("`float`", "a number")):
        text = text.replace(name, meaning)
    return text[0].lower() + text[1:]
