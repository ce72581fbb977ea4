"""Reports of people at the command line: options, mount tables, handles, times."""

from tests.field.case import NATIVE, Case, Run, reads_all


def keeps_directory_times(run: Run) -> None:
    """Check that no directory's time changes while its children become known."""
    directories = [run.path(name) for name in ("", "photos", "photos/2024")]
    before = [path.stat().st_mtime_ns for path in directories]
    reads_all()(run)
    assert before == [path.stat().st_mtime_ns for path in directories]


CASES = (
    Case(
        "the time of a directory stays",
        "A second rsync -a, or find -newer, sees directories change without a change.",
        steps=(keeps_directory_times,),
        transports=NATIVE,
    ),
)
