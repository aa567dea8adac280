"""JSON log lines on standard error, one object a line."""

import json
import logging
import sys
import time
from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Final

#: Fields for every line that is logged while this task's request is served.
about: Final[ContextVar[Mapping[str, str]]] = ContextVar("about", default=MappingProxyType({}))

#: What every LogRecord carries; anything else was given by `extra=` and is logged as a field of its own.
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (RFC 3339, UTC), level, logger, message, `extra`, `about`, traceback.

    Pure ASCII: whatever a caller made us log, no terminal and no collector takes a part of it for a line of its own.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line for `record`, without a line break in it."""
        line = {
            "time": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{record.msecs:03.0f}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {key: value for key, value in vars(record).items() if key not in _STANDARD and key not in line}
        line |= {key: value for key, value in about.get().items() if key not in line}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure(level: str) -> None:
    """Send every logger's lines from `level` upwards to standard error; `level` as in logging, any case."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
