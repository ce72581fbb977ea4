"""docs/options.md follows the table of options."""

from pathlib import Path

from s3mount.cli.reference import reference


def test_the_options_page_is_up_to_date() -> None:
    page = Path(__file__).parents[3] / "docs/options.md"

    assert page.read_text() == reference()
