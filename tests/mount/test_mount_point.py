"""Mount points that users may rename: no mount and no unmount ever happens elsewhere.

The action of the `--run-as` user runs at the worst moment, by the bucket `swaps` of the one-file
mount, so that each race happens in each run.
"""

import errno
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from s3mount.config import MountConfig
from s3mount.daemon import syscalls
from s3mount.daemon.mounting import unmounting
from s3mount.daemon.mounting.helper_process import HelperMounter
from s3mount.daemon.mounting.kernel_mounter import KernelMounter
from s3mount.daemon.mounting.mount_point import checked_mountpoint
from s3mount.daemon.mounting.mount_table import MountEntry, current_mounts, mount_at
from s3mount.daemon.mounting.mounter import AttachedMount
from s3mount.daemon.mounting.options import MountRequest
from s3mount.daemon.mounting.stale_mounts import clear
from s3mount.errors import SetupError
from tests.mount.mount_runner import (
    AS_NOBODY,
    NOBODY,
    MountRunner,
    adopted,
    adopting,
    helper_of,
    wait_exit,
)
from tests.waiting import wait_until

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

MOVED = (
    "was moved or replaced after it was checked, so nothing is mounted; "
    "mount where no other user may rename a directory"
)
RUN_AS_NOBODY = ("--run-as", "nobody", "--allow-other")


@pytest.fixture
def home(directory: Path) -> Path:
    """Home directory of a user, with the mount point `way/mount`."""
    place = directory / "home/way/mount"
    place.mkdir(parents=True)
    for path in (place, place.parent, directory / "home"):
        os.chown(path, NOBODY, NOBODY)
    return directory / "home"


@pytest.fixture
def at_home(home: Path) -> Iterator[MountRunner]:
    with adopting(home / "way/mount") as runner:
        yield runner
        for entry in mounts_below(home.parent):
            subprocess.run(["umount", "--lazy", entry.path], check=True)


@pytest.fixture
def target(directory: Path) -> Path:
    """Directory that only root may mount over."""
    (directory / "target/mount").mkdir(parents=True)
    (directory / "target/mount/treasure").touch()
    return directory / "target"


def mounts_below(path: Path) -> list[MountEntry]:
    return [entry for entry in current_mounts() if entry.path.startswith(f"{path}/")]


SWAPS = {
    "the mount point is a link": "rmdir way/mount; ln -s ../../target/mount way/mount",
    "the mount point was renamed, and is a link": (
        "mv way/mount old; ln -s ../../target/mount way/mount"
    ),
    "the mount point was renamed": "mv way/mount way/other; mkdir way/mount",
    "the mount point is gone": "rmdir way/mount",
    "the directory above is a link": "mv way old; ln -s ../target way",
    "the directory above was renamed": "mv way old; mkdir -p way/mount",
    "the directory above is gone": "rmdir way/mount; rmdir way; ln -s ../target way",
}


@pytest.mark.parametrize("swap", SWAPS.values(), ids=SWAPS)
@pytest.mark.parametrize("options", [(), ("--foreground",)])
def test_a_mount_point_replaced_after_its_check_is_refused(
    at_home: MountRunner, home: Path, target: Path, swap: str, options: tuple[str, ...]
) -> None:
    at_home.environment |= {"SWAP": f"cd {home}; {swap}"}

    done = at_home.run(*RUN_AS_NOBODY, *options, bucket="swaps")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"s3mount: the mount point {at_home.mountpoint} {MOVED}\n"
    assert mounts_below(home.parent) == []
    assert [path.name for path in (target / "mount").iterdir()] == ["treasure"]
    wait_until(lambda: not adopted())


@pytest.mark.usefixtures("open_device")
@pytest.mark.parametrize("options", [(), ("-o", "auto_unmount")], ids=["plain", "auto_unmount"])
@pytest.mark.parametrize(
    "swap",
    ["mv way/mount old && ln -s ../other/mount way/mount", "mv way old && ln -s other way"],
    ids=["point", "way"],
)
def test_a_mount_that_fusermount3_made_elsewhere_is_undone(
    at_home: MountRunner, home: Path, swap: str, options: tuple[str, ...], runner: MountRunner
) -> None:
    """The swap delays fusermount3 itself; another mount of the same user is left alone."""
    runner.mountpoint.chmod(0o777)
    runner.mount(prefix=AS_NOBODY)
    program = home.parent / "bin/fusermount3"
    program.parent.mkdir()
    swap = f"(cd {home} && mkdir -p other/mount && {swap})"
    program.write_text(
        f'#!/bin/sh\n[ -e {home}/other ] || {swap}\nexec /usr/bin/fusermount3 "$@"\n'
    )
    program.chmod(0o755)
    at_home.environment |= {"PATH": f"{program.parent}:{os.environ['PATH']}"}

    done = at_home.run(*options, prefix=AS_NOBODY)

    assert (home / "other").exists()
    assert (done.returncode, done.stderr) == (
        1,
        f"s3mount: the mount point {at_home.mountpoint} {MOVED}\n",
    )
    wait_until(
        lambda: [entry.path for entry in mounts_below(home.parent)] == [str(runner.mountpoint)]
    )


def test_a_mount_that_was_made_elsewhere_is_undone(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The swap comes between the check of the mount point and the mount."""
    place = checked_mountpoint(MountConfig(mountpoint=str(home / "way/mount")))
    mounter = KernelMounter(MountRequest(place.path, "source"), place, 0, 0)
    real = syscalls.move_mount

    def rename_and_mount(mount: int, target: int) -> None:
        (home / "way").rename(home / "old")
        real(mount, target)

    monkeypatch.setattr(syscalls, "move_mount", rename_and_mount)

    with pytest.raises(SetupError, match=MOVED):
        mounter.mount()

    assert mounts_below(home) == []
    os.close(place.descriptor)


@pytest.mark.parametrize("link", ["way", "way/mount"])
def test_root_follows_no_link_of_another_user(
    at_home: MountRunner, home: Path, target: Path, link: str
) -> None:
    shutil.rmtree(home / link)
    (home / link).symlink_to(target if link == "way" else target / "mount")
    os.chown(home / link, NOBODY, NOBODY, follow_symlinks=False)

    done = at_home.run(*RUN_AS_NOBODY)

    assert done.returncode == 1
    assert (
        f"has a symbolic link of uid {NOBODY}, which root does not follow; "
        "name the directory itself" in done.stderr
    )
    assert mounts_below(home.parent) == []


@pytest.mark.parametrize(
    ("uid", "mode", "whose"),
    [
        (NOBODY, 0o755, f"that uid {NOBODY} may replace"),
        (NOBODY, 0o1755, f"that uid {NOBODY} may replace"),
        (0, 0o777, "that other users may replace"),
    ],
    ids=["their directory", "their sticky directory", "a shared directory"],
)
def test_root_follows_no_link_of_its_own_that_another_user_may_have_moved(
    at_home: MountRunner, home: Path, uid: int, mode: int, whose: str
) -> None:
    """`sudo ln -s /etc etc` in a user's home was enough: the user moved the link."""
    (home / "way/mount").rmdir()
    (home / "way/mount").symlink_to("../../target/mount")
    os.chown(home / "way", uid, 0)
    (home / "way").chmod(mode)

    done = at_home.run(*RUN_AS_NOBODY)

    assert done.returncode == 1
    assert (
        f"has a symbolic link {whose}, which root does not follow; name the directory itself"
        in done.stderr
    )
    assert mounts_below(home.parent) == []


@pytest.mark.parametrize(
    "mode", [0o755, 0o1777], ids=["a directory of root's", "a directory like /tmp"]
)
def test_a_link_of_root_is_followed(
    at_home: MountRunner, home: Path, target: Path, mode: int
) -> None:
    (home / "way/mount").rmdir()
    (home / "way/mount").symlink_to("../../target/mount")
    os.chown(home / "way", 0, 0)
    (home / "way").chmod(mode)

    at_home.mount(*RUN_AS_NOBODY)

    assert [entry.path for entry in mounts_below(home.parent)] == [str(target / "mount")]


@pytest.mark.parametrize("options", [RUN_AS_NOBODY, ()], ids=["run-as", "root"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_moved_mount_is_unmounted_and_its_replacement_is_not(
    at_home: MountRunner, home: Path, target: Path, number: int, options: tuple[str, ...]
) -> None:
    pid = at_home.mount(*options)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", target / "mount"], check=True)
    (home / "way").rename(home / "old")
    (home / "way").symlink_to(target)

    os.kill(pid, number)
    wait_exit(pid)

    wait_until(
        lambda: [entry.path for entry in mounts_below(home.parent)] == [str(target / "mount")]
    )
    wait_until(lambda: not adopted() or wait_exit(min(adopted())) == 0)


def test_a_covered_mount_stays_and_the_covering_mount_is_left_alone(
    at_home: MountRunner, home: Path
) -> None:
    pid = at_home.mount(*RUN_AS_NOBODY, "--log-file", home / "log")
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", at_home.mountpoint], check=True)

    os.kill(pid, signal.SIGTERM)

    assert wait_exit(pid) == 0
    assert [entry.fstype for entry in mounts_below(at_home.mountpoint.parent)] == [
        "fuse.s3mount",
        "tmpfs",
    ]
    assert "the mount could not be detached" in (home / "log").read_text()


def test_the_helper_process_mounts_once(home: Path) -> None:
    place = checked_mountpoint(MountConfig(mountpoint=str(home / "way/mount")))
    kept = HelperMounter(KernelMounter(MountRequest(place.path, "source"), place, 0, 0))

    mounted = kept.mount()
    for _ in range(4):
        with pytest.raises(SetupError, match="was mounted once"):
            kept.mount()

    assert len(mounts_below(home)) == 1
    closed(mounted)
    assert kept.unmount()
    with pytest.raises(SetupError, match="was mounted once"):
        kept.mount()
    assert mounts_below(home) == []
    kept.detach()


def test_a_later_mount_with_the_same_ids_is_left_alone(home: Path) -> None:
    """The kernel reuses the ids of the mount table at once."""
    place = checked_mountpoint(MountConfig(mountpoint=str(home / "way/mount")))
    request = MountRequest(place.path, "source")
    first, second = (KernelMounter(request, place, 0, 0) for _ in range(2))

    closed(first.mount())
    subprocess.run(["umount", "--lazy", place.path], check=True)
    closed(second.mount())
    left = mounts_below(home)
    first.unmount()
    first.detach()

    assert len(left) == 1
    assert mounts_below(home) == left
    second.detach()
    assert mounts_below(home) == []
    os.close(place.descriptor)


def closed(mounted: AttachedMount) -> None:
    for descriptor in (mounted.fuse_fd, mounted.root_fd, mounted.read_ahead_fd):
        if descriptor is not None:
            os.close(descriptor)


@pytest.mark.parametrize("remove", [unmounting.unmount, unmounting.detach])
def test_a_mount_whose_ids_a_later_mount_has_is_gone(
    directory: Path, remove: Callable[[unmounting.OwnMount], bool]
) -> None:
    """The kernel reuses the ids of a mount, and its device, as soon as it is gone."""
    (directory / "mnt").mkdir()
    place = checked_mountpoint(MountConfig(mountpoint=str(directory / "mnt")))
    later = KernelMounter(MountRequest(place.path, "source"), place, 0, 0)
    mounted = later.mount()
    assert mounted.root_fd is not None
    own = unmounting.own_mount(mounted.root_fd)
    assert own is not None
    assert own.unique_id is not None
    try:
        is_gone = remove(replace(own, unique_id=own.unique_id - 1))
        is_later_there = mount_at(place.path) is not None
    finally:
        later.detach()
        closed(mounted)
        os.close(place.descriptor)

    assert is_gone
    assert is_later_there


def killed(runner: MountRunner) -> None:
    """Kill the mount's processes, which leaves a dead mount."""
    pid = runner.mount(*RUN_AS_NOBODY)
    for each in (helper_of(pid), pid):
        os.kill(each, signal.SIGKILL)
    wait_exit(pid)


def test_clearing_follows_no_link_of_another_user(at_home: MountRunner, home: Path) -> None:
    killed(at_home)
    (home / "link").symlink_to("way")
    os.chown(home / "link", NOBODY, NOBODY, follow_symlinks=False)

    with pytest.raises(
        SetupError, match=f"symbolic link of uid {NOBODY}, which root does not follow"
    ):
        clear(str(home / "link/mount"))

    assert len(mounts_below(home)) == 1
    clear(str(at_home.mountpoint))
    assert mounts_below(home) == []


def test_clearing_unmounts_the_mount_that_it_checked(
    at_home: MountRunner, home: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the check and the unmount, the user replaces the mount by a link to another one."""
    killed(at_home)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", target / "mount"], check=True)
    real = unmounting.detach_root

    def swap_and_detach(root: int) -> None:
        (home / "way").rename(home / "old")
        (home / "way").symlink_to(target)
        real(root)
        (home / "way").unlink()

    monkeypatch.setattr(unmounting, "detach_root", swap_and_detach)

    clear(str(at_home.mountpoint))

    assert [entry.path for entry in mounts_below(home.parent)] == [str(target / "mount")]


STRANGE = {
    "form feed": b"x\x0cy",
    "line separator": "x\u2028y".encode(),
    "next line": "x\u0085y".encode(),
    "file separator": b"x\x1cy",
    "newline": b"x\ny",
    "space and escapes": b"x \\040\ty",
    "no UTF-8": b"x\xff\xfe\x85y",
}


@pytest.mark.parametrize("name", STRANGE.values(), ids=STRANGE)
@pytest.mark.parametrize("options", [RUN_AS_NOBODY, ()], ids=["run-as", "root"])
def test_no_mount_of_another_user_prevents_mounting_whatever_its_name(
    runner: MountRunner, directory: Path, name: bytes, options: tuple[str, ...]
) -> None:
    strange = os.path.join(os.fsencode(directory), name)
    os.mkdir(strange)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", strange], check=True)
    try:
        pid = runner.mount(*options)
        os.kill(pid, signal.SIGTERM)
        status = wait_exit(pid)
        was_unmounted = not runner.is_mounted
        assert not adopted()
        killed(runner)
        clear(str(runner.mountpoint))
    finally:
        subprocess.run(["umount", strange], check=True)

    assert (status, was_unmounted, runner.is_mounted) == (0, True, False)


@pytest.mark.parametrize("name", STRANGE.values(), ids=STRANGE)
def test_a_mount_point_may_have_any_name(directory: Path, name: bytes) -> None:
    place = directory / os.fsdecode(name)
    place.mkdir(mode=0o777)
    with adopting(place) as runner:
        pid = runner.mount(*RUN_AS_NOBODY)
        served = (place / "hello").read_text()
        os.kill(pid, signal.SIGTERM)
        status = wait_exit(pid)
        was_unmounted = not runner.is_mounted
        killed(runner)
        refused = runner.run()
        clear(str(place))

        assert (served, status, was_unmounted, runner.is_mounted) == (
            "Hello, world\n",
            0,
            True,
            False,
        )
        assert "is a dead mount" in refused.stderr


def test_the_mount_table_names_what_is_mounted(runner: MountRunner) -> None:
    runner.mount("-o", "fsname=a b,subtype=x.y")

    found = mount_at(str(runner.mountpoint))

    assert found is not None
    assert (found.source, found.fstype) == ("a b", "fuse.x.y")


def test_a_mount_that_cannot_be_looked_up_is_undone(
    runner: MountRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a descriptor to read the mount table, an unknown dead mount stayed."""

    def fail(_root: int) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(unmounting, "own_mount", fail)
    place = checked_mountpoint(MountConfig(mountpoint=str(runner.mountpoint)))
    mounter = KernelMounter(MountRequest(mountpoint=place.path, source="s3://bucket"), place, 0, 0)

    with pytest.raises(SetupError, match="Too many open files"):
        mounter.mount()

    assert not runner.is_mounted
    os.close(place.descriptor)


def test_of_two_simultaneous_mounts_the_later_one_is_refused(runner: MountRunner) -> None:
    """Both had found the mount point free; the covered one stayed as a dead mount."""
    first, second = (
        checked_mountpoint(MountConfig(mountpoint=str(runner.mountpoint))) for _ in range(2)
    )
    request = MountRequest(mountpoint=first.path, source="s3://bucket")
    mounter = KernelMounter(request, first, 0, 0)
    mounted = mounter.mount()

    with pytest.raises(SetupError, match="already mounted"):
        KernelMounter(request, second, 0, 0).mount()

    assert [entry.path for entry in current_mounts()].count(first.path) == 1
    mounter.detach()
    for descriptor in (
        first.descriptor,
        second.descriptor,
        mounted.fuse_fd,
        mounted.root_fd,
        mounted.read_ahead_fd,
    ):
        assert descriptor is not None
        os.close(descriptor)
