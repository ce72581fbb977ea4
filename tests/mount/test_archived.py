"""Archived objects on a real mount: shown, refused, restored by s3mountctl, and read at once."""

import json
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mount.cold_mount import (
    BODIES,
    COLD,
    COMMAND,
    KEYS,
    bucket_of,
    cold_mount,
    requests_for,
    run,
    warm,
)
from tests.mount.filesystem_access import failure_of, output_of, read_file
from tests.mount.mount_process import environment, mount_of
from tests.mount.relay import relay
from tests.servers import S3Server
from tests.terminal import WITHIN, terminal


class SlowRestores:
    """Restores of the server *moto*, which end when a test lets them."""

    def __init__(self, moto: S3Server) -> None:
        self._moto = moto

    def begin(self) -> None:
        """From now on, each look at a restore takes it one step on."""
        self._ask("set-transition", transition={"progression": "manual", "times": 1})

    def hold(self, bucket: str, key: str) -> None:
        """Take the restore of *key* to its first step, and no further."""
        restore = self._moto.client().head_object(Bucket=bucket, Key=key)["Restore"]
        assert restore == 'ongoing-request="true"'
        self._ask("set-transition", transition={"progression": "manual", "times": 1 << 30})

    def finish(self) -> None:
        self._ask("unset-transition")

    def _ask(self, command: str, **details: object) -> None:
        body = json.dumps({"model_name": "s3::keyrestore", **details}).encode()
        url = f"{self._moto.endpoint_url}/moto-api/state-manager/{command}"
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=WITHIN):
            pass


@pytest.fixture
def slow_restores(moto: S3Server) -> Iterator[SlowRestores]:
    slow = SlowRestores(moto)
    slow.begin()
    yield slow
    slow.finish()


def test_an_archived_file_is_shown_and_its_open_says_how_to_restore_it(
    moto: S3Server, tmp_path: Path
) -> None:
    with cold_mount(moto, tmp_path / "mnt") as (mount, traffic):
        mount.expect(r"open: EACCES: archived \(GLACIER\).*s3mountctl restore PATH.*key='d/04'")
        assert sorted(os.listdir(mount / "d")) == [key[2:] for key in KEYS]
        assert os.stat(mount / "d/04").st_size == len(BODIES["d/04"])
        traffic.take()

        assert failure_of(lambda: os.open(mount / "d/04", os.O_RDONLY)) == "EACCES"

        assert requests_for(traffic, "d/04") == {"GET": 1}


def test_an_archived_file_is_seen_by_every_look_also_without_caches(
    moto: S3Server, tmp_path: Path
) -> None:
    with cold_mount(moto, tmp_path / "mnt", "--metadata-ttl", "0") as (mount, traffic):
        for _ in range(3):
            assert os.stat(mount / "d/11").st_size == len(BODIES["d/11"])

        assert "GET" not in requests_for(traffic, "d/11")


def test_a_restored_file_is_read_at_once(moto: S3Server, tmp_path: Path) -> None:
    with cold_mount(moto, tmp_path / "mnt", "--metadata-ttl", "indefinite") as (mount, traffic):
        mount.expect("EACCES: archived")
        path = mount / "d/04"
        assert failure_of(lambda: read_file(path)) == "EACCES"
        before = run("restore", "--status", path)
        traffic.take()

        done = run("restore", "--yes", "--days", 3, path)

        assert (before.returncode, before.stdout) == (0, f"{path}: archived (GLACIER)\n")
        assert (done.returncode, done.stderr) == (0, "")
        requested = "restore requested, tier Standard, kept for 3 days (GLACIER)"
        assert done.stdout == f"{path}: {requested}\n"
        [posted] = [each for each in traffic.take() if each.method == "POST"]
        assert (posted.path[-5:], [*posted.query]) == ("/d/04", ["restore"])
        assert read_file(path) == BODIES["d/04"]
        assert requests_for(traffic, "d/04") == {"GET": 1}
        after = run("restore", "--status", path).stdout
        assert after.startswith(f"{path}: restored until 20")
        status = json.loads(run("status", "--json", mount.path).stdout)
        assert status["requests"]["RESTORE"]["sent"] == 1
        assert status["reasons"]["restore"] == 4


def test_all_but_the_archived_files_are_copied(moto: S3Server, tmp_path: Path) -> None:
    """No prefetch asks for an archived file: each is asked for once, by its own open."""
    with cold_mount(moto, tmp_path / "mnt") as (mount, traffic):
        mount.expect("EACCES: archived")
        copied = output_of("cp", "-r", mount / "d", tmp_path / "copy", status=1)

        found = {f"d/{path.name}": path.read_bytes() for path in (tmp_path / "copy").iterdir()}
        assert copied.count("Permission denied") == len(COLD)
        assert found == {key: body for key, body in BODIES.items() if key not in COLD}
        assert requests_for(traffic, *COLD) == {"GET": len(COLD)}


def test_a_deep_archive_has_no_expedited_restore(moto: S3Server, tmp_path: Path) -> None:
    with cold_mount(moto, tmp_path / "mnt", storage_class="DEEP_ARCHIVE") as (mount, traffic):
        done = run("restore", "-y", "--tier", "expedited", mount / "d/04")

        assert done.returncode == 1
        assert "failed: DEEP_ARCHIVE has no tier Expedited: use Standard or Bulk" in done.stdout
        assert "POST" not in {each.method for each in traffic.take()}


def test_nothing_is_restored_without_a_confirmation(moto: S3Server, tmp_path: Path) -> None:
    with cold_mount(moto, tmp_path / "mnt") as (mount, traffic):
        piped = run("restore", mount / "d/04", given="y\n")
        command = [*COMMAND, "restore", str(mount / "d/04"), str(mount / "d/05")]
        with terminal(command, environment(), 120, 20) as screen:
            screen.wait_for("archived (GLACIER)", "not archived (STANDARD)", "[y/N]")
            screen.press("n\n")
            assert screen.wait_end() == 1

        assert piped.returncode == 2
        assert "--yes" in piped.stderr
        assert "POST" not in {each.method for each in traffic.take()}

        with terminal(command, environment(), 120, 20) as screen:
            screen.wait_for("Restore 1 of them")
            screen.press("y\n")
            assert screen.wait_end() == 0
            assert "restore requested" in screen.text
        assert [each.method for each in traffic.take()].count("POST") == 1


def test_several_paths_are_restored_and_each_is_told(moto: S3Server, tmp_path: Path) -> None:
    with cold_mount(moto, tmp_path / "mnt") as (mount, traffic):
        paths = [mount / "d/04", mount / "d/05", mount / "d/none", mount / "d", mount / "d/11"]

        done = run("restore", "--yes", "--json", *paths)

        *items, result = map(json.loads, done.stdout.splitlines())
        assert done.returncode == 1
        assert [item["path"] for item in items] == ["d/04", "d/05", "d/none", "d", "d/11"]
        assert [item["outcome"] for item in items] == ["requested", None, None, None, "requested"]
        assert items[1]["state"] == "readable"
        assert "no such file" in items[2]["error"]
        assert "find DIR -type f" in items[3]["error"]
        assert (result["objects"], result["requested"], result["failed"]) == (5, 2, 2)
        assert [each.method for each in traffic.take()].count("POST") == 2


def test_an_object_that_is_not_archived_is_sent_no_restore(
    server: S3Server, tmp_path: Path
) -> None:
    bucket = server.make_bucket()
    server.client().put_object(Bucket=bucket, Key="a", Body=b"bytes")
    with relay(server) as traffic, mount_of(traffic.server, bucket, tmp_path / "mnt") as mount:
        done = run("restore", "--yes", mount / "a")

        assert (done.returncode, done.stdout) == (0, f"{mount / 'a'}: not archived (STANDARD)\n")
        assert {each.method for each in traffic.take()} <= {"GET", "HEAD"}


def test_a_restore_that_is_under_way_is_told(
    moto: S3Server, tmp_path: Path, slow_restores: SlowRestores
) -> None:
    with cold_mount(moto, tmp_path / "mnt") as (mount, traffic):
        mount.expect("EACCES: archived")
        path = mount / "d/12"
        assert run("restore", "--yes", path).returncode == 0
        slow_restores.hold(bucket_of(mount), "d/12")

        status = run("restore", "--status", path).stdout
        again = run("restore", "--yes", path)

        assert status == again.stdout == f"{path}: a restore is under way (GLACIER)\n"
        assert failure_of(lambda: read_file(path)) == "EACCES"
        assert [each.method for each in traffic.take()].count("POST") == 1
        slow_restores.finish()
        assert read_file(path) == BODIES["d/12"]


def test_a_warm_up_leaves_archived_files_out_and_says_so(moto: S3Server, tmp_path: Path) -> None:
    with cold_mount(moto, tmp_path / "mnt") as (mount, traffic):
        dry = warm(mount, dry_run=True)
        traffic.take()
        cold = warm(mount)
        asked = requests_for(traffic, *COLD)
        told = run("warm", mount.path).stdout
        assert run("restore", "--yes", *(mount / key for key in COLD)).returncode == 0
        traffic.take()
        restored = warm(mount)

        size = sum(len(BODIES[key]) for key in COLD)
        assert (dry["archived_files"], dry["requests"]["HEAD"]) == (len(COLD), len(COLD))
        assert (cold["archived_files"], cold["archived_bytes"]) == (len(COLD), size)
        assert (cold["fetched_files"], cold["failed_count"]) == (len(KEYS) - len(COLD), 0)
        assert asked == {"HEAD": len(COLD)}
        assert "archived: 5 files" in told
        assert "s3mountctl restore" in told
        assert (restored["archived_files"], restored["fetched_files"]) == (0, len(COLD))
        assert requests_for(traffic, *COLD) == {"HEAD": len(COLD), "GET": len(COLD)}
        assert [read_file(mount / key) for key in COLD] == [BODIES[key] for key in COLD]
        assert traffic.take() == []


@pytest.mark.parametrize("transport", ["native", "boto3"])
def test_both_transports_restore(moto: S3Server, tmp_path: Path, transport: str) -> None:
    with cold_mount(moto, tmp_path / "mnt", "--transport", transport) as (mount, _):
        assert run("restore", "--yes", "--tier", "Bulk", mount / "d/29").returncode == 0

        assert read_file(mount / "d/29") == BODIES["d/29"]
