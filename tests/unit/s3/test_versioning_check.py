"""The start of a mount with versions says whether its bucket has any."""

import logging

import pytest
import trio

from s3mount.config import StoreConfig
from s3mount.errors import AccessDenied, NoPast, NotFound, S3MountError, SetupError, StoreError
from s3mount.s3.model import ListedVersion, VersionPage, VersionQuery
from s3mount.s3.views.moment import show_moment
from s3mount.s3.views.versioning_check import PastCheck, check_versioning

AT = StoreConfig(bucket="b", at_ns=1_700_000_000 * 10**9)
VERSIONS = StoreConfig(bucket="b", versions=True)
DENIED = AccessDenied("refused", status=403, code="AccessDenied")


class Bucket:
    """A bucket with versions of these ids; a failure is raised."""

    def __init__(
        self,
        found: list[str] | S3MountError,
        has_versioning: bool | S3MountError,  # noqa: FBT001
    ) -> None:
        self.found = found
        self._has_versioning = has_versioning
        self.listings = 0

    async def list_versions(self, query: VersionQuery) -> VersionPage:
        assert query.prefix == ""
        self.listings += 1
        await trio.lowlevel.checkpoint()
        if isinstance(self.found, S3MountError):
            raise self.found
        rows = [ListedVersion("k", each, True, False, 0) for each in self.found]
        return VersionPage(rows, [], None)

    async def has_versioning(self) -> bool:
        if isinstance(self._has_versioning, S3MountError):
            raise self._has_versioning
        return self._has_versioning


@pytest.mark.parametrize("config", [AT, VERSIONS])
@pytest.mark.parametrize(
    "bucket", [Bucket(["v1"], DENIED), Bucket([], True), Bucket(["null"], True)]
)
async def test_a_bucket_that_keeps_versions_is_served(
    config: StoreConfig, bucket: Bucket, caplog: pytest.LogCaptureFixture
) -> None:
    await check_versioning(config, bucket)

    assert not [each for each in caplog.records if each.levelno > logging.INFO]


@pytest.mark.parametrize("found", [[], ["null"]])
async def test_a_bucket_that_keeps_none_has_no_past(
    found: list[str], expected_warnings: list[str]
) -> None:
    expected_warnings.append("keeps no versions")
    with pytest.raises(SetupError, match="mount it without --at"):
        await check_versioning(AT, Bucket(found, False))
    await check_versioning(VERSIONS, Bucket(found, False))


@pytest.mark.parametrize("config", [AT, VERSIONS])
async def test_a_store_that_does_not_tell_is_believed_to_keep_them(
    config: StoreConfig, expected_warnings: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    expected_warnings.append("may keep no versions")

    await check_versioning(config, Bucket([], DENIED))

    assert "may keep no versions" in caplog.text


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (StoreError("refused", status=501), "the store does not list versions"),
        (DENIED, "allow s3:ListBucketVersions"),
        (StoreError("broken"), "versions cannot be listed: broken"),
    ],
)
async def test_versions_that_cannot_be_listed_end_the_start(
    failure: S3MountError, told: str
) -> None:
    with pytest.raises(SetupError, match=f"--versions: .*{told}"):
        await check_versioning(VERSIONS, Bucket(failure, True))


async def test_the_log_has_the_moment(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    await check_versioning(AT, Bucket(["v1"], True))

    assert "as it was at 2023-11-14T22:13:20Z" in caplog.text
    assert show_moment(1_700_000_000_500_000_000) == "2023-11-14T22:13:20.5Z"


# ---- of one of many buckets


async def test_callers_at_once_share_one_look_at_a_bucket_and_later_ones_need_none() -> None:
    bucket = Bucket(["v1"], DENIED)
    check = PastCheck(AT, bucket)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(check.check)
    await check.check()

    assert bucket.listings == 1


async def test_callers_at_once_share_a_failure_and_a_later_one_looks_again() -> None:
    bucket = Bucket(StoreError("down", status=503), DENIED)
    check, failures = PastCheck(AT, bucket), list[str]()

    async def call() -> None:
        with pytest.raises(StoreError) as caught:
            await check.check()
        failures.append(str(caught.value))

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(call)
    assert (failures, bucket.listings) == (["down"] * 3, 1)
    bucket.found = ["v1"]
    await check.check()

    assert bucket.listings == 2


async def test_a_cancelled_caller_does_not_fail_the_others() -> None:
    check = PastCheck(AT, Bucket(["v1"], DENIED))
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            scope.cancel()
            await check.check()
        nursery.start_soon(check.check)

    assert scope.cancelled_caught


@pytest.mark.parametrize("found", [[], ["null"], StoreError("unknown", status=501)])
async def test_a_bucket_without_versions_has_no_past_until_it_keeps_some(
    found: list[str] | S3MountError,
) -> None:
    bucket = Bucket(found, False)
    check = PastCheck(AT, bucket)
    for _ in range(2):
        with pytest.raises(NoPast, match="--at: "):
            await check.check()
    bucket.found = ["v1"]

    await check.check()

    assert bucket.listings == 3


@pytest.mark.parametrize(
    "failure", [DENIED, StoreError("down", status=503), NotFound("no bucket", status=404)]
)
async def test_a_failure_of_the_listing_is_no_lack_of_a_past(failure: S3MountError) -> None:
    with pytest.raises(type(failure)) as caught:
        await PastCheck(AT, Bucket(failure, True)).check()

    assert not isinstance(caught.value, NoPast)


@pytest.mark.parametrize("refusal", [DENIED, StoreError("unknown", status=501)])
async def test_a_store_that_does_not_tell_of_a_bucket_is_believed(
    refusal: S3MountError, expected_warnings: list[str]
) -> None:
    expected_warnings.append("may keep no versions")

    await PastCheck(AT, Bucket([], refusal)).check()


async def test_a_failure_to_tell_is_no_past() -> None:
    with pytest.raises(StoreError, match="down"):
        await PastCheck(AT, Bucket([], StoreError("down", status=503))).check()
