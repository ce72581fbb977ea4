from s3mount.errors import NotFound, StoreError
from s3mount.filesystem.warming.warm_counts import FAILURES_MAX, OutageDetector


def test_what_succeeds_in_between_ends_a_row_of_failures() -> None:
    detector = OutageDetector()
    detector.note_success()
    detector.note_failure(StoreError("ill luck"))
    detector.note_failure(NotFound("k"))

    detector.note_failure(StoreError("ill luck"))

    assert not detector.is_away


def test_a_store_that_was_away_stays_away_as_what_was_in_flight_is_cancelled() -> None:
    detector = OutageDetector()
    for _ in range(FAILURES_MAX):
        detector.note_failure(StoreError("ill luck"))

    detector.note_success()
    detector.note_failure(NotFound("k"))

    assert detector.is_away
