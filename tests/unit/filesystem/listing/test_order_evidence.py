"""Evidence of a store's order: it grows with keys in order, and a break doubles what is needed."""

import logging

import pytest

from s3mount.filesystem.listing.order_evidence import PROOF, OrderEvidence
from s3mount.s3.model import ListedObject, ListPage


def page(keys: int) -> ListPage:
    return ListPage([ListedObject(f"{number:05}", 1, 0, "e") for number in range(keys)], [], None)


def test_order_is_relied_on_once_enough_keys_have_come_in_order() -> None:
    order = OrderEvidence(is_unordered=False)

    assert order.keys_needed == PROOF
    order.note_page(page(PROOF))
    assert order.keys_needed == 1
    order.note_page(page(2))
    assert order.keys_needed == 0


def test_a_page_of_one_key_proves_nothing() -> None:
    order = OrderEvidence(is_unordered=False)
    for _ in range(1000):
        order.note_page(page(1))

    assert order.keys_needed == PROOF


def test_a_break_doubles_the_keys_needed_and_turns_nothing_off() -> None:
    order = OrderEvidence(is_unordered=False)
    for breaks in range(1, 4):
        order.note_page(page(1000))
        order.note_break("odd/")
        assert order.keys_needed == PROOF << breaks
    order.note_page(page(1000))

    assert order.keys_needed == 0


def test_breaks_without_end_hold_back_a_bounded_number_of_keys() -> None:
    order = OrderEvidence(is_unordered=False)
    for _ in range(1000):
        order.note_break("odd/")

    assert order.keys_needed == PROOF << 6


def test_only_the_first_break_is_logged_at_info(caplog: pytest.LogCaptureFixture) -> None:
    order = OrderEvidence(is_unordered=False)
    with caplog.at_level(logging.INFO):
        for number in range(10):
            order.note_break(f"odd{number}/")

    assert [record.getMessage() for record in caplog.records] == [
        "the store lists 'odd0/' out of order: its names are shown when all of them have come"
    ]


def test_a_store_that_promises_no_order_never_proves_one() -> None:
    order = OrderEvidence(is_unordered=True)
    order.note_page(page(1000))

    assert order.keys_needed is None
