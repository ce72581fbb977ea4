"""The shipped system unit, under a real service manager and on a real store."""

import json
import re
import socket
from collections.abc import Iterator

import pytest

from tests.servers import S3Server
from tests.systemd.sandbox import Sandbox
from tests.systemd.service import BODY, KEY, Service

EXPOSURE_MAX = 3.6  # of systemd-analyze security: 0 is nothing, 10 everything


@pytest.fixture
def silent_endpoint() -> Iterator[str]:
    """Accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_a_start_returns_once_others_can_read(service: Service) -> None:
    service.start()

    assert BODY.decode().strip() == service.read()


def test_a_start_does_not_return_before_the_mount_answers(
    service: Service, bucket: str, silent_endpoint: str
) -> None:
    service.write_configuration(
        f'bucket = "{bucket}"\nmountpoint = "{service.mountpoint}"\n'
        f'endpoint-url = "{silent_endpoint}"\n'
    )

    service.systemctl("start", "--no-block", service.unit)
    service.sandbox.wait_until(lambda: service.pid != "0")

    assert (service.state, service.is_mounted) == ("activating", False)


def test_metrics_are_served_in_a_directory_of_the_unit(
    unconfigured: Service, server: S3Server, bucket: str
) -> None:
    path = "/run/s3mount-metrics/socket"
    unconfigured.configure(server, bucket, metrics=f"unix:{path}")
    unconfigured.override(RuntimeDirectory="s3mount-metrics")

    unconfigured.start()

    words = ("curl", "-sf", "--unix-socket", path, "http://localhost/metrics")
    assert "s3mount_build_info{" in unconfigured.sandbox.output(*words)
    assert unconfigured.sandbox.output("stat", "-c", "%U %a", path) == "s3mount 600"
    killed = unconfigured.pid
    unconfigured.kill("--signal=KILL")
    unconfigured.wait_restarted(killed)
    assert "s3mount_build_info{" in unconfigured.sandbox.output(*words)


def test_a_port_for_metrics_is_served_in_the_unit(
    unconfigured: Service, server: S3Server, bucket: str
) -> None:
    unconfigured.configure(server, bucket, metrics="0")

    unconfigured.start()

    unconfigured.sandbox.wait_until(lambda: "metrics are served" in "".join(unconfigured.journal))
    [url] = re.findall(r"metrics are served at (\S+)", "\n".join(unconfigured.journal))
    assert "s3mount_build_info{" in unconfigured.sandbox.output("curl", "-sf", url)


def test_its_status_names_source_and_mount_point(service: Service, bucket: str) -> None:
    service.start()

    assert f"serving s3://{bucket} at {service.mountpoint}" == service.show("StatusText")


def test_the_serving_process_has_no_capabilities_and_the_machines_mounts(service: Service) -> None:
    service.start()

    status = service.sandbox.output("cat", f"/proc/{service.pid}/status")
    capabilities = re.findall(r"^Cap(?:Inh|Prm|Eff|Amb):\t(\w+)$", status, re.MULTILINE)
    assert [int(each, 16) for each in capabilities] == [0, 0, 0, 0]
    assert service.sandbox.output("ps", "-o", "user=", "-p", service.pid) == "s3mount"
    assert _mount_namespace(service.sandbox, "1") == _mount_namespace(service.sandbox, service.pid)


def test_its_control_socket_is_in_a_directory_of_its_own_and_goes_with_it(
    service: Service, bucket: str
) -> None:
    service.start()

    (path,) = service.control_sockets
    folder = path.rpartition("/")[0]
    assert folder == f"/run/s3mount/s3mount@{service.name}"
    assert service.sandbox.output("stat", "-c", "%a %U", path, folder).split("\n") == [
        "600 s3mount",
        "700 s3mount",
    ]
    greeting = service.greeting
    assert (greeting["pid"], greeting["source"]) == (int(service.pid), f"s3://{bucket}")
    service.stop()
    assert service.control_sockets == []


@pytest.mark.parametrize("name", ["a-name-of-120-bytes-".ljust(120, "x")])
def test_a_long_name_of_an_instance_keeps_its_control_socket(service: Service) -> None:
    """The path of the socket is longer than the address of a Unix socket may be."""
    service.start()

    (path,) = service.control_sockets
    status = service.sandbox.output("s3mountctl", "status", service.mountpoint, "--json")
    assert len(path) > 107
    assert json.loads(status)["identity"]["pid"] == int(service.pid)


def test_no_process_of_the_same_user_reads_its_keys(service: Service) -> None:
    service.start()

    for pid in service.processes:
        read = service.sandbox.run(
            "runuser", "-u", "s3mount", "--", "head", "-c1", f"/proc/{pid}/environ", check=False
        )
        assert (read.stdout, "Permission denied" in read.stderr) == ("", True)


def test_a_group_of_its_own_is_kept(service: Service) -> None:
    """A drop-in of an administrator, whose group is not that of the passwd entry."""
    service.override(Group="users", SupplementaryGroups="s3mount")

    service.start()

    assert BODY.decode().strip() == service.read()
    status = service.sandbox.output("cat", f"/proc/{service.pid}/status")
    gid = service.sandbox.output("getent", "group", "users").split(":")[2]
    assert re.findall(r"^Gid:\t(.*)$", status, re.MULTILINE) == ["\t".join([gid] * 4)]


def test_a_user_of_its_own_cannot_even_be_signalled_by_another_instance(service: Service) -> None:
    """The drop-in of docs/decisions/systemd-users.md."""
    service.sandbox.run("useradd", "--system", "--home-dir", "/var/lib/s3mount-own", "s3mount-own")
    service.override(
        User="s3mount-own",
        Group="s3mount",
        StateDirectory="\nStateDirectory=s3mount-own",
        CacheDirectory="\nCacheDirectory=s3mount-own",
    )

    service.start()

    assert BODY.decode().strip() == service.read()
    assert service.sandbox.output("ps", "-o", "user:20=", "-p", service.pid) == "s3mount-own"
    assert service.greeting["pid"] == int(service.pid)
    for pid in service.processes:
        for sibling in ("s3mount", "nobody"):
            assert (
                service.sandbox.run(
                    "runuser", "-u", sibling, "--", "kill", "-0", pid, check=False
                ).returncode
                == 1
            )


def test_instances_share_a_cache_on_disk_that_is_theirs_alone(
    unconfigured: Service, server: S3Server, bucket: str, other: Service
) -> None:
    for each in (unconfigured, other):
        each.configure(server, bucket, cache_dir="/var/cache/s3mount")
        each.start()
    sandbox = unconfigured.sandbox

    assert BODY.decode().strip() == unconfigured.read()
    sandbox.wait_until(lambda: disk_status(unconfigured)["written"] > 0)
    assert BODY.decode().strip() == other.read()

    assert disk_status(other)["hits"] == 1
    assert sandbox.output("stat", "-c", "%U %a", "/var/cache/s3mount") == "s3mount 700"
    listed = sandbox.output("s3mountctl", "cache", "ls", "--dir", "/var/cache/s3mount")
    assert f"{bucket}/{KEY}" in listed


@pytest.fixture
def other(sandbox: Sandbox, name: str) -> Iterator[Service]:
    """A second instance of the unit."""
    service = Service(sandbox, f"{name}-2")
    yield service
    service.stop()


def disk_status(service: Service) -> dict[str, int]:
    status = service.sandbox.output("s3mountctl", "status", service.mountpoint, "--json")
    found: dict[str, int] = json.loads(status)["disk"]
    return found


def test_its_memory_and_its_threads_have_a_limit(service: Service) -> None:
    service.start()

    machine = (
        int(re.findall(r"MemTotal: +(\d+) kB", service.sandbox.output("cat", "/proc/meminfo"))[0])
        << 10
    )
    assert int(service.show("MemoryMax")) <= machine // 2
    assert service.show("TasksMax") == "1200"


def test_it_is_restarted_after_a_kill(service: Service) -> None:
    service.override(RestartSec="100ms")
    service.start()
    killed = service.pid

    service.kill("--kill-whom=main", "--signal=KILL")

    service.wait_restarted(killed)
    assert BODY.decode().strip() == service.read()


def test_it_is_restarted_when_its_helper_process_was_killed_as_well(service: Service) -> None:
    service.override(RestartSec="100ms")
    service.start()
    killed = service.pid

    service.kill("--kill-whom=all", "--signal=KILL")

    service.wait_restarted(killed)
    assert BODY.decode().strip() == service.read()
    assert service.greeting["pid"] == int(service.pid)


def test_it_is_restarted_when_it_hangs(service: Service) -> None:
    service.override(WatchdogSec="2s", RestartSec="100ms")
    service.start()
    hanging = service.pid

    service.kill("--kill-whom=main", "--signal=STOP")

    service.wait_restarted(hanging)
    assert BODY.decode().strip() == service.read()
    assert "Fatal Python error: Aborted" in service.journal


def test_a_reload_shows_what_is_new(service: Service, server: S3Server, bucket: str) -> None:
    service.configure(server, bucket, metadata_ttl="indefinite")
    service.start()
    assert [KEY.partition("/")[0]] == service.sandbox.output("ls", service.mountpoint).splitlines()
    server.client().put_object(Bucket=bucket, Key="new", Body=b"")
    assert "new" not in service.sandbox.output("ls", service.mountpoint).splitlines()

    service.systemctl("reload", service.unit)

    service.sandbox.wait_until(
        lambda: "new" in service.sandbox.output("ls", service.mountpoint).splitlines()
    )
    assert service.state == "active"


def test_a_stop_leaves_no_mount_and_is_a_success(service: Service) -> None:
    service.start()

    service.stop()

    assert not service.is_mounted
    assert (service.state, service.show("Result"), service.show("ExecMainStatus")) == (
        "inactive",
        "success",
        "0",
    )


def test_a_stop_does_not_wait_for_open_files(service: Service) -> None:
    service.start()
    reader = f"{service.name}-reader"
    service.sandbox.run("systemd-run", f"--unit={reader}", "tail", "-f", service.file)
    service.sandbox.wait_until(
        lambda: service.sandbox.run("fuser", "-sm", service.mountpoint, check=False).returncode == 0
    )

    service.stop()

    assert (service.is_mounted, service.show("Result")) == (False, "success")
    service.systemctl("stop", reader)


def test_an_unmount_by_the_administrator_ends_it_for_good(service: Service) -> None:
    service.start()

    service.sandbox.run("umount", service.mountpoint)

    service.sandbox.wait_until(lambda: service.state == "inactive")
    assert (service.show("Result"), service.show("NRestarts")) == ("success", "0")


def test_a_start_clears_a_dead_mount(service: Service) -> None:
    options = "fd=3,rootmode=40000,user_id=0,group_id=0,allow_other"
    service.sandbox.run(
        "sh", "-c", f"mount -i -t fuse -o {options} dead {service.mountpoint} 3<>/dev/fuse"
    )
    assert "not connected" in service.sandbox.run("ls", service.mountpoint, check=False).stderr

    service.start()

    assert BODY.decode().strip() == service.read()
    service.stop()
    assert not service.is_mounted


def test_a_start_leaves_a_live_mount_alone(service: Service) -> None:
    service.sandbox.run("mount", "-t", "tmpfs", "tmpfs", service.mountpoint)

    service.start()
    service.stop()

    assert service.sandbox.output("findmnt", "-no", "FSTYPE", service.mountpoint) == "tmpfs"
    service.sandbox.run("umount", service.mountpoint)


def test_a_second_instance_at_the_same_mount_point_is_refused_and_leaves_the_first_alone(
    service: Service,
) -> None:
    """A copied file with the same mountpoint: its failed start removed the first mount."""
    service.start()
    serving = service.pid
    twin = Service(service.sandbox, "twin")
    for kind in ("toml", "env"):
        copied = service.configuration.removesuffix("toml") + kind
        service.sandbox.run("cp", "-p", copied, twin.configuration.removesuffix("toml") + kind)

    started = twin.systemctl("start", twin.unit, check=False)
    twin.stop()

    assert started.returncode != 0
    assert f"s3mount: {service.mountpoint} is already mounted" in twin.journal[0]
    assert (service.pid, service.read()) == (serving, BODY.decode().strip())


def test_a_wrong_configuration_fails_with_one_line_and_is_not_retried(
    unconfigured: Service,
) -> None:
    unconfigured.write_configuration('bucket = "b"\nmountpoint = "/mnt"\nregoin = "us-east-1"\n')

    assert unconfigured.systemctl("start", unconfigured.unit, check=False).returncode != 0

    (line,) = unconfigured.journal
    assert re.fullmatch(
        rf"s3mount: /etc/s3mount/{unconfigured.name}\.toml: regoin: .*region.*", line
    )
    assert (
        unconfigured.state,
        unconfigured.show("ExecMainStatus"),
        unconfigured.show("NRestarts"),
    ) == ("failed", "2", "0")


def test_a_missing_bucket_fails_with_one_line_and_is_retried(
    service: Service, server: S3Server
) -> None:
    service.configure(server, "no-such-bucket")

    assert service.systemctl("start", service.unit, check=False).returncode != 0

    (line,) = service.journal
    assert "no-such-bucket" in line
    assert (service.state, service.show("SubState")) == ("activating", "auto-restart")


def test_no_credential_is_in_the_journal(service: Service, server: S3Server) -> None:
    service.start()
    service.stop()

    said = service.sandbox.output("journalctl", "-o", "export", "-u", service.unit)
    assert server.secret_key not in said


def test_it_starts_with_the_remote_file_systems_and_after_the_network(service: Service) -> None:
    service.systemctl("enable", service.unit)

    service.systemctl("start", "remote-fs.target")

    assert BODY.decode().strip() == service.read()
    assert "remote-fs.target" in service.show("Before").split()
    assert "network-online.target" in service.show("After").split()
    assert "network-online.target" in service.show("Wants").split()
    service.systemctl("disable", service.unit)


def test_systemd_finds_nothing_wrong_with_the_unit(service: Service) -> None:
    found = service.sandbox.run("systemd-analyze", "verify", service.unit)

    assert found.stdout + found.stderr == ""


def test_its_exposure_is_low(service: Service) -> None:
    report = service.sandbox.output("systemd-analyze", "security", "--no-pager", service.unit)

    found = re.search(r"Overall exposure level for .*: ([\d.]+)", report)
    assert found is not None
    assert float(found[1]) <= EXPOSURE_MAX


def _mount_namespace(sandbox: Sandbox, pid: str) -> str:
    return sandbox.output("readlink", f"/proc/{pid}/ns/mnt")
