"""docs/metrics.md is what its generator writes."""

from pathlib import Path

from tests.metrics_documentation import page

DOCUMENT = Path(__file__).parents[3] / "docs/metrics.md"


def test_the_page_is_generated_from_the_code() -> None:
    assert page() == DOCUMENT.read_text(), "python -m tests.metrics_documentation >docs/metrics.md"
