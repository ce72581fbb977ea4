"""The disk cache as its user sees it: kept over mounts, looked after by s3mountctl, refused."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.mount.mount_process import Mount, mount_of, refused
from tests.mount.test_s3mountctl import answer, run
from tests.servers import S3Server
from tests.waiting import wait_until

KIB = 1 << 10
MIB = 1 << 20
BODIES = {
    "2024/large": bytes(range(256)) * (3 * MIB // 256),
    "2024/small": b"small" * 100,
    "other": b"other",
}


@pytest.fixture
def bucket(seaweedfs: S3Server) -> str:
    name = seaweedfs.make_bucket()
    for key, body in BODIES.items():
        seaweedfs.client().put_object(Bucket=name, Key=key, Body=body)
    return name


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The cache directory, which the first mount makes."""
    return tmp_path / "cache"


@contextmanager
def cached_mount(server: S3Server, bucket: str, folder: Path, name: str = "m") -> Iterator[Mount]:
    at = folder.with_name(name)
    with mount_of(server, bucket, at, "--cache-dir", str(folder)) as mount:
        yield mount
    at.rmdir()


def read_all(mount: Mount) -> dict[str, bytes]:
    return {key: (mount / key).read_bytes() for key in BODIES}


def status_of(mount: Mount) -> Any:
    return answer("status", mount.path)


def wait_kept(mount: Mount) -> None:
    """Wait until all that was read is on disk: a write delays no reader."""
    size = sum(map(len, BODIES.values()))
    wait_until(lambda: status_of(mount)["disk"]["written"] >= size)


def listed(*arguments: object) -> dict[str, Any]:
    """What `cache ls` prints, by key."""
    done = run("cache", "ls", "--json", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    items = [json.loads(line) for line in done.stdout.splitlines()]
    return {item["key"]: item for item in items}


def test_what_was_read_is_read_again_without_a_request_for_it(
    seaweedfs: S3Server, bucket: str, folder: Path
) -> None:
    """With `--cache-dir`, what was read is read again without a request for its bytes, also after
    an unmount, a restart or a crash, and by other mounts of the directory.
    """
    with cached_mount(seaweedfs, bucket, folder) as first:
        assert read_all(first) == BODIES
        wait_kept(first)
        with cached_mount(seaweedfs, bucket, folder, "second") as second:
            assert read_all(second) == BODIES
            assert status_of(second)["requests"]["GET"]["sent"] == 0
        first.is_left = True
        first.process.kill()
        first.process.wait()

    with cached_mount(seaweedfs, bucket, folder, "third") as third:
        assert read_all(third) == BODIES
        disk = status_of(third)["disk"]
        assert status_of(third)["requests"]["GET"]["sent"] == 0

    assert (disk["folder"], disk["limit"], disk["objects"]) == (str(folder), 10 << 30, 3)
    assert (disk["read"], disk["bad"]) == (sum(map(len, BODIES.values())), 0)


def test_a_mount_without_it_says_so(seaweedfs: S3Server, bucket: str, tmp_path: Path) -> None:
    with mount_of(seaweedfs, bucket, tmp_path / "m") as mount:
        done = run("cache", "ls", mount.path)

        assert status_of(mount)["disk"] is None

    assert done.returncode == 1
    assert "this mount has no disk cache: mount it with --cache-dir" in done.stderr


def test_ls_is_of_a_path_of_the_mount_or_of_the_directory(
    seaweedfs: S3Server, bucket: str, folder: Path
) -> None:
    with cached_mount(seaweedfs, f"{bucket}/2024", folder) as mount:
        assert (mount / "large").read_bytes() == BODIES["2024/large"]
        assert (mount / "small").read_bytes() == BODIES["2024/small"]
        wait_until(lambda: status_of(mount)["disk"]["written"] >= 3 * MIB + 500)

        assert [*listed(mount.path)] == [*listed("--dir", folder)] == ["2024/large", "2024/small"]
        assert [*listed(mount / "small")] == ["2024/small"]
        lines = run("cache", "ls", "--sort", "size", mount.path).stdout.splitlines()
        assert [line.split()[-1] for line in lines[1:]] == [
            f"{bucket}/2024/large",
            f"{bucket}/2024/small",
        ]

    assert [*listed("--dir", folder, bucket)] == ["2024/large", "2024/small"]


def test_damage_is_found_dropped_and_never_served(
    seaweedfs: S3Server, bucket: str, folder: Path
) -> None:
    """What is damaged on disk is never served: it is dropped, counted, and fetched again."""
    with cached_mount(seaweedfs, bucket, folder) as mount:
        read_all(mount)
        wait_kept(mount)
    file = max(folder.glob("1/**/*"), key=lambda path: path.stat().st_size)
    with file.open("r+b") as opened:
        opened.seek(MIB)
        opened.write(b"\xff" * 3)

    with cached_mount(seaweedfs, bucket, folder) as mount:
        mount.expect("damaged bytes of '2024/large'", "1 damaged extents, which are dropped")
        done = run("cache", "verify", mount.path)
        assert (done.returncode, done.stdout.split("; ")[1]) == (1, "1 extent damaged\n")
        assert run("cache", "verify", mount.path).returncode == 0
        assert status_of(mount)["disk"]["bad"] == 1

        assert read_all(mount) == BODIES


def test_clearing_beside_running_mounts_costs_requests_and_no_error(
    seaweedfs: S3Server, bucket: str, folder: Path
) -> None:
    """Clearing the cache of a running mount, or removing its directory, costs requests and no
    error.
    """
    with (
        cached_mount(seaweedfs, bucket, folder) as one,
        cached_mount(seaweedfs, bucket, folder, "other") as other,
    ):
        other.allow("disk cache")
        one.allow("disk cache")
        read_all(one)
        wait_kept(one)

        assert run("cache", "clear", one / "2024").returncode == 0
        assert [*listed("--dir", folder)] == ["other"]
        assert read_all(other) == BODIES
        assert run("cache", "clear", "--dir", folder).returncode == 0
        assert listed(one.path) == {}
        shutil.rmtree(folder)
        (one / "2024/large").open("rb").close()

        assert read_all(one) == read_all(other) == BODIES


def test_what_is_pinned_is_shown_until_it_is_unpinned(
    seaweedfs: S3Server, bucket: str, folder: Path
) -> None:
    with cached_mount(seaweedfs, bucket, folder) as mount:
        read_all(mount)
        wait_kept(mount)

        assert run("cache", "pin", mount / "2024").stdout == "2 objects pinned\n"
        assert [key for key, item in listed(mount.path).items() if item["pinned"]] == [
            "2024/large",
            "2024/small",
        ]
        assert status_of(mount)["disk"]["pinned"] >= 3 * MIB
        assert run("cache", "unpin", mount.path).returncode == 0
        assert not any(item["pinned"] for item in listed(mount.path).values())


def test_a_warm_up_fetches_what_the_disk_can_keep_beyond_the_memory(
    seaweedfs: S3Server, folder: Path
) -> None:
    """A warm-up of a mount with `--cache-dir` fetches what `--cache-size` can keep, whatever
    `--memory-limit` is.
    """
    bucket = seaweedfs.make_bucket()
    bodies = {str(number): bytes([number]) * MIB for number in range(20)}
    bodies["large"] = bytes(40 * MIB)
    for key, body in bodies.items():
        seaweedfs.client().put_object(Bucket=bucket, Key=key, Body=body)
    options = ("--cache-dir", str(folder), "--memory-limit", "16MiB")
    with mount_of(seaweedfs, bucket, folder.with_name("m"), *options) as mount:
        planned = run("warm", "--dry-run", mount.path).stdout
        warmed = run("warm", mount.path)
        kept = listed(mount.path)
        again = run("warm", mount.path)
        sent = status_of(mount)["requests"]["GET"]["sent"]
        for key, body in bodies.items():
            assert (mount / key).read_bytes() == body

        assert status_of(mount)["requests"]["GET"]["sent"] == sent
    assert "would fetch: 21 files, 60.0 MiB" in planned
    assert (warmed.returncode, warmed.stderr) == (0, "")
    assert "did not fit" not in warmed.stdout
    assert {key: item["present"] for key, item in kept.items()} == {
        key: len(body) for key, body in bodies.items()
    }
    assert "fetched: 0 files, 0 B; 21 were cached" in again.stdout


@pytest.fixture(params=["of-another-user", "open-to-others", "in-the-mount-point"])
def unfit(request: pytest.FixtureRequest, folder: Path) -> tuple[Path, str]:
    """A directory that is no place for a cache, and why."""
    mountpoint = folder.with_name("m")
    mountpoint.mkdir()
    if request.param == "in-the-mount-point":
        link = folder.with_name("link")
        link.symlink_to(mountpoint)
        return link / "cache", f"it is in the mount point {mountpoint}"
    folder.mkdir(mode=0o700)
    if request.param == "of-another-user":
        os.chown(folder, 65534, 65534)
        return folder, "it belongs to the user nobody"
    folder.chmod(0o777)
    return folder, f"other users have access to it (mode bits 002); first: chmod 700 {folder}"


def test_a_directory_that_is_not_private_is_refused_before_the_mount(
    seaweedfs: S3Server, bucket: str, tmp_path: Path, unfit: tuple[Path, str]
) -> None:
    """A cache directory of another user, or one that others can write to, is refused before the
    mount, and so is one in the mount point.
    """
    folder, reason = unfit
    options = ("--endpoint-url", seaweedfs.endpoint_url, "--cache-dir", str(folder))

    done = refused(bucket, tmp_path / "m", *options, env=seaweedfs.environment())

    assert (done.returncode in (1, 2), done.stderr.count("\n")) == (True, 1)
    assert reason in done.stderr
    assert not folder.exists() or [*folder.iterdir()] == []
    assert [*(tmp_path / "m").iterdir()] == []
