"""Writer of manual pages in the macros man(7). Text is escaped; ASCII only, as all locales show."""

import re

_SPECIAL = {
    "\\": "\\e",
    "-": "\\-",  # as it is typed, also where groff would write a hyphen
    "'": "\\(aq",
    "`": "\\(ga",
    "^": "\\(ha",
    "~": "\\(ti",
}
_MARKED = r"(`[^`]+`|\*[A-Za-z][^*\s]*\*)"


class ManualPage:
    """A page, made from top to bottom."""

    def __init__(self, name: str, section: int, version: str, manual: str) -> None:
        self._lines = [
            '.\\" Made by scripts/share; do not edit.',
            f'.TH {escape(name.upper())} {section} "" "{escape(version)}" "{escape(manual)}"',
        ]

    @property
    def text(self) -> str:
        return "\n".join(self._lines) + "\n"

    def section(self, title: str) -> None:
        self._lines.append(f'.SH "{escape(title.upper())}"')

    def subsection(self, title: str) -> None:
        self._lines.append(f'.SS "{escape(title)}"')

    def summary(self, name: str, text: str) -> None:
        """Add the section NAME, which apropos(1) reads."""
        self.section("Name")
        self._lines.append(f"{escape(name)} \\- {escape(text)}")

    def paragraph(self, text: str) -> None:
        """Add a paragraph; *word* in the text is a name to replace, and `word` is literal."""
        self._lines += [".PP", *_filled(text)]

    def usage(self, text: str) -> None:
        """Add a line of a synopsis: words in capitals are names to replace."""
        self._lines += [".PP", usage(text)]

    def definition(self, term: str, text: str) -> None:
        """Add an entry of a list. *term* is already roff, see `literal` and `usage`."""
        self._lines += [".TP", term, *_filled(text)]

    def example(self, text: str) -> None:
        """Add lines as they are."""
        self._lines += [".PP", ".RS 4", ".nf", ".EX"]
        self._lines += [escape(line) or ".sp" for line in text.rstrip("\n").split("\n")]
        self._lines += [".EE", ".fi", ".RE"]


def escape(text: str) -> str:
    """Return *text* for a line of roff. Raises ValueError if it is not ASCII."""
    if not text.isascii():
        raise ValueError(f"not ASCII: {text!r}")
    escaped = "".join(_SPECIAL.get(char, char) for char in text).replace('"', "\\(dq")
    return f"\\&{escaped}" if escaped.startswith(".") else escaped


def literal(text: str) -> str:
    return f"\\fB{escape(text)}\\fR"


def usage(text: str) -> str:
    """Return a command line: words in capitals in italics, others bold, brackets as they are."""
    return "".join(
        f"\\fI{escape(part)}\\fR"
        if re.fullmatch(r"[A-Z]{1,}(/[A-Z]+)*", part)
        else literal(part)
        if re.match(r"[\w-]", part)
        else escape(part)
        for part in re.split(r"((?<![\w-])[A-Z]+(?:/[A-Z]+)*(?![\w-])|[a-z0-9.-]+(?![\w]))", text)
        if part
    )


def _filled(text: str) -> list[str]:
    """Return lines of text, a sentence each, which groff fills."""
    sentences = re.split(r"(?<=[.:;]) +(?=[A-Z`*-])", " ".join(text.split()))
    return ["".join(map(_marked, re.split(_MARKED, sentence))) for sentence in sentences]


def _marked(part: str) -> str:
    if part.startswith("`"):
        return literal(part[1:-1])
    if re.fullmatch(_MARKED, part):
        return f"\\fI{escape(part[1:-1])}\\fR"
    return escape(part)
