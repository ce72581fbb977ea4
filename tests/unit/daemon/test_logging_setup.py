"""The log: formats, destinations, and what is never logged."""

import errno
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from s3mount.config import LogConfig
from s3mount.daemon import logging_setup
from s3mount.errors import SetupError
from s3mount.metrics import Metrics

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, raises = root.handlers[:], root.level, logging.raiseExceptions
    yield
    for handler in set(root.handlers) - set(handlers):
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.raiseExceptions = raises


def test_json_lines_have_time_level_logger_and_extra_fields(
    tmp_path: Path, expected_warnings: list[str]
) -> None:
    expected_warnings.append("no 'a")
    file = tmp_path / "log"
    logging_setup.set_up_log(LogConfig(file=file, format="json"), foreground=True)

    logging.getLogger("s3mount.x").warning("no %r", "a\udcff\nb", extra={"status": 403})

    record = json.loads(file.read_text())
    assert (record["level"], record["logger"], record["status"]) == ("WARNING", "s3mount.x", 403)
    assert record["message"] == r"no 'a\udcff\nb'"


def test_json_lines_have_the_local_time_with_its_offset_to_the_millisecond(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "IST-5:30")
    time.tzset()
    file = tmp_path / "log"
    logging_setup.set_up_log(LogConfig(file=file, format="json"), foreground=True)
    record = logging.makeLogRecord(
        {"msg": "x", "levelno": logging.INFO, "levelname": "INFO", "created": 1_700_000_000.0629}
    )

    logging.getLogger().handle(record)
    monkeypatch.undo()
    time.tzset()

    assert json.loads(file.read_text())["time"] == "2023-11-15T03:43:20.062+05:30"


def test_any_key_can_be_logged(tmp_path: Path) -> None:
    file = tmp_path / "log"
    logging_setup.set_up_log(LogConfig(file=file), foreground=False)

    logging.getLogger("s3mount").info("a\udcff")

    assert file.read_text().endswith("INFO s3mount: a\\udcff\n")


def test_a_message_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "log"
    logging_setup.set_up_log(LogConfig(file=file), foreground=False)

    logging.getLogger("s3mount").info(
        "refused: %s", "x\n2026-11-26 02:00:00,000 CRITICAL root: forged\x1b[2J\u2028\x85"
    )
    logging.getLogger("s3mount").info("A" * 100_000)

    first, second = file.read_text().splitlines()
    assert first.endswith(
        r"refused: x\n2026-11-26 02:00:00,000 CRITICAL root: forged\x1b[2J\u2028\x85"
    )
    assert len(second) < 4100


def test_the_lines_of_a_traceback_are_indented(
    tmp_path: Path, expected_warnings: list[str]
) -> None:
    expected_warnings.append("this is a bug")
    file = tmp_path / "log"
    logging_setup.set_up_log(LogConfig(file=file), foreground=False)

    bug = ValueError("x\n2026-11-26 02:00:00,000 CRITICAL root: forged\x1b[2J" + "\nA" * 100_000)
    logging.getLogger("s3mount").error("this is a bug", exc_info=bug)

    text = file.read_text()
    first, *rest = text.splitlines()
    assert first.endswith("ERROR s3mount: this is a bug")
    assert "ValueError" in text
    assert all(line.startswith("  ") for line in rest)
    assert "\x1b" not in text
    assert len(text) < 128 * 1024


def test_fields_of_json_lines_are_escaped_and_cut(tmp_path: Path) -> None:
    file = tmp_path / "log"
    logging_setup.set_up_log(LogConfig(file=file, format="json"), foreground=False)

    logging.getLogger("s3mount").info("x\ny", extra={"code": "A" * 60_000, "key": "a\x1b[2Jb"})

    record = json.loads(file.read_text())
    assert (record["message"], record["key"]) == (r"x\ny", r"a\x1b[2Jb")
    assert len(record["code"].encode()) <= 200


def test_libraries_that_log_signed_headers_stay_at_warning(tmp_path: Path) -> None:
    file = tmp_path / "log"
    logging_setup.set_up_log(LogConfig(file=file, level="debug"), foreground=False)

    logging.getLogger("botocore.auth").debug("Authorization: AWS4-HMAC-SHA256 hush")
    logging.getLogger("botocore.credentials").warning(
        "Refreshing temporary credentials failed: hush"
    )
    logging.getLogger("urllib3.connectionpool").info("hush")
    logging.getLogger("s3mount").debug("seen")

    assert "hush" not in file.read_text()
    assert "seen" in file.read_text()


@pytest.mark.parametrize(("level", "count"), [("info", 5), ("debug", 50)])
def test_a_flood_is_limited_unless_each_request_is_logged(
    tmp_path: Path, expected_warnings: list[str], level: Literal["info", "debug"], count: int
) -> None:
    expected_warnings.append("open: EACCES")
    file = tmp_path / "log"
    logging_setup.set_up_log(LogConfig(file=file, level=level), foreground=False)

    for _ in range(50):
        logging.getLogger("s3mount.fuse.error_mapping").warning("open: EACCES")
    logged = file.read_text().count("open: EACCES")
    logging_setup.log_suppressed()
    metrics = Metrics()
    logging_setup.register_log_metrics(metrics)

    assert logged == count
    assert file.read_text().count("and 45 more in the last") == (level == "info")
    assert metrics.read() == {"log_warnings": 50, "log_suppressed": 50 - count}


def test_a_rotated_file_is_followed_and_a_missing_directory_does_no_harm(tmp_path: Path) -> None:
    file = tmp_path / "there" / "log"
    file.parent.mkdir()
    logging_setup.set_up_log(LogConfig(file=file), foreground=False)
    log = logging.getLogger("s3mount")

    log.info("one")
    file.rename(tmp_path / "old")
    log.info("two")
    file.unlink()
    file.parent.rmdir()
    log.info("lost")
    file.parent.mkdir()
    log.info("three")

    assert "one" in (tmp_path / "old").read_text()
    assert "three" in file.read_text()


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        SetupError, match=r"--log-file .*/none/log: it cannot be written: No such file or directory"
    ):
        logging_setup.set_up_log(LogConfig(file=tmp_path / "none" / "log"), foreground=False)


def test_the_journal_gets_priorities_and_no_time() -> None:
    ours, theirs = socket.socketpair()
    stat = os.fstat(theirs.fileno())
    program = (
        "import logging; from s3mount.config import LogConfig;"
        "from s3mount.daemon.logging_setup import set_up_log;"
        "set_up_log(LogConfig(), foreground=True); logging.getLogger('s3mount').error('one\\ntwo')"
    )
    environment = {"PYTHONPATH": str(ROOT), "JOURNAL_STREAM": f"{stat.st_dev}:{stat.st_ino}"}

    subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        stderr=theirs.fileno(),
        env=os.environ | environment,
    )

    with ours, theirs:
        assert ours.recv(1000) == b"<3>s3mount: one\\ntwo\n"


def test_a_syslog_daemon_that_reads_nothing_blocks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon whose disk was full stopped the event loop, and with it the mount."""

    def write() -> None:
        for number in range(2000):
            logging.getLogger("s3mount.x").debug("line %d", number)

    monkeypatch.setattr(logging_setup, "_SYSLOG", str(tmp_path / "log"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(str(tmp_path / "log"))
        logging_setup.set_up_log(LogConfig(level="debug"), foreground=False)
        writing = threading.Thread(target=write, daemon=True)

        writing.start()
        writing.join(timeout=10)

        assert not writing.is_alive()
        assert b"s3mount.x: line 0" in daemon.recv(1000)


@pytest.mark.parametrize(
    ("error", "is_logged"), [(errno.ENOENT, False), (errno.EINVAL, True), (errno.ENODEV, True)]
)
def test_a_reply_that_nobody_waits_for_is_no_error(
    tmp_path: Path, error: int, *, is_logged: bool
) -> None:
    """pyfuse3 logs an error if the reader was killed, or the mount removed, before a reply."""
    file = tmp_path / "log"
    logging_setup.set_up_log(LogConfig(file=file), foreground=True)

    logging.getLogger("pyfuse3").error(
        "fuse_read(): fuse_reply_* failed with %s", os.strerror(error)
    )

    assert ("fuse_reply_* failed" in file.read_text()) == is_logged
