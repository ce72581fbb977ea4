"""Reports of people at the command line: options, mount tables, handles, times."""

import time

from tests.field.case import NATIVE, Case, Run, lists, pauses, reads_all


def keeps_directory_times(run: Run) -> None:
    """Check that no directory's time changes, whatever becomes known, expires or changes."""
    directories = [run.path(name) for name in ("", "photos", "photos/2024")]
    seen = []
    for step in (lists("photos", "2024", "two.jpg"), reads_all(), pauses(1.5), reads_all()):
        seen.append([path.stat()[7:] for path in directories])
        step(run)
    run.store.bucket.put("photos/2024/three.jpg", b"3")
    time.sleep(1.5)
    lists("photos/2024", "one.jpg", "three.jpg")(run)
    seen.append([path.stat()[7:] for path in directories])
    assert seen == [seen[0]] * len(seen)


CASES = (
    Case(
        "options of other file systems are accepted",
        "fstab lines carry umask, nonempty and default_permissions from s3fs.",
        options=("-o", "umask=0027,nonempty,default_permissions"),
        transports=NATIVE,
    ),
    Case(
        "a label of SELinux is accepted",
        "mount(8) hands context=… to the helper under SELinux.",
        options=("-o", "context=system_u:object_r:fusefs_t:s0"),
        transports=NATIVE,
    ),
    Case(
        "the time of a directory stays",
        "A second rsync -a, or find -newer, sees directories change without a change.",
        options=("--metadata-ttl", "1"),
        steps=(keeps_directory_times,),
        transports=NATIVE,
    ),
)
