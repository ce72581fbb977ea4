"""Metadata that outlives the mount, and is served while the store is away: real mounts."""

import os
from collections import Counter
from pathlib import Path

import pytest

from tests.mount.buckets import fill
from tests.mount.control_client import ask
from tests.mount.filesystem_access import failure_of, read_file, read_tree
from tests.mount.mount_process import Mount, mount_of, refused
from tests.mount.relay import Traffic, relay
from tests.servers import S3Server
from tests.waiting import wait_until

OBJECTS = {
    **{f"tree/{one}/{two}/leaf": b"leaf" for one in range(5) for two in range(5)},
    **{f"small/{number:04}": b"x" * number for number in range(1500)},
    "file": b"content",
}


@pytest.fixture(scope="module")
def bucket(seaweedfs: S3Server) -> str:
    return fill(seaweedfs, OBJECTS)


def kinds_of(traffic: Traffic) -> Counter[str]:
    """Return how many requests there were since the last call, by kind."""
    return Counter(request.kind for request in traffic.take())


def cached(tmp_path: Path) -> tuple[str, str]:
    """Return the options for a cache directory, which outlives the mounts of a test."""
    folder = tmp_path / "cache"
    folder.mkdir(mode=0o700, exist_ok=True)
    return "--cache-dir", str(folder)


def test_a_tree_is_listed_by_the_next_mount_without_a_request(
    seaweedfs: S3Server, bucket: str, tmp_path: Path
) -> None:
    """With `--cache-dir`, listings and names that were looked up outlive the mount: the next mount
    shows them without a request for what is left of their metadata lifetime, also after a reboot.
    """
    with relay(seaweedfs) as traffic:
        with mount_of(traffic.server, bucket, tmp_path / "one", *cached(tmp_path)) as mount:
            before = read_tree(mount.path)
        with mount_of(traffic.server, bucket, tmp_path / "two", *cached(tmp_path)) as mount:
            kinds_of(traffic)  # of the start
            listed = sorted(path.name for path in (mount / "small").iterdir())
            sizes = [path.stat().st_size for path in sorted((mount / "small").iterdir())]
            leaves = [name for _, _, names in os.walk(mount / "tree") for name in names]

            assert kinds_of(traffic) == {}
            assert listed == [f"{number:04}" for number in range(1500)]
            assert sizes == list(range(1500))
            assert leaves == ["leaf"] * 25
            assert read_tree(mount.path) == before


def test_a_file_beyond_its_lifetime_takes_one_conditional_request_after_a_remount(
    seaweedfs: S3Server, bucket: str, tmp_path: Path
) -> None:
    """Beyond it a directory is listed anew, and a file is revalidated by one conditional request,
    beside the LIST that tells whether a directory shadows it.
    """
    options = (*cached(tmp_path), "--metadata-ttl", "0")
    with relay(seaweedfs) as traffic:
        with mount_of(traffic.server, bucket, tmp_path / "one", *options) as mount:
            assert read_file(mount / "file") == b"content"
        with mount_of(traffic.server, bucket, tmp_path / "two", *options) as mount:
            kinds_of(traffic)
            (mount / "file").stat()

            kinds = kinds_of(traffic)
            assert kinds["GET"] == 1  # with If-None-Match
            assert kinds["HEAD"] == 0


def test_directories_of_versions_are_in_kept_listings_too(
    seaweedfs: S3Server, tmp_path: Path
) -> None:
    """A kept listing denies no `.versions`, which no listing tells."""
    name = seaweedfs.make_bucket(versioned=True)
    for key in ("file", "file", "d/file"):
        seaweedfs.client().put_object(Bucket=name, Key=key, Body=b"content")
    options = (*cached(tmp_path), "--versions")
    counts = []
    for at in ("one", "two"):
        with mount_of(seaweedfs, name, tmp_path / at, *options) as mount:
            assert sorted(os.listdir(mount.path)) == ["d", "file"]
            assert os.listdir(mount / "d") == ["file"]
            counts.append([len(os.listdir(mount / each)) for each in (".versions", "d/.versions")])

    assert counts == [[2, 1], [2, 1]]


def test_a_refresh_forgets_what_is_kept(seaweedfs: S3Server, tmp_path: Path) -> None:
    """A refresh forgets what is kept, for later mounts too. What of it a damaged or slow disk does
    not give is requested.
    """
    bucket = fill(seaweedfs, {"d/a": b"1", "e/a": b"1"})
    with mount_of(seaweedfs, bucket, tmp_path / "one", *cached(tmp_path)) as mount:
        read_tree(mount.path)
        fill(seaweedfs, {"d/b": b"2"}, bucket)
        ask(mount.path, "refresh", path="d")
        assert names(mount, "d") == ["a", "b"]
        fill(seaweedfs, {"d/c": b"3"}, bucket)
        ask(mount.path, "refresh", path="d")
    with mount_of(seaweedfs, bucket, tmp_path / "two", *cached(tmp_path)) as mount:
        assert names(mount, "d") == ["a", "b", "c"]


@pytest.mark.parametrize("has_disk", [True, False])
def test_what_is_known_is_served_while_the_store_is_away(
    seaweedfs: S3Server,
    bucket: str,
    tmp_path: Path,
    has_disk: bool,  # noqa: FBT001
) -> None:
    """With `--serve-stale SECONDS`, names, listings and opens are served from what is known and
    not older than that, while S3 cannot be reached (no connection, no response, 5xx, after
    retries); the log says when that begins and ends.
    """
    disk = cached(tmp_path) if has_disk else ()
    options = (*disk, "--metadata-ttl", "0", "--timeout", "4", "--serve-stale", "1h")
    with (
        relay(seaweedfs) as traffic,
        mount_of(traffic.server, bucket, tmp_path / "mnt", *options) as mount,
    ):
        leaf = mount / "tree" / "1" / "1" / "leaf"
        before = names(mount, "tree")
        assert leaf.stat().st_size == 4
        traffic.is_down = True
        mount.expect("the store cannot be reached, so what is known is served")
        mount.allow("EIO", "ETIMEDOUT", "no response")

        assert leaf.stat().st_size == 4
        assert names(mount, "tree") == before
        assert failure_of((mount / "unknown").stat) in ("EIO", "ETIMEDOUT")

        traffic.is_down = False
        wait_until(
            lambda: any("can be reached again" in each["message"] for each in mount.records())
        )


def test_what_was_refreshed_or_is_not_cached_fails_while_the_store_is_away(
    seaweedfs: S3Server, bucket: str, tmp_path: Path
) -> None:
    """Nothing else is replaced by what was known: access denied, not found and replaced are errors
    as ever, a refreshed path is not served from before, and bytes that are not cached fail.
    """
    options = (*cached(tmp_path), "--metadata-ttl", "0", "--timeout", "4", "--serve-stale", "1h")
    with (
        relay(seaweedfs) as traffic,
        mount_of(traffic.server, bucket, tmp_path / "mnt", *options) as mount,
    ):
        unread = mount / "small" / "0007"
        assert unread.stat().st_size == 7
        names(mount, "tree")
        traffic.is_down = True
        mount.expect("the store cannot be reached, so what is known is served")
        mount.allow("EIO", "ETIMEDOUT", "no response")

        assert unread.stat().st_size == 7
        assert failure_of(lambda: read_file(unread)) in ("EIO", "ETIMEDOUT")
        ask(mount.path, "refresh", path="tree")
        assert failure_of(lambda: names(mount, "tree")) in ("EIO", "ETIMEDOUT")


def test_a_mount_starts_while_the_store_is_away_if_its_root_is_kept(
    seaweedfs: S3Server, bucket: str, tmp_path: Path
) -> None:
    """With `--cache-dir` as well, a mount whose top directory was listed no longer ago than that
    starts without a response, once `--start-timeout` has passed.
    """
    stale = ("--metadata-ttl", "0", "--timeout", "4", "--serve-stale", "1h")
    options = (*cached(tmp_path), *stale, "--start-timeout", "2")
    with relay(seaweedfs) as traffic:
        with mount_of(traffic.server, bucket, tmp_path / "one", *options) as mount:
            before = sorted(os.listdir(mount.path))
            assert read_file(mount / "file") == b"content"
        traffic.is_down = True
        with mount_of(traffic.server, bucket, tmp_path / "two", *options) as mount:
            mount.expect("not mounted yet", "the store cannot be reached, so what is known is")
            mount.allow("EIO", "ETIMEDOUT", "no response")

            assert sorted(os.listdir(mount.path)) == before
            assert read_file(mount / "file") == b"content"

            traffic.is_down = False
            wait_until(
                lambda: any("can be reached again" in each["message"] for each in mount.records())
            )
            assert names(mount, "small") == [f"{number:04}" for number in range(1500)]


@pytest.mark.parametrize("is_known", [True, False])
def test_a_mount_does_not_start_while_the_store_is_away_with_nothing_to_serve(
    seaweedfs: S3Server,
    bucket: str,
    tmp_path: Path,
    is_known: bool,  # noqa: FBT001
) -> None:
    stale = () if is_known else ("--serve-stale", "1h")
    options = (*cached(tmp_path), *stale, "--start-timeout", "2", "--timeout", "4")
    with relay(seaweedfs) as traffic:
        if is_known:
            with mount_of(traffic.server, bucket, tmp_path / "one", *options) as mount:
                os.listdir(mount.path)
        traffic.is_down = True
        two = tmp_path / "two"
        two.mkdir()
        ended = refused(bucket, two, *options, *to(traffic), env=seaweedfs.environment())

        assert ended.returncode == 1
        assert "tried for 2 s, see --start-timeout" in ended.stderr


def to(traffic: Traffic) -> tuple[str, str]:
    return "--endpoint-url", traffic.server.endpoint_url


def test_nothing_stale_is_served_by_default(
    seaweedfs: S3Server, bucket: str, tmp_path: Path
) -> None:
    options = (*cached(tmp_path), "--metadata-ttl", "0", "--timeout", "4")
    with (
        relay(seaweedfs) as traffic,
        mount_of(traffic.server, bucket, tmp_path / "mnt", *options) as mount,
    ):
        (mount / "file").stat()
        traffic.is_down = True
        mount.allow("EIO", "ETIMEDOUT", "no response")

        assert failure_of((mount / "file").stat) in ("EIO", "ETIMEDOUT")


def names(mount: Mount, directory: str) -> list[str]:
    return sorted(path.name for path in (mount / directory).iterdir())
