"""Background tasks of a mount: a failure is logged, and ends nothing."""

import subprocess
import sys
from typing import Any, cast

import pytest
import trio
import trio.testing

from s3mount.daemon.wiring import Background, ServedFileSystem


async def test_a_background_task_that_fails_ends_no_other(
    caplog: pytest.LogCaptureFixture, expected_warnings: list[str]
) -> None:
    expected_warnings.append("a background task failed: this is a bug")
    done = trio.Event()

    async def fail(what: str) -> None:
        raise ZeroDivisionError(what)

    async def succeed() -> None:
        await trio.testing.wait_all_tasks_blocked()
        done.set()

    async with trio.open_nursery() as nursery:
        background = Background(nursery)
        background.start_soon(fail, "a page")
        background.start_soon(succeed)
        await done.wait()

    assert [record.exc_info is not None for record in caplog.records] == [True]


async def test_a_background_task_is_cancelled_as_any_other() -> None:
    async with trio.open_nursery() as nursery:
        Background(nursery).start_soon(trio.sleep_forever)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()


def test_a_failing_invalidation_ends_no_mount(
    caplog: pytest.LogCaptureFixture, expected_warnings: list[str]
) -> None:
    expected_warnings.append("invalidating the metadata cache failed: this is a bug")
    none = cast("Any", None)

    served = ServedFileSystem(
        none, none, none, none, none, background=none, config=none, metrics=none
    )

    served.invalidate_all()

    assert [record.exc_info is not None for record in caplog.records] == [True]


def test_what_few_mounts_need_is_not_imported_at_the_start() -> None:
    program = "import s3mount.daemon.wiring, sys; print(*sys.modules)"

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    of_few = (
        *("account", "views.bucket", "regional_store", "shared_pools", "list_buckets"),
        *("attributes", "xattr"),
    )
    imported = [name for name in done.stdout.split() if name.startswith("s3mount.")]
    assert "s3mount.filesystem.facade" in imported
    assert [name for name in imported if any(part in name for part in of_few)] == []
