"""The table of what watching a mount costs."""

from benchmarks.disturbed import Read, table


def test_a_row_has_the_middle_ratio_and_the_cpu_of_all_reads() -> None:
    alone = Read(2.0, 0.7, 0.0)
    pairs = [(alone, Read(seconds, 0.71, 0.02)) for seconds in (2.0, 2.04, 2.08, 3.0)]

    *_, row = table({"top": pairs})

    assert row == "| top | 4 | 1.030 | 1.015 to 1.155 | 0.700 | +0.010 | 0.020 |"
