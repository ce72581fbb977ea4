"""scripts/test: every chosen suite runs once, and a failure of any is a failure."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SETUP = """
TEST_PACKAGES=()
root=$PWD
usage() { echo usage; }
require_packages() { :; }
require_venv() { :; }
require_servers() { :; }
set -euo pipefail
"""
PYTHON = """#!/bin/sh
# a pytest whose suite fails if FAILING names it, and writes a report if REPORT is one
case "$*" in
*compileall*) exit 0 ;;
*failures.py*) exec "$REAL_PYTHON" "$@" ;;
esac
suite=${3#tests/}
echo "output of $suite"
echo "$suite" >>started
[ "$suite" != "$FAILING" ] && exit
[ -z "$REPORT" ] || echo "$REPORT" >"${4#--junitxml=}"
exit 1
"""
CASE = '<testcase classname="tests.mount.test_a" name="test_{}[x]"><{} message="{}"/></testcase>'
NEED_ROOT = {"systemd", "packages"}
SUITES = ["contract", "unit", "property", "packages", "systemd", "fuzz", "mount", "faults", "field"]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a checkout whose setup does nothing, and whose pytest is a script."""
    (tmp_path / "scripts/lib").mkdir(parents=True)
    for name in ("scripts/test", "scripts/lib/failures.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "scripts/lib/setup.sh").write_text(SETUP)
    for name, text in (("scripts/check", "#!/bin/sh\necho checked\n"), ("bin/python", PYTHON)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    return tmp_path


def run(
    checkout: Path, *suites: str, failing: str = "", report: str = ""
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [checkout / "scripts/test", *suites],
        cwd=checkout,
        env={
            "PATH": f"{checkout}/bin:{os.environ['PATH']}",
            "FAILING": failing,
            "REPORT": report,
            "REAL_PYTHON": sys.executable,
        },
        check=False,
        capture_output=True,
        text=True,
    )


def report(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """Return the verdict of each line of the report."""
    return dict(re.findall(r"^(\w+) +(ok|FAILED|left out).*$", done.stdout, re.MULTILINE))


def summary(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return the lines after the report."""
    return re.split(r"^all .*\n", done.stdout, flags=re.MULTILINE)[-1].splitlines()


def started(checkout: Path) -> list[str]:
    return (checkout / "started").read_text().split()


@pytest.fixture
def suites() -> list[str]:
    """Return the suites that this user can run."""
    return [name for name in SUITES if name not in NEED_ROOT or os.geteuid() == 0]


def test_each_suite_runs_once_and_is_reported(checkout: Path, suites: list[str]) -> None:
    done = run(checkout)

    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(suites) == sorted(started(checkout))
    assert [name for name in suites if f"\n== {name}\noutput of {name}\n" not in done.stdout] == []
    assert ["static", *SUITES, "all"] == list(report(done))


@pytest.mark.parametrize("failing", sorted({*SUITES} - NEED_ROOT))
def test_the_failure_of_any_suite_is_a_failure_and_ends_no_other(
    failing: str, checkout: Path, suites: list[str]
) -> None:
    done = run(checkout, failing=failing)

    assert done.returncode == 1
    assert sorted(suites) == sorted(started(checkout))
    assert {failing, "all"} == {name for name, word in report(done).items() if word == "FAILED"}


def test_the_failed_tests_are_the_last_lines(checkout: Path) -> None:
    failures = CASE.format("f", "failure", "first&#10;second") + CASE.format("e", "error", "other")
    report = (
        f'<testsuite><testcase classname="tests.mount.test_a" name="ok"/>{failures}</testsuite>'
    )

    done = run(checkout, "mount", "faults", failing="mount", report=report)

    lines = ["tests/mount/test_a.py::test_f[x]: first", "tests/mount/test_a.py::test_e[x]: other"]
    assert ["", "mount:", *lines] == summary(done)


def test_the_lines_of_failed_tests_are_few_and_short(checkout: Path) -> None:
    report = f"<testsuite>{CASE.format('f', 'failure', 'x' * 1000) * 100}</testsuite>"

    lines = summary(run(checkout, "mount", failing="mount", report=report))

    assert len(lines) <= 45
    assert max(len(line) for line in lines) < 300
    assert lines[-1] == "... and 60 more"


def test_a_suite_that_does_not_end_has_no_report_and_is_named(checkout: Path) -> None:
    lines = summary(run(checkout, "mount", failing="mount"))

    assert lines[1] == "mount:"
    assert "did not end in time" in lines[2]


def test_without_a_failure_the_report_is_the_end(checkout: Path) -> None:
    assert summary(run(checkout, "mount")) == []


def test_a_failure_of_the_static_checks_is_a_failure(checkout: Path) -> None:
    (checkout / "scripts/check").write_text("#!/bin/sh\nexit 1\n")

    done = run(checkout)

    assert done.returncode == 1
    assert report(done)["static"] == "FAILED"


def test_only_the_suites_that_are_named_run(checkout: Path) -> None:
    done = run(checkout, "unit", "fuzz")

    assert ["fuzz", "unit"] == sorted(started(checkout))
    assert {"unit": "ok", "fuzz": "ok", "all": "ok"} == report(done)


def test_an_unknown_suite_is_named(checkout: Path) -> None:
    done = run(checkout, "units")

    assert done.returncode == 2
    assert "no suite units" in done.stderr
    assert not (checkout / "started").exists()
