"""Life of the process through the real kernel: exit status, output, leftovers and end.

The mount serves one file; the test process adopts background processes, to see their exit statuses.
"""

import contextlib
import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from s3mount.config import MountConfig
from s3mount.daemon.lifecycle import UNMOUNT_TIMEOUT
from s3mount.daemon.mounting.kernel_mounter import KernelMounter
from s3mount.daemon.mounting.mount_point import checked_mountpoint
from s3mount.daemon.mounting.options import MountRequest
from s3mount.daemon.syscalls import unmount
from tests.mount.mount_runner import (
    AS_NOBODY,
    NOBODY,
    ROOT,
    STAND_IN,
    WITHIN,
    MountRunner,
    adopted,
    helper_of,
    status_of,
    wait_exit,
)
from tests.waiting import wait_until

CAPABILITY_SETS: Final = ("CapInh", "CapPrm", "CapEff", "CapAmb", "CapBnd")

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


def test_the_command_returns_once_the_mount_responds(runner: MountRunner) -> None:
    done = runner.run()

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (runner.mountpoint / "hello").read_text() == "Hello, world\n"


def test_the_mount_table_names_the_bucket(runner: MountRunner) -> None:
    runner.mount("-o", "noexec", bucket="bucket/with, comma")

    found = subprocess.run(
        ["findmnt", "-no", "SOURCE,FSTYPE,OPTIONS", runner.mountpoint],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.startswith("bucket/with, comma fuse.s3mount ro,nosuid,nodev,noexec")


@pytest.mark.parametrize("program", [("fusermount3", "-u"), ("umount",)])
def test_an_unmount_from_outside_ends_the_process_with_0(
    runner: MountRunner, program: tuple[str, ...]
) -> None:
    pid = runner.mount()

    subprocess.run([*program, runner.mountpoint], check=True)

    assert wait_exit(pid) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("options", [(), ("--run-as", "nobody"), ("-o", "auto_unmount")])
def test_a_signal_unmounts_and_ends_the_process_with_0(
    runner: MountRunner, number: int, options: tuple[str, ...]
) -> None:
    pid = runner.mount(*options)

    os.kill(pid, number)

    assert wait_exit(pid) == 0
    assert not runner.is_mounted
    assert not adopted()


@pytest.mark.parametrize("options", [(), ("--run-as", "nobody", "--allow-other")])
def test_a_signal_ends_the_process_although_files_are_open(
    runner: MountRunner, options: tuple[str, ...]
) -> None:
    pid = runner.mount(*options)

    descriptor = os.open(runner.mountpoint / "hello", os.O_RDONLY)
    os.kill(pid, signal.SIGTERM)

    assert wait_exit(pid) == 0
    assert not runner.is_mounted
    with pytest.raises(OSError, match=r"not connected|aborted") as raised:
        os.fstatvfs(descriptor)
    with contextlib.suppress(OSError):
        os.close(descriptor)

    assert raised.value.errno in (errno.ENOTCONN, errno.ECONNABORTED)


def test_a_second_signal_does_not_wait_for_a_session_that_goes_on_elsewhere(
    runner: MountRunner,
) -> None:
    pid = runner.mount()
    namespace = subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", "echo; read line"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert namespace.stdout is not None
    namespace.stdout.readline()

    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not runner.is_mounted)
    before = time.monotonic()
    os.kill(pid, signal.SIGTERM)
    status = wait_exit(pid)

    namespace.communicate(b"\n")
    assert status == 0
    assert time.monotonic() - before < UNMOUNT_TIMEOUT - 1


def test_killed_with_its_helper_it_leaves_a_dead_mount_and_the_next_one_says_how_to_clear_it(
    runner: MountRunner,
) -> None:
    pid = runner.mount()
    for each in (helper_of(pid), pid):
        os.kill(each, signal.SIGKILL)
    wait_exit(pid)

    done = runner.run()

    assert done.returncode == 1
    assert done.stderr == (
        f"s3mount: {runner.mountpoint} is a dead mount (Transport endpoint is not connected); "
        f"clear it first: fusermount3 -u {runner.mountpoint} "
        f"(or, as root: umount -l {runner.mountpoint})\n"
    )


@pytest.mark.parametrize("options", [(), ("--run-as", "nobody"), ("-o", "auto_unmount")])
def test_a_killed_process_leaves_nothing(runner: MountRunner, options: tuple[str, ...]) -> None:
    pid = runner.mount(*options)

    os.kill(pid, signal.SIGKILL)

    wait_exit(pid)
    wait_until(lambda: not runner.is_mounted)
    (helper,) = adopted()
    assert wait_exit(helper) == 0


def test_a_second_mount_at_the_same_place_is_refused(runner: MountRunner) -> None:
    runner.mount()

    done = runner.run()

    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "is already mounted" in done.stderr


@pytest.mark.parametrize("options", [(), ("--foreground",), ("--run-as", "nobody")])
def test_a_refusal_is_one_line_and_nothing_is_mounted(
    runner: MountRunner, options: tuple[str, ...]
) -> None:
    done = runner.run(*options, bucket="refused")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "s3mount: there is no bucket 'refused'; check its name\n"
    assert not runner.is_mounted
    assert not adopted()


def test_a_bug_is_one_line_and_the_log_has_its_traceback(
    runner: MountRunner, tmp_path: Path
) -> None:
    log = tmp_path / "log"

    done = runner.run("--log-file", log, bucket="breaks")

    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "ZeroDivisionError" in done.stderr
    assert "Traceback" in log.read_text()


def is_library_private(library: Path) -> bool:
    """Return whether only root may read Python's *library*, as in root's home."""
    nobody = (
        "setpriv",
        f"--reuid={NOBODY}",
        f"--regid={NOBODY}",
        "--clear-groups",
        "--bounding-set=-all",
        "--inh-caps=-all",
    )
    return subprocess.run([*nobody, "test", "-r", library], check=False).returncode != 0


def test_a_late_failure_names_the_library_if_the_user_may_not_read_it(runner: MountRunner) -> None:
    library = Path(os.__file__).resolve().parent

    done = runner.run("--run-as", "nobody", bucket="breaks")

    assert done.returncode == 1
    assert done.stderr.startswith("s3mount: internal error: ZeroDivisionError('a bug')")
    hints = ("the user who serves may not read", str(library))
    assert [hint in done.stderr for hint in hints] == [is_library_private(library)] * 2


def test_a_caller_who_closed_its_streams_gets_a_mount_and_its_status(runner: MountRunner) -> None:
    runner.mount(prefix=("sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"))

    assert (runner.mountpoint / "hello").read_text() == "Hello, world\n"


@pytest.mark.parametrize("options", [(), ("--run-as", "nobody")])
def test_the_log_file_is_for_its_owner_and_group_under_any_umask(
    runner: MountRunner, directory: Path, options: tuple[str, ...]
) -> None:
    log = directory / "log"
    directory.chmod(0o1777)

    before = os.umask(0)
    try:
        pid = runner.mount("--log-file", log, *options)
    finally:
        os.umask(before)

    assert (log.stat().st_mode & 0o7777, log.stat().st_uid) == (
        0o640,
        Path(f"/proc/{pid}").stat().st_uid,
    )
    assert status_of(pid)["Umask"] == "0077"


@pytest.mark.parametrize("place", ["link", "theirs", "way/log"])
def test_a_log_file_that_another_user_put_there_is_refused_and_nothing_is_mounted(
    runner: MountRunner, directory: Path, tmp_path: Path, place: str
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine\n")
    directory.chmod(0o1777)
    (directory / "link").symlink_to(victim)
    (directory / "way").symlink_to(tmp_path)
    (directory / "theirs").write_text("theirs\n")
    for name in ("link", "theirs", "way"):
        os.chown(directory / name, NOBODY, NOBODY, follow_symlinks=False)

    done = runner.run("--log-file", directory / place)

    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith(
        f"s3mount: --log-file {directory / place}: it cannot be written: "
    )
    assert not runner.is_mounted
    assert (victim.read_text(), (directory / "theirs").read_text()) == ("mine\n", "theirs\n")
    assert [path.name for path in tmp_path.iterdir()] == ["victim"]


def test_ctrl_c_before_the_mount_answers_ends_both_processes(runner: MountRunner) -> None:
    command = runner.start(bucket="waits")
    children = Path(f"/proc/{command.pid}/task/{command.pid}/children")
    # the process has left the terminal, and is not a program that an import runs
    wait_until(
        lambda: any(os.getsid(int(child)) == int(child) for child in children.read_text().split())
    )
    child = children.read_text()

    command.send_signal(signal.SIGKILL)
    command.communicate()

    assert wait_exit(int(child)) == 0
    assert not runner.is_mounted


def test_the_background_keeps_no_descriptor_of_the_caller(runner: MountRunner) -> None:
    ours, theirs = os.pipe()

    pid = runner.mount(pass_fds=(theirs,))
    os.close(theirs)

    assert os.read(ours, 1) == b""
    os.close(ours)
    assert Path(f"/proc/{pid}/cwd").readlink() == Path("/")
    assert os.getsid(pid) == pid
    assert {Path(f"/proc/{pid}/fd/{number}").readlink() for number in range(3)} == {
        Path("/dev/null")
    }


def test_run_as_leaves_the_serving_process_nothing(runner: MountRunner) -> None:
    pid = runner.mount("--run-as", "nobody")

    status = status_of(pid)

    assert (status["Uid"].split(), status["Gid"].split()) == ([str(NOBODY)] * 4, [str(NOBODY)] * 4)
    assert {status[name] for name in CAPABILITY_SETS} == {"0" * 16}
    assert (status["NoNewPrivs"], status["Groups"]) == ("1", str(NOBODY))


def test_root_itself_serves_without_any_capability(runner: MountRunner) -> None:
    pid = runner.mount()

    status = status_of(pid)

    assert (status["Uid"].split(), status["Gid"].split()) == (["0"] * 4, ["0"] * 4)
    assert {status[name] for name in CAPABILITY_SETS} == {"0" * 16}
    assert status["NoNewPrivs"] == "1"
    assert {
        int(status_of(helper_of(pid))[name], 16) for name in ("CapPrm", "CapEff", "CapBnd")
    } == {1 << 21 | 1 << 2}


@pytest.mark.usefixtures("open_device")
@pytest.mark.parametrize(
    ("uid", "gid", "groups"),
    [(54321, 54321, "54321"), (NOBODY, 1, "2,3")],
    ids=["no passwd entry", "another group"],
)
def test_a_user_who_may_mount_serves_as_itself_without_other_privileges(
    runner: MountRunner, uid: int, gid: int, groups: str
) -> None:
    """Like a unit's User=, Group=, SupplementaryGroups=, AmbientCapabilities=CAP_SYS_ADMIN."""
    kept = "+sys_admin,+dac_read_search"  # the second one is for an interpreter in root's home
    ids = ("setpriv", f"--reuid={uid}", f"--regid={gid}", f"--groups={groups}")

    pid = runner.mount(
        prefix=(
            *ids,
            f"--inh-caps=-all,{kept}",
            f"--ambient-caps=-all,{kept}",
            "--bounding-set=+all",
        )
    )

    status = status_of(pid)
    assert (status["Uid"].split(), status["Gid"].split()) == ([str(uid)] * 4, [str(gid)] * 4)
    assert status["Groups"].split() == groups.split(",")
    assert {status[name] for name in CAPABILITY_SETS[:-1]} == {"0" * 16}
    assert status["NoNewPrivs"] == "1"


@pytest.mark.usefixtures("open_device")
@pytest.mark.parametrize(
    ("options", "prefix", "uid"),
    [((), (), 0), (("--run-as", "nobody"), (), NOBODY), ((), AS_NOBODY, NOBODY)],
    ids=["root", "run-as", "user"],
)
def test_no_process_of_the_same_user_reads_its_memory_or_its_environment(
    runner: MountRunner, options: tuple[str, ...], prefix: tuple[str, ...], uid: int
) -> None:
    runner.mountpoint.chmod(0o777)
    server = runner.mount(*options, prefix=prefix)
    # root's own helper process has more capabilities, which alone would protect it
    processes = [server] if prefix else [server, helper_of(server)]
    sibling = (
        "setpriv",
        f"--reuid={uid}",
        "--bounding-set=-all",
        "--inh-caps=-all",
        "--no-new-privs",
    )

    for pid in processes:
        for name in ("environ", "mem", "maps"):
            read = subprocess.run(
                [*sibling, "head", "-c1", f"/proc/{pid}/{name}"], capture_output=True, check=False
            )
            assert (read.returncode, read.stdout) == (1, b"")
            assert b"Permission denied" in read.stderr


GIVING_UP = """
import os, sys
from s3mount.daemon import privileges, syscalls
setattr(sys.modules[sys.argv[1]], sys.argv[2], lambda *_: None)
try:
    if sys.argv[3] == "become":
        privileges.become(privileges.account("nobody"))
    else:
        privileges.give_up()
except Exception as exc:
    print(exc)
"""


@pytest.mark.parametrize(
    ("module", "function", "left"),
    [
        ("s3mount.daemon.syscalls", "forbid_new_privileges", "no_new_privs"),
        ("s3mount.daemon.syscalls", "bound_capabilities", "CapBnd"),
        ("s3mount.daemon.syscalls", "forbid_dumps", "dumpable"),
        ("s3mount.daemon.syscalls", "retain_capabilities", "CapEff, CapPrm"),
        ("os", "setgroups", "groups"),
        ("os", "setresgid", "group ids"),
        ("os", "setresuid", "user ids"),
    ],
)
def test_dropped_privileges_are_read_back_from_the_kernel(
    module: str, function: str, left: str
) -> None:
    """Each privilege step in turn has no effect."""
    is_by_root = function in (
        "retain_capabilities",
        "forbid_dumps",
    )  # a change of user alone does these too
    words = [
        sys.executable,
        "-c",
        GIVING_UP,
        module,
        function,
        "give up" if is_by_root else "become",
    ]

    done = subprocess.run(
        words,
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        timeout=WITHIN,
    )

    assert done.stdout == f"privileges are left after giving them up: {left}\n"


def test_the_helper_process_keeps_only_what_mounting_needs_and_no_descriptor_of_the_mount(
    runner: MountRunner,
) -> None:
    helper = helper_of(runner.mount("--run-as", "nobody"))

    status = status_of(helper)

    assert status["Name"] == "s3mount-helper"
    assert {int(status[name], 16) for name in ("CapPrm", "CapEff", "CapBnd")} == {1 << 21 | 1 << 2}
    assert Path("/dev/fuse") not in {fd.readlink() for fd in Path(f"/proc/{helper}/fd").iterdir()}


def test_run_as_shows_the_files_to_that_user_only_unless_others_are_allowed(
    runner: MountRunner,
) -> None:
    runner.mount("--run-as", "nobody")

    read = subprocess.run(
        ["cat", runner.mountpoint / "hello"],
        user=NOBODY,
        group=NOBODY,
        capture_output=True,
        check=False,
    )

    assert read.stdout == b"Hello, world\n"
    with pytest.raises(PermissionError):
        list(runner.mountpoint.iterdir())


@pytest.mark.usefixtures("open_device")
def test_a_user_mounts_with_fusermount3(runner: MountRunner) -> None:
    runner.mountpoint.chmod(0o777)
    pid = runner.mount(prefix=AS_NOBODY)

    read = subprocess.run(
        ["cat", runner.mountpoint / "hello"],
        user=NOBODY,
        group=NOBODY,
        capture_output=True,
        check=False,
    )
    os.kill(pid, signal.SIGTERM)

    assert read.stdout == b"Hello, world\n"
    assert wait_exit(pid) == 0
    assert not runner.is_mounted


@pytest.mark.usefixtures("open_device")
def test_fusermount3_is_run_with_no_signal_blocked(runner: MountRunner, directory: Path) -> None:
    runner.mountpoint.chmod(0o777)
    program = directory / "bin/fusermount3"
    program.parent.mkdir()
    # by the shell itself, which blocks signals while it starts another program
    loop = "while read -r line; do case $line in SigBlk*) echo $line ;; esac; done"
    lines = f"{loop} </proc/$$/status >>{directory}/signals"
    program.write_text(f'#!/bin/sh\n{lines}\nexec /usr/bin/fusermount3 "$@"\n')
    program.chmod(0o755)
    runner.environment |= {"PATH": f"{program.parent}:{os.environ['PATH']}"}

    pid = runner.mount(prefix=AS_NOBODY)
    os.kill(pid, signal.SIGTERM)
    status = wait_exit(pid)

    assert status == 0
    assert (directory / "signals").read_text().splitlines() == 2 * ["SigBlk: " + "0" * 16]


def test_a_user_may_not_allow_others_if_the_machine_does_not_permit_it(runner: MountRunner) -> None:
    done = runner.run("--allow-other", prefix=AS_NOBODY)

    assert done.returncode == 1
    assert (
        "--allow-other is not permitted to users here; as root, add the line user_allow_other"
        in done.stderr
    )


@pytest.mark.usefixtures("open_device")
def test_a_mount_point_without_write_permission_is_an_error(runner: MountRunner) -> None:
    runner.mountpoint.chmod(0o755)

    done = runner.run(prefix=AS_NOBODY)

    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "you may not write there" in done.stderr


def test_run_as_needs_root(runner: MountRunner) -> None:
    done = runner.run("--run-as", "daemon", prefix=AS_NOBODY)

    assert done.returncode == 1
    assert done.stderr.startswith("s3mount: --run-as needs root")


def test_allow_root_allows_root_and_no_other_user(runner: MountRunner) -> None:
    runner.mount("--run-as", "nobody", "--allow-root")

    other = subprocess.run(["ls", runner.mountpoint], user=1, capture_output=True, check=False)

    assert list(runner.mountpoint.iterdir()) == [runner.mountpoint / "hello"]
    assert other.returncode != 0


def test_a_descriptor_mounted_by_a_parent_is_served(runner: MountRunner) -> None:
    place = checked_mountpoint(MountConfig(mountpoint=str(runner.mountpoint)))
    mounter = KernelMounter(MountRequest(str(runner.mountpoint), "source"), place, 0, 0)
    mounted = mounter.mount()
    descriptor = mounted.fuse_fd

    command = [*STAND_IN, "bucket", f"/dev/fd/{descriptor}"]
    done = subprocess.run(
        command, pass_fds=(descriptor,), env=runner.environment, check=False, timeout=WITHIN
    )
    for each in (descriptor, place.descriptor, mounted.root_fd, mounted.read_ahead_fd):
        if each is not None:
            os.close(each)

    assert done.returncode == 0
    assert (runner.mountpoint / "hello").read_text() == "Hello, world\n"
    mounter.detach()


def test_sigusr1_logs_statistics_and_sighup_resets_them(
    runner: MountRunner, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    pid = runner.mount("--log-file", log, "--log-format", "json")
    (runner.mountpoint / "hello").read_bytes()

    def records() -> list[dict[str, object]]:
        return [json.loads(line) for line in log.read_text().splitlines()]

    def has_logged(count: int) -> bool:
        return len(records()) == count

    for count, number in enumerate((signal.SIGUSR1, signal.SIGHUP, signal.SIGUSR1), start=2):
        os.kill(pid, number)
        wait_until(partial(has_logged, count))

    resident = r", process_resident_bytes=[\d.e+]+"
    assert [re.sub(resident, "", str(record["message"])) for record in records()] == [
        f"mounted s3://bucket at {runner.mountpoint}",
        "statistics: reads=1, log_warnings=0, log_suppressed=0",
        "invalidated the cached metadata of s3://bucket",
        "statistics: reads=0, log_warnings=0, log_suppressed=0",
    ]
    statistics = records()[1]["statistics"]
    assert isinstance(statistics, dict)
    assert statistics.pop("process_resident_bytes") > 0
    assert statistics == {"reads": 1, "log_warnings": 0, "log_suppressed": 0}


def test_a_newline_in_the_mount_point_adds_no_message_to_the_service_manager(
    runner: MountRunner, directory: Path
) -> None:
    runner.mountpoint = directory / "mount" / "x\nMAINPID=1"
    runner.mountpoint.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(directory / "notify"))
        manager.settimeout(WITHIN)
        runner.environment |= {"NOTIFY_SOCKET": str(directory / "notify")}
        runner.mount()

        starting, message = (manager.recv(4096).decode() for _ in range(2))

    assert starting.startswith("EXTEND_TIMEOUT_USEC=")
    assert message.splitlines() == [
        "READY=1",
        f"STATUS=serving s3://bucket at {directory}/mount/x\\nMAINPID=1",
    ]
    unmount(str(runner.mountpoint))


@pytest.mark.parametrize("is_abstract", [False, True])
def test_the_service_manager_is_notified_of_every_state(
    runner: MountRunner, tmp_path: Path, *, is_abstract: bool
) -> None:
    name = f"@s3mount-test-{os.getpid()}" if is_abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name.replace("@", "\0"))
        manager.settimeout(WITHIN)
        runner.environment |= {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "200000"}
        command = runner.start("--foreground")

        status = f"STATUS=serving s3://bucket at {runner.mountpoint}"
        heard = [manager.recv(1024).decode() for _ in range(4)]
        command.send_signal(signal.SIGHUP)
        while not (reloading := manager.recv(1024).decode()).startswith("RELOADING"):
            pass
        ready = manager.recv(1024).decode()
        command.send_signal(signal.SIGTERM)
        while not (stopping := manager.recv(1024).decode()).startswith("STOPPING"):
            pass

        assert command.wait(WITHIN) == 0
        command.communicate()
    starting = "EXTEND_TIMEOUT_USEC=165000000\nSTATUS=waiting for s3://bucket"
    assert heard == [starting, f"READY=1\n{status}", "WATCHDOG=1", "WATCHDOG=1"]
    assert reloading.startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert ready == f"READY=1\n{status}"
    assert stopping == "STOPPING=1\nSTATUS=unmounting"


def test_in_the_foreground_the_log_goes_to_stderr(runner: MountRunner) -> None:
    command = runner.start("--foreground")
    wait_until(lambda: runner.is_mounted)
    (runner.mountpoint / "hello").read_bytes()

    command.send_signal(signal.SIGINT)
    _, log = command.communicate(timeout=WITHIN)

    assert command.returncode == 0
    messages = [line.partition("lifecycle: ")[2] for line in log.splitlines()]
    assert messages[0] == f"mounted s3://bucket at {runner.mountpoint}"
    assert messages[-1] == f"unmounted s3://bucket from {runner.mountpoint}"


@pytest.mark.parametrize(
    "options", ["max_read=131072", "fsname=photos,subtype=s3", "dev,suid,rw,_netdev,x-gvfs-hide"]
)
def test_mount_options_reach_the_kernel(runner: MountRunner, options: str) -> None:
    runner.mount("-o", options)

    assert (runner.mountpoint / "hello").read_text() == "Hello, world\n"


def test_a_prefix_may_be_longer_than_a_mount_source_of_the_kernel(runner: MountRunner) -> None:
    runner.mount(bucket=f"bucket/{'p' * 1000}")

    assert (runner.mountpoint / "hello").read_text() == "Hello, world\n"


def test_a_killed_helper_process_is_reported_when_the_mount_stays(
    runner: MountRunner, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    pid = runner.mount("--log-file", log)
    os.kill(helper_of(pid), signal.SIGKILL)

    os.kill(pid, signal.SIGTERM)

    assert wait_exit(pid) == 0
    assert runner.is_mounted
    assert (
        f"the mount could not be detached; if it stays: s3mount-clear {runner.mountpoint}"
        in log.read_text()
    )


def test_a_descriptor_that_is_no_mount_is_refused_in_one_line(runner: MountRunner) -> None:
    ours, theirs = os.pipe()

    command = [*STAND_IN, "bucket", f"/dev/fd/{theirs}"]
    done = subprocess.run(
        command,
        pass_fds=(theirs,),
        env=runner.environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=WITHIN,
    )
    os.close(ours)
    os.close(theirs)

    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert f"/dev/fd/{theirs} is not a descriptor of /dev/fuse" in done.stderr
