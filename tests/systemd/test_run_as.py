"""`--run-as`, on a mount point of the user who serves, with the whole program and an account."""

import json
from collections.abc import Iterator

import pytest

from tests.servers import S3Server
from tests.systemd.sandbox import Sandbox
from tests.systemd.service import BODY, KEY

HOME = "/home/carol"
PLACE = f"{HOME}/mount"
TARGET = "/opt/target"


@pytest.fixture
def carol(sandbox: Sandbox, server: S3Server) -> Iterator[str]:
    """A user whose keys come from a program that she may change, and a directory of root."""
    sandbox.run("useradd", "--create-home", "carol")
    sandbox.run("install", "-d", "-o", "carol", PLACE)
    sandbox.run("install", "-d", TARGET)
    keys = json.dumps(
        {"Version": 1, "AccessKeyId": server.access_key, "SecretAccessKey": server.secret_key}
    )
    program = f"[default]\ncredential_process = {HOME}/keys\nregion = {server.region}\n"
    sandbox.write(f"{HOME}/.aws/config", program, mode="644")
    sandbox.write(f"{HOME}/keys", f"#!/bin/sh\n. {HOME}/swap\necho '{keys}'\n", mode="755")
    sandbox.write(f"{HOME}/swap", "", mode="644")
    yield "carol"
    assert _mounts(sandbox) == []
    sandbox.wait_until(lambda: sandbox.run("pgrep", "-u", "carol", check=False).stdout == "")
    sandbox.run("userdel", "--remove", "carol")


def test_the_user_serves_with_the_users_own_keys(
    sandbox: Sandbox, server: S3Server, bucket: str, carol: str
) -> None:
    sandbox.run(*_command(server, bucket))

    assert (
        sandbox.output("runuser", "-u", carol, "--", "cat", f"{PLACE}/{KEY}")
        == BODY.decode().strip()
    )
    sockets = sandbox.output("find", "/run/s3mount/carol", "-type", "s", "-user", "carol")
    assert sockets.count("\n") == 0
    assert sockets.endswith(".socket")
    sandbox.run("umount", PLACE)


def test_the_socket_of_the_metrics_is_the_users(
    sandbox: Sandbox, server: S3Server, bucket: str, carol: str
) -> None:
    path = f"{HOME}/metrics"
    sandbox.run(*_command(server, bucket), "--metrics", f"unix:{path}")

    words = ("curl", "-sf", "--unix-socket", path, "http://localhost/metrics")
    assert "s3mount_build_info{" in sandbox.output("runuser", "-u", carol, "--", *words)
    assert sandbox.output("stat", "-c", "%U %a", path) == "carol 600"
    refused = sandbox.run("runuser", "-u", "nobody", "--", *words, check=False)
    assert refused.returncode != 0
    sandbox.run("umount", PLACE)


def test_root_makes_the_cache_directory_for_the_user(
    sandbox: Sandbox, server: S3Server, bucket: str, carol: str
) -> None:
    sandbox.run(*_command(server, bucket), "--cache-dir", "/var/cache/carols")

    assert sandbox.output("stat", "-c", "%U %a", "/var/cache/carols") == "carol 700"
    sandbox.output("runuser", "-u", carol, "--", "cat", f"{PLACE}/{KEY}")
    sandbox.run("umount", PLACE)
    sandbox.wait_until(lambda: sandbox.run("pgrep", "-u", carol, check=False).stdout == "")
    strangers = sandbox.output("find", "/var/cache/carols", "!", "-user", "carol")
    assert strangers == ""


def test_a_cache_directory_of_another_user_is_refused_and_stays_as_it_is(
    sandbox: Sandbox, server: S3Server, bucket: str, carol: str
) -> None:
    sandbox.run("install", "-d", "-m", "700", "/var/cache/roots")

    words = (*_command(server, bucket), "--cache-dir", "/var/cache/roots")
    failed = sandbox.run(*words, check=False)

    assert (failed.returncode, failed.stderr.count("\n")) == (1, 1)
    assert "it belongs to the user root, and the cache is of the user carol" in failed.stderr
    assert sandbox.output("stat", "-c", "%U %a", "/var/cache/roots") == "root 700"
    sandbox.wait_until(lambda: sandbox.run("pgrep", "-u", carol, check=False).stdout == "")


def test_root_makes_no_socket_for_the_user(
    sandbox: Sandbox, server: S3Server, bucket: str, carol: str
) -> None:
    words = (*_command(server, bucket), "--metrics", "unix:/run/metrics")
    failed = sandbox.run(*words, check=False)

    assert failed.returncode == 1
    assert failed.stderr == (
        "s3mount: --metrics unix:/run/metrics: the user who serves may not make a file there; "
        "name a directory that belongs to that user\n"
    )
    sandbox.wait_until(lambda: sandbox.run("pgrep", "-u", carol, check=False).stdout == "")


@pytest.mark.usefixtures("carol")
@pytest.mark.parametrize(
    "swap",
    [f"rmdir {PLACE}; ln -s {TARGET} {PLACE}", f"mv {PLACE} {PLACE}.old; ln -s {TARGET} {PLACE}"],
)
def test_programs_of_the_user_cannot_move_the_mount(
    sandbox: Sandbox, server: S3Server, bucket: str, swap: str
) -> None:
    sandbox.write(f"{HOME}/swap", swap, mode="644")

    failed = sandbox.run(*_command(server, bucket), check=False)

    assert sandbox.output("readlink", PLACE) == TARGET
    assert failed.returncode == 1
    assert failed.stderr.startswith(
        f"s3mount: the mount point {PLACE} was moved or replaced after it was checked"
    )
    assert failed.stderr.count("\n") == 1
    sandbox.wait_until(lambda: sandbox.run("pgrep", "-u", "carol", check=False).stdout == "")
    sandbox.wait_until(lambda: sandbox.run("pgrep", "s3mount-helper", check=False).stdout == "")


def _command(server: S3Server, bucket: str) -> tuple[str, ...]:
    endpoint = ("--endpoint-url", server.endpoint_url, "--path-style")
    return ("s3mount", bucket, PLACE, "--run-as", "carol", "--allow-other", *endpoint)


def _mounts(sandbox: Sandbox) -> list[str]:
    return sandbox.run(
        "findmnt", "-rno", "TARGET", "-t", "fuse.s3mount", check=False
    ).stdout.split()
