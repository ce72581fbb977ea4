"""JSON formatter of the log, imported only if it is configured."""

import logging
from datetime import UTC, datetime
from typing import Any, Final

from pythonjsonlogger.json import JsonFormatter

from s3mount.printable import LINE_LIMIT, OUTSIDE_LIMIT, TRACEBACK_LIMIT, printable, printable_lines

_FIELDS: Final = ("asctime", "levelname", "name", "message")


def json_formatter() -> logging.Formatter:
    names = {"asctime": "time", "levelname": "level", "name": "logger"}
    return _JsonFormatter(list(_FIELDS), rename_fields=names)


class _JsonFormatter(JsonFormatter):
    """JSON formatter, with local times in ISO 8601, to the millisecond.

    Strings are escaped as in text, since the next program may print them as they are.
    """

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        return {name: _printable_field(name, value) for name, value in log_data.items()}

    def formatException(self, ei: Any) -> Any:  # noqa: N802
        return printable_lines(logging.Formatter.formatException(self, ei), TRACEBACK_LIMIT)

    def formatTime(  # noqa: N802
        self,
        record: logging.LogRecord,
        datefmt: str | None = None,  # noqa: ARG002
    ) -> str:
        return (
            datetime.fromtimestamp(record.created, UTC)
            .astimezone()
            .isoformat(timespec="milliseconds")
        )


def _printable_field(name: str, value: Any) -> Any:
    is_escaped = name in ("exc_info", "stack_info")  # by `printable_lines`
    if not isinstance(value, str) or is_escaped:
        return value
    return printable(value, LINE_LIMIT if name == "message" else OUTSIDE_LIMIT)
