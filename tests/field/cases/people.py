"""Reports of people at the command line: options, mount tables, handles, times."""

import stat
import subprocess
import sys
from functools import partial

from tests.faults.bucket import Kind
from tests.field import kinds
from tests.field.case import (
    BUCKET,
    NATIVE,
    Case,
    Run,
    Step,
    lists,
    reads_all,
)
from tests.mount.file_handles import handle_of, list_handle, read_handle, shrink_dentries
from tests.mount.filesystem_access import failure_of
from tests.mount.mount_process import environment
from tests.waiting import outlast, wait_until

LIFETIME = 1  # seconds
HELPER = "from s3mount.cli.mount_helper import main; main()"


def has_modes(directory: int, file: int) -> Step:
    def step(run: Run) -> None:
        found = [stat.S_IMODE(run.path(name).stat().st_mode) for name in ("", "photos", "a.txt")]
        assert found == [directory, directory, file]

    return step


def is_shown_as(source: str) -> Step:
    """Check the source in the mount table, which mount(8) compares with that of fstab."""

    def step(run: Run) -> None:
        found = subprocess.check_output(["findmnt", "-no", "SOURCE", run.mount.path], text=True)
        assert source == found.rstrip("\n")

    return step


def mounting_again(source: str, status: int, error: str = "") -> Step:
    """Check what the helper of mount(8) does for *source* at the same mount point."""

    def step(run: Run) -> None:
        done = subprocess.run(
            [sys.executable, "-c", HELPER, source, f"{run.mount.path}/", "-o", "rw,_netdev"],
            env=environment(),
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )
        assert status == done.returncode
        assert error in done.stderr
        assert status != 0 or done.stderr == ""

    return step


def rsync_and_tar_see_no_change(run: Run) -> None:
    """Check that a second rsync finds nothing to do, and that tar sees nothing change."""
    copy, at = run.home / "copy", run.mount.path
    found = []
    for _ in range(2):
        done = subprocess.run(
            ["rsync", "-aiX", f"{at}/", copy], capture_output=True, text=True, check=True
        )
        found.append(done.stdout)
        outlast(1.0)  # rsync compares whole seconds
    subprocess.run(["chmod", "-R", "u+w", copy], check=True)
    tar = subprocess.run(
        f"tar -C {at} -cf - . | wc -c", shell=True, capture_output=True, text=True, check=True
    )
    assert ("photos/2024/one.jpg" in found[0], found[1], tar.stderr) == (True, "", "")


def opens_by_handle(run: Run) -> None:
    """Check handles after the kernel has forgotten the names, and after a file was replaced."""
    reads_all()(run)
    one, z = handle_of(run.path("photos/2024/one.jpg")), handle_of(run.path("z"))
    photos = handle_of(run.path("photos"))
    for is_expired in (False, True):
        shrink_dentries(run.mount.path)
        if is_expired:
            outlast(LIFETIME)
        assert read_handle(run.mount.path, one) == run.case.objects["photos/2024/one.jpg"][:1000]
        assert list_handle(run.mount.path, photos) == ["2024", "two.jpg"]
    run.store.bucket.put("z", b"newer")
    shrink_dentries(run.mount.path)
    outlast(LIFETIME)
    assert failure_of(partial(read_handle, run.mount.path, z)) == "ESTALE"


def kills_a_reader_and_unmounts(run: Run) -> None:
    lists("", "a.txt", "empty", "photos", "z")(run)
    reader = subprocess.Popen(["cat", run.path("photos/2024/one.jpg")], stdout=subprocess.DEVNULL)
    wait_until(lambda: run.requests(Kind.GET) != [])
    reader.kill()
    reader.wait()
    subprocess.run(["umount", run.mount.path], check=True)
    assert run.mount.process.wait(10) == 0
    run.mount.is_left = True


def expires(_run: Run) -> None:
    outlast(LIFETIME)


def keeps_directory_times(run: Run) -> None:
    """Check that no directory's time changes, whatever becomes known, expires or changes."""
    directories = [run.path(name) for name in ("", "photos", "photos/2024")]
    seen = []
    for step in (lists("photos", "2024", "two.jpg"), reads_all(), expires, reads_all()):
        seen.append([path.stat()[7:] for path in directories])
        step(run)
    run.store.bucket.put("photos/2024/three.jpg", b"3")
    outlast(LIFETIME)
    lists("photos/2024", "one.jpg", "three.jpg")(run)
    seen.append([path.stat()[7:] for path in directories])
    assert seen == [seen[0]] * len(seen)


CASES = (
    Case(
        "options of other file systems are accepted",
        "fstab lines carry umask, nonempty and default_permissions from s3fs: s3fs #525, #2560.",
        options=("-o", "umask=0027,nonempty,default_permissions"),
        steps=(has_modes(0o550, 0o440), reads_all()),
        transports=NATIVE,
    ),
    Case(
        "masks of vfat and ntfs are accepted",
        "Users of other file systems write fmask, dmask and entry_timeout.",
        options=("-o", "fmask=0137,dmask=0007,attr_timeout=60,entry_timeout=1,big_writes"),
        steps=(has_modes(0o550, 0o440), reads_all()),
        transports=NATIVE,
    ),
    Case(
        "options for systemd and mount are accepted",
        "rclone #5808: _netdev; goofys #515: nofail; yas3fs #37: rw,suid,dev of mount.fuse.",
        options=(
            "-o",
            (
                "rw,suid,dev,_netdev,nofail,noauto,users,noatime,x-systemd.automount,"
                "x-gvfs-name=a,comment=b,defaults,kernel_cache,auto_unmount,max_read=131072"
            ),
        ),
        transports=NATIVE,
    ),
    Case(
        "a label of SELinux is accepted",
        "s3fs #1799, exfat #172: mount(8) hands context=… to the helper under SELinux.",
        options=("-o", 'context="system_u:object_r:fusefs_t:s0:c1,c2",rootcontext=a:b:c:s0'),
        transports=NATIVE,
    ),
    Case(
        "flags are accepted as options",
        'goofys #32: fstab lines with --file-mode="0400" and --allow-other.',
        options=("-o", '--file-mode="0400",--dir-mode="0500",--allow-other'),
        steps=(has_modes(0o500, 0o400), reads_all()),
        transports=NATIVE,
    ),
    Case(
        "an unknown option is refused with the near one",
        "s3backer #145: a word in another spelling; the user looked for hours.",
        options=("-o", "allow_other,metadataTTL=5"),
        refused="-o 'metadataTTL': there is no such option; did you mean metadata_ttl",
        status=2,
        transports=NATIVE,
    ),
    Case(
        "an option of s3fs is refused with the near one",
        "People bring their fstab lines along.",
        options=("-o", "use_path_request_style"),
        refused="there is no such option; did you mean path_style",
        status=2,
        transports=NATIVE,
    ),
    Case(
        "remounting is refused in words",
        "Mountpoint #1629: configuration management remounts.",
        options=("-o", "remount,rw"),
        refused="a mount cannot be changed; unmount it and mount again",
        status=2,
        transports=NATIVE,
    ),
    *(
        Case(
            f"mounting {source} twice succeeds",
            "s3fs #981, #1468, #449: mount -a mounted again, or failed, each time.",
            source=source,
            objects={"photos/my trip/a.txt": b"1", "a.txt": b"2"},
            steps=(
                is_shown_as(source),
                mounting_again(source, 0),
                mounting_again(f"{source.rstrip('/')}/", 0),
                mounting_again(f"s3://{source.removeprefix('s3://')}", 0),
                mounting_again(f"{BUCKET}/other", 1, f"already mounted ({source}, fuse.s3mount)"),
                mounting_again("another", 1, "is already mounted"),
            ),
            transports=NATIVE,
        )
        for source in (
            BUCKET,
            f"{BUCKET}/",
            f"{BUCKET}/photos",
            f"{BUCKET}/photos/",
            f"s3://{BUCKET}/photos",
            f"{BUCKET}/photos/my trip",
        )
    ),
    Case(
        "a second rsync finds nothing to do",
        "rsync listed every directory again, and tar said: file changed as we read it.",
        options=("--metadata-ttl", "0"),
        steps=(rsync_and_tar_see_no_change,),
        transports=NATIVE,
    ),
    Case(
        "a handle outlives the names in the kernel",
        "NFS re-exports: mergerfs #576, rclone #9547: ESTALE after a while.",
        options=("--metadata-ttl", str(LIFETIME)),
        steps=(opens_by_handle,),
        transports=NATIVE,
    ),
    Case(
        "a killed reader is no error",
        "The log had an error of pyfuse3 for each reader that was killed before an unmount.",
        oddities=(kinds.slow(kinds.GET, 2.0),),
        steps=(kills_a_reader_and_unmounts,),
        transports=NATIVE,
    ),
    Case(
        "the time of a directory stays",
        "A second rsync -a, or find -newer, sees directories change without a change.",
        options=("--metadata-ttl", str(LIFETIME)),
        steps=(keeps_directory_times,),
        transports=NATIVE,
    ),
)
