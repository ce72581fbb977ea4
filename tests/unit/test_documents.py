"""Documents: their links, paths and words exist, and decision records are short."""

import re
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
RECORDS = [*ROOT.glob("docs/decisions/*.md")]
GLOSSARY = ROOT / "docs/glossary.md"
WORDS = re.findall(r"^\| ([^|]+) \| [^|]+ \| `([^`]+)` \|$", GLOSSARY.read_text(), re.MULTILINE)
RECORD_LINES = 20


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_relative_links_lead_to_files(document: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text())

    assert [target for target in targets if not (document.parent / target).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_paths_in_backticks_exist(document: Path) -> None:
    paths = re.findall(
        r"`((?:s3mount|tests|benchmarks|docs|scripts|systemd)/[\w./@*-]*)`", document.read_text()
    )

    assert [path for path in paths if not list(ROOT.glob(path.rstrip("/")))] == []


def test_decision_records_that_comments_name_exist() -> None:
    sources = chain.from_iterable(
        (ROOT / top).rglob("*.*") for top in ("s3mount", "tests", "scripts", "systemd")
    )
    named = {
        name
        for source in sources
        if source.suffix in {".py", ".service", ".toml", ".sh"}
        for name in re.findall(r"docs/[\w/-]+\.md", source.read_text())
    }

    assert {name for name in named if not (ROOT / name).is_file()} == set()


@pytest.mark.parametrize("record", RECORDS, ids=lambda path: path.stem)
def test_a_decision_record_is_short(record: Path) -> None:
    """Headings, tables, and indented code and diagrams are not counted."""
    lines = [
        line for line in record.read_text().splitlines() if re.match(r"[^#|\s]|\s{1,3}\S", line)
    ]

    assert len(lines) <= RECORD_LINES
    assert [line for line in lines if len(line) > 100] == []


@pytest.mark.parametrize("record", RECORDS, ids=lambda path: path.stem)
def test_a_decision_record_has_a_context(record: Path) -> None:
    assert re.search(r"^\*\*(Context|Setup)\.\*\* ", record.read_text(), re.MULTILINE)


def test_the_glossary_is_sorted_and_has_each_word_once() -> None:
    words = [word for word, _ in WORDS]

    assert words
    assert sorted(set(words)) == words


@pytest.mark.parametrize(("word", "module"), WORDS, ids=[word for word, _ in WORDS])
def test_a_word_of_the_glossary_is_used_by_its_module(word: str, module: str) -> None:
    text = re.sub(r"(?<=[a-z])(?=[A-Z])|[\s_-]+", " ", (ROOT / module).read_text()).lower()

    assert re.search(rf"\b{word.lower()}s?\b", text)
