"""`warm` over the control socket of a real mount: what it requests, fetches, and leaves alone."""

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.mount.buckets import fill
from tests.mount.control_client import ControlClient, ask, control_client
from tests.mount.filesystem_access import read_file
from tests.mount.mount_process import Mount, environment, mount_of
from tests.mount.relay import Traffic, relay
from tests.servers import S3Server
from tests.terminal import terminal
from tests.waiting import wait_until

MIB = 1 << 20
BODIES = {
    **{
        f"w/{number:02}/{name}": f"{number}{name}".encode() * 999
        for number in range(8)
        for name in "ab"
    },
    "w/large": bytes(20 * MIB),
    "w/empty": b"",
    "one": b"1",
}
FILES = len(BODIES)
COMMAND = [sys.executable, "-c", "from s3mount.ctl.main import main; main()", "warm"]
FOREVER = ("--metadata-ttl", "indefinite")


@contextmanager
def mount_behind_relay(
    server: S3Server, bucket: str, at: Path, *options: str
) -> Iterator[tuple[Mount, Traffic]]:
    with (
        relay(server) as traffic,
        mount_of(traffic.server, bucket, at, *FOREVER, *options) as mount,
    ):
        traffic.take()
        yield mount, traffic


def warm(at: Path, *paths: str, **options: object) -> dict[str, Any]:
    """Return the last line of the reply to `warm`."""
    with control_client(at) as client:
        return finish(client, *paths, **options)


def finish(client: ControlClient, *paths: str, **options: object) -> dict[str, Any]:
    client.send("warm", paths=paths, **options)
    while "item" in (reply := client.receive()):
        pass
    return reply


def kinds(traffic: Traffic) -> Counter[str]:
    return Counter(request.kind for request in traffic.take())


def gets_of(traffic: Traffic, below: str) -> list[str]:
    """Return the paths of GETs since the last `take`."""
    with traffic._lock:
        requests = list(traffic._requests)
    return [each.path for each in requests if each.kind == "GET" and below in each.path]


def test_what_was_warmed_is_read_without_a_request(seaweedfs: S3Server, tmp_path: Path) -> None:
    bucket = fill(seaweedfs, BODIES)
    with mount_behind_relay(seaweedfs, bucket, tmp_path / "mnt") as (mount, traffic):
        result = warm(mount.path, "")["result"]

        sent = kinds(traffic)
        assert (result["directories"], result["files"]) == (10, FILES)
        assert result["bytes"] == result["fetched_bytes"] == sum(map(len, BODIES.values()))
        assert (result["fetched_files"], result["already"]) == (FILES - 1, 1)
        assert (result["failed"], result["did_not_fit_files"]) == ([], 0)
        assert result["requests"] == {kind: sent[kind] for kind in ("LIST", "GET", "HEAD")}
        assert sent["GET"] == FILES + 1  # a large one takes three
        assert {key: read_file(mount / key) for key in BODIES} == BODIES
        assert traffic.take() == []


def test_many_directories_are_listed_by_few_requests(seaweedfs: S3Server, tmp_path: Path) -> None:
    bucket = fill(
        seaweedfs, {f"w/{number:03}/{name}": b"" for number in range(60) for name in "ab"}
    )
    with mount_behind_relay(seaweedfs, bucket, tmp_path / "mnt") as (mount, traffic):
        result = warm(mount.path, "w")["result"]

        assert (result["directories"], result["files"]) == (61, 120)
        assert kinds(traffic)["LIST"] < 6


def test_a_second_run_requests_nothing(seaweedfs: S3Server, tmp_path: Path) -> None:
    bucket = fill(seaweedfs, BODIES)
    with mount_behind_relay(seaweedfs, bucket, tmp_path / "mnt") as (mount, traffic):
        warm(mount.path, "w", "one")
        traffic.take()

        result = warm(mount.path, "w", "one")["result"]

        assert traffic.take() == []
        assert (result["already"], result["fetched_files"]) == (FILES, 0)
        assert result["requests"] == {"LIST": 0, "GET": 0, "HEAD": 0}
        assert result["cost"]["total"] == 0


def test_a_dry_run_lists_and_tells_what_the_rest_takes(seaweedfs: S3Server, tmp_path: Path) -> None:
    bucket = fill(seaweedfs, BODIES)
    with mount_behind_relay(seaweedfs, bucket, tmp_path / "mnt") as (mount, traffic):
        dry = warm(mount.path, "w", dry_run=True)["result"]

        assert kinds(traffic)["GET"] == 0
        result = warm(mount.path, "w")["result"]
        sent = kinds(traffic)
        assert set(sent) == {"GET"}
        assert dry["requests"] == {"LIST": 0, "GET": sent["GET"], "HEAD": 0}
        assert {**dry, "requests": None} == {**result, "requests": None}


def test_what_fetching_costs_is_told_while_it_is_under_way(
    seaweedfs: S3Server, tmp_path: Path
) -> None:
    bucket = fill(seaweedfs, BODIES)
    with mount_behind_relay(seaweedfs, bucket, tmp_path / "mnt") as (mount, _):
        replies: list[dict[str, Any]] = []
        with control_client(mount.path) as client:
            client.send("warm", paths=["w"])
            while not replies or "item" in replies[-1]:
                replies.append(client.receive())

        first, *_, last_item, reply = replies
        assert first["item"]["cost"] is None
        assert last_item["item"]["cost"]["transfer"] == reply["result"]["cost"]["transfer"]


def test_listing_only_makes_stat_free_and_fetches_nothing(
    seaweedfs: S3Server, tmp_path: Path
) -> None:
    bucket = fill(seaweedfs, BODIES)
    with mount_behind_relay(seaweedfs, bucket, tmp_path / "mnt") as (mount, traffic):
        result = warm(mount.path, "", listing_only=True)["result"]

        assert (result["files"], result["fetched_files"]) == (FILES, 0)
        assert kinds(traffic)["GET"] == 0
        sizes = {key: (mount / key).stat().st_size for key in BODIES}
        assert sizes == {key: len(body) for key, body in BODIES.items()}
        assert traffic.take() == []


def test_more_than_fits_is_told_before_and_after_and_never_fetched(
    seaweedfs: S3Server, tmp_path: Path
) -> None:
    bodies = {f"{number:02}": bytes([number]) * MIB for number in range(40)}
    bucket = fill(seaweedfs, bodies)
    with mount_behind_relay(seaweedfs, bucket, tmp_path / "mnt", "--memory-limit", "16MiB") as (
        mount,
        traffic,
    ):
        dry = warm(mount.path, "", dry_run=True)["result"]
        result = warm(mount.path, "")["result"]
        first = kinds(traffic)["GET"]
        again = warm(mount.path, "")["result"]

        assert (result["fetched_files"], result["did_not_fit_files"]) == (12, 28)
        assert result["did_not_fit_bytes"] == 28 * MIB == dry["did_not_fit_bytes"]
        assert first == 12
        assert (again["already"], again["did_not_fit_files"]) == (12, 28)
        warmed = [f"{number:02}" for number in range(12)]
        assert all(read_file(mount / name) == bodies[name] for name in warmed)
        fetched = {each.path[-2:] for each in traffic.take() if each.kind == "GET"}
        assert not fetched & set(warmed)  # others may have been prefetched


def test_what_readers_have_left_makes_room(seaweedfs: S3Server, tmp_path: Path) -> None:
    bodies = {f"{number:02}": bytes([number]) * MIB for number in range(40)}
    bucket = fill(seaweedfs, bodies)
    with mount_behind_relay(seaweedfs, bucket, tmp_path / "mnt", "--memory-limit", "16MiB") as (
        mount,
        _,
    ):
        for number in range(20):
            read_file(mount / f"{number:02}")

        result = warm(mount.path, *(f"{number:02}" for number in range(25, 35)))["result"]

        assert result["did_not_fit_files"] == 0
        assert result["fetched_files"] + result["already"] == 10  # some may have been prefetched
        assert result["fetched_files"] > 0


def test_names_beyond_the_metadata_limit_are_told(seaweedfs: S3Server, tmp_path: Path) -> None:
    bodies = {
        f"{folder}/{'x' * 200}{number:03}": b"" for folder in "abcdef" for number in range(99)
    }
    bucket = fill(seaweedfs, bodies)
    with mount_behind_relay(
        seaweedfs, bucket, tmp_path / "mnt", "--metadata-limit", "64KiB", "--no-prefetch", "walks"
    ) as (mount, traffic):
        result = warm(mount.path, "", listing_only=True)["result"]

        assert result["did_not_fit_directories"] > 0
        assert kinds(traffic)["LIST"] == result["directories"]
        assert result["directories"] + result["did_not_fit_directories"] == 7


def test_readers_are_not_behind_it(seaweedfs: S3Server, tmp_path: Path) -> None:
    """Every reader's request reaches the store while no response comes to those of the warm-up."""
    bodies = {f"{folder}/{number:02}": bytes(MIB) for folder in "rw" for number in range(40)}
    bucket = fill(seaweedfs, bodies)
    with (
        mount_behind_relay(
            seaweedfs, bucket, tmp_path / "mnt", "--max-connections", "16", "--timeout", "6"
        ) as (mount, traffic),
        control_client(mount.path) as client,
    ):
        warm(mount.path, "", listing_only=True)
        traffic.take()
        traffic.is_silent = True
        client.send("warm", paths=["w"], jobs=64)
        wait_until(lambda: len(gets_of(traffic, "/w/")) == 8)
        readers = [
            threading.Thread(target=read_file, args=(mount / f"r/{number:02}",))
            for number in range(8)
        ]
        for reader in readers:
            reader.start()

        wait_until(lambda: len({*gets_of(traffic, "/r/")}) == 8)

        assert len(gets_of(traffic, "/w/")) == 8
        traffic.is_silent = False
        for reader in readers:
            reader.join()


def test_a_client_that_goes_ends_it_and_the_next_goes_on(
    seaweedfs: S3Server, tmp_path: Path
) -> None:
    bucket = fill(seaweedfs, BODIES)
    with mount_behind_relay(seaweedfs, bucket, tmp_path / "mnt") as (mount, traffic):
        warm(mount.path, "w/00")
        warm(mount.path, "", listing_only=True)
        traffic.take()
        traffic.is_silent = True
        with control_client(mount.path) as client:
            client.send("warm", paths=[""])
            wait_until(lambda: len(gets_of(traffic, "")) == 4)
            other = warm(mount.path, "one")["error"]
        wait_until(lambda: not ask(mount.path, "activity")["requests"])
        assert len(gets_of(traffic, "")) == 4
        traffic.is_silent = False

        result = warm(mount.path, "")["result"]

        assert "another warm is under way" in other["message"]
        assert (result["already"], result["failed_count"]) == (3, 0)
        assert result["fetched_files"] == FILES - 3


def test_a_store_that_is_away_is_told(seaweedfs: S3Server, tmp_path: Path) -> None:
    bucket = fill(seaweedfs, BODIES)
    with mount_behind_relay(seaweedfs, bucket, tmp_path / "mnt", "--timeout", "2") as (
        mount,
        traffic,
    ):
        traffic.is_silent = True
        assert warm(mount.path, "")["error"]["code"] == "failed"
        assert warm(mount.path, "w", "one")["error"]["code"] == "failed"
        traffic.is_silent = False
        warm(mount.path, "", listing_only=True)
        traffic.is_silent = True

        result = warm(mount.path, "")["result"]

        assert (result["fetched_files"], result["already"]) == (0, 1)
        assert result["failed_count"] == FILES - 1


def test_a_file_that_has_changed_is_fetched_and_one_that_has_gone_is_told(
    seaweedfs: S3Server, tmp_path: Path
) -> None:
    bucket = fill(seaweedfs, BODIES)
    with mount_behind_relay(seaweedfs, bucket, tmp_path / "mnt") as (mount, traffic):
        warm(mount.path, "", listing_only=True)
        fill(seaweedfs, {"w/00/a": b"new"}, bucket)
        seaweedfs.client().delete_object(Bucket=bucket, Key="w/01/b")

        result = warm(mount.path, "w", "one", "no/such")["result"]

        assert [each["path"] for each in result["failed"]] == ["no/such", "w/01/b"]
        assert result["failed_count"] == 2
        assert result["fetched_files"] == FILES - 2
        traffic.take()
        assert read_file(mount / "w/00/a") == b"new"
        assert kinds(traffic)["GET"] == 0


def test_paths_are_files_and_directories_of_any_name(seaweedfs: S3Server, tmp_path: Path) -> None:
    bucket = fill(seaweedfs, {"café/\N{SNOWMAN}": b"1", "b/c/d": b"22", "b/e": b"333"})
    with mount_behind_relay(seaweedfs, bucket, tmp_path / "mnt") as (mount, traffic):
        paths = ["café/\N{SNOWMAN}", "b/c/d", "b", "b/c", "caf\udce9"]

        result = warm(mount.path, *paths)["result"]

        assert (result["files"], result["fetched_files"]) == (3, 3)
        assert [each["path"] for each in result["failed"]] == ["caf\udce9"]
        assert warm(mount.path, "caf\udce9")["error"]["code"] == "no-such-path"
        assert warm(mount.path)["error"]["code"] == "bad-request"
        assert warm(mount.path, "", jobs=0)["error"]["code"] == "bad-request"
        assert kinds(traffic)["GET"] == 3


def test_ctrl_c_at_a_terminal_ends_it(seaweedfs: S3Server, tmp_path: Path) -> None:
    bucket = fill(seaweedfs, BODIES)
    with mount_behind_relay(seaweedfs, bucket, tmp_path / "mnt") as (mount, traffic):
        warm(mount.path, "", listing_only=True)
        traffic.is_silent = True
        with terminal([*COMMAND, str(mount.path)], environment(), 120, 30) as screen:
            screen.wait_for("fetching will cost", f"0/{FILES - 1} files")
            screen.press("\x03")

            assert screen.wait_end() == 130
        wait_until(lambda: not ask(mount.path, "activity")["requests"])
        traffic.is_silent = False
        with terminal([*COMMAND, str(mount.path)], environment(), 120, 30) as screen:
            assert screen.wait_end() == 0
            assert f"fetched: {FILES - 1} files" in screen.text


def test_the_command_line_tells_what_was_done(seaweedfs: S3Server, tmp_path: Path) -> None:
    bucket = fill(seaweedfs, BODIES)
    with mount_behind_relay(seaweedfs, bucket, tmp_path / "mnt") as (mount, _):
        names = [str(mount / "w")] * 2000  # more than one request can have

        done = subprocess.run(
            [*COMMAND, *names, str(mount / "one")],
            env=environment(),
            capture_output=True,
            text=True,
            check=True,
        )

        assert f"{FILES - 1} files" in done.stdout
