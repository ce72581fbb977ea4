"""The errno and the log level of each failure."""

import errno
import logging

import pyfuse3
import pytest

from s3mount.errors import (
    AccessDenied,
    NotFound,
    ReplacedBeforeOpen,
    S3MountError,
    StaleVersion,
    StoreError,
)
from s3mount.fuse.error_mapping import maps_errors


class Failing:
    def __init__(self, failure: Exception) -> None:
        self._failure = failure

    @maps_errors
    async def open(self) -> None:
        raise self._failure


@pytest.mark.parametrize(
    ("failure", "level"),
    [
        (NotFound("none"), logging.DEBUG),
        (
            ReplacedBeforeOpen("replaced since it was looked up", key="a"),
            logging.INFO,
        ),  # the kernel looks it up again by itself
        (StaleVersion("replaced", key="a"), logging.WARNING),
        (AccessDenied("refused"), logging.WARNING),
        (StoreError("no answer"), logging.WARNING),
    ],
)
async def test_a_failure_is_logged_at_the_level_of_its_kind(
    failure: S3MountError,
    level: int,
    caplog: pytest.LogCaptureFixture,
    expected_warnings: list[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    if level >= logging.WARNING:
        expected_warnings.append(str(failure))
    with pytest.raises(pyfuse3.FUSEError) as raised:
        await Failing(failure).open()

    assert raised.value.errno == failure.errno
    assert [record.levelno for record in caplog.records] == [level]


async def test_a_bug_becomes_eio(
    caplog: pytest.LogCaptureFixture, expected_warnings: list[str]
) -> None:
    expected_warnings.append("this is a bug")
    with pytest.raises(pyfuse3.FUSEError) as raised:
        await Failing(ZeroDivisionError("oops")).open()

    assert raised.value.errno == errno.EIO
    assert "this is a bug" in caplog.text
