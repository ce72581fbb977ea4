"""The judgement: to whom s3mount is compared, and what counts as passed."""

from dataclasses import replace
from pathlib import Path

from benchmarks import table
from benchmarks.content import MIB
from benchmarks.judgement import Check, blocks
from benchmarks.measure import Machine
from benchmarks.rows import ROWS
from benchmarks.samples import Report, Sample

MACHINE = Machine("2024-05-01 12:00", "a processor", 2, 24 << 30, "6.1", "3.11", 0.1, 1.0)


def report(*samples: Sample) -> Report:
    return Report(machine=MACHINE, versions={}, relay_cost=1.05, samples=list(samples))


def sequential(
    system: str, *times: float, error: str | None = None, cpu: float = 0.5
) -> list[Sample]:
    return [
        Sample(
            row="sequential",
            link="far",
            system=system,
            round=number,
            seconds=time,
            error=error,
            cpu=cpu,
            peak=MIB,
        )
        for number, time in enumerate(times)
    ]


def checks(*samples: Sample) -> dict[str, Check]:
    (block,) = blocks(report(*samples))
    return {
        check.limit.split(" ")[-1] if "time of" not in check.limit else "ratio": check
        for check in block.checks
    }


def test_the_ratio_is_of_medians_to_the_fastest_peer_of_the_row() -> None:
    seen = checks(
        *sequential("s3mount", 1.0, 1.2, 9.0),
        *sequential("rclone", 12.0),
        *sequential("s3fs", 4.0, 1.0, 4.0),
    )

    assert seen["ratio"] == Check(
        "≤ 0.5 of the time of rclone or rclone-16 or s3fs", "0.3 (s3fs)", passed=True
    )


def test_a_peer_that_failed_is_nobody_to_be_measured_by() -> None:
    seen = checks(
        *sequential("s3mount", 1.0),
        *sequential("rclone", 4.0),
        *sequential("s3fs", 0.1, error="fell over"),
    )

    assert seen["ratio"].seen == "0.25 (rclone)"


def test_the_floor_is_nobody_to_be_measured_by() -> None:
    seen = checks(*sequential("s3mount", 1.0), *sequential("floor", 0.1))

    assert seen["ratio"].passed is None


def test_a_round_that_failed_fails_the_row_however_fast_the_others_were() -> None:
    (block,) = blocks(
        report(*sequential("s3mount", 0.1, 0.1), *sequential("s3mount", 0.1, error="saw 1 of 2"))
    )

    assert block.checks == [Check("it works", "saw 1 of 2", passed=False)]


def test_cpu_beyond_its_limit_fails() -> None:
    assert checks(*sequential("s3mount", 1.0, cpu=1.5))["s"].passed is False


def test_requests_are_judged_by_the_worst_round() -> None:
    rounds = [{"LIST 200": 11}, {"LIST 200": 12, "HEAD 404": 1}]
    samples = [
        Sample(row="ls", link="far", system="s3mount", round=number, requests=requests)
        for number, requests in enumerate(rounds)
    ]

    seen = checks(*samples)

    assert (seen["LIST"].seen, seen["LIST"].passed) == ("12 LIST", False)
    assert (seen["HEAD"].seen, seen["HEAD"].passed) == ("1 HEAD", False)


def test_what_nobody_counted_is_not_judged() -> None:
    seen = checks(Sample(row="pair", link="far", system="s3mount", round=0))

    assert seen["requests"].passed is None


def test_a_second_run_has_limits_of_its_own() -> None:
    again = Sample(
        row="ls", link="near", system="s3mount", round=0, again=True, requests={"LIST 200": 1}
    )

    assert checks(again)["requests"] == Check("≤ 0 requests", "1 requests", passed=False)


def streams(system: str, time: float) -> Sample:
    return Sample(row="streams", link="near", system=system, round=0, seconds=time, peak=MIB)


def test_the_preferred_system_is_compared_if_it_ran() -> None:
    seen = checks(streams("s3mount", 0.9), streams("goofys", 1.0), streams("rclone", 0.5))

    assert seen["ratio"] == Check("≤ 1 of the time of goofys", "0.9 (goofys)", passed=True)


def test_without_the_preferred_system_the_others_are_compared() -> None:
    seen = checks(streams("s3mount", 0.9), streams("rclone", 1.0))

    assert seen["ratio"] == Check("≤ 0.6 of the time of rclone", "0.9 (rclone)", passed=False)


def test_bytes_of_objects_are_judged_without_listings() -> None:
    limit = next(row for row in ROWS if row.name == "choice").links["far"].object_bytes
    assert limit is not None

    seen = checks(
        Sample(
            row="choice",
            link="far",
            system="s3mount",
            round=0,
            requests={},
            down=100 * MIB,
            object_bytes=int(limit),
        )
    )

    assert seen["objects"].passed is True


def test_every_row_can_be_shown_as_text_and_as_markdown() -> None:
    samples = [
        Sample(
            row=row.name,
            link=link,
            system="s3mount",
            round=0,
            again=again,
            seconds=1,
            peak=MIB,
            requests={},
        )
        for row in ROWS
        for link in row.links
        for again in (False, True)
    ]

    for shown in (table.text(report(*samples)), table.markdown(report(*samples))):
        assert all(row.title in shown for row in ROWS)


def test_programs_have_a_table_of_their_own_with_the_fastest_mount_first() -> None:
    slow, fast = (
        Sample(
            row="unzip",
            link="far",
            system=system,
            round=0,
            seconds=seconds,
            requests={"GET 206": 3},
            down=2 * MIB,
        )
        for system, seconds in (("s3mount", 2.0), ("rclone", 1.0))
    )

    shown = table.markdown(report(slow, fast))

    _, _, programs = shown.partition("## Programs")
    assert [line for line in programs.splitlines() if line.startswith("| unzip")] == [
        "| unzip -l | far | rclone | 1.000 (1.000, 1.000) | 3 GET | 2.0 |",
        "| unzip -l | far | s3mount | 2.000 (2.000, 2.000) | 3 GET | 2.0 |",
    ]


def test_a_report_outlives_its_run(tmp_path: Path) -> None:
    written = report(*sequential("s3mount", 1.0))

    written.save(tmp_path / "report.json")

    assert Report.load(tmp_path / "report.json") == written


def test_runs_of_several_rows_are_one_report_as_busy_as_the_busiest() -> None:
    quiet, busy = report(*sequential("s3mount", 1.0)), report(*sequential("rclone", 2.0))
    machine = replace(MACHINE, date="later", load=9.0, spin=1.0)

    joined = Report.join([quiet, replace(busy, machine=machine, relay_cost=None)])

    assert joined.samples == quiet.samples + busy.samples
    assert joined.machine == replace(MACHINE, date=f"{MACHINE.date} to later", load=9.0)
    assert joined.relay_cost == quiet.relay_cost


def test_one_run_alone_is_the_report() -> None:
    alone = report(*sequential("s3mount", 1.0))

    assert Report.join([alone]) == alone
