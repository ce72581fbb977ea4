"""Escaping of text from outside: from a store, a proxy, a library, or the names of objects.

`printable` returns one line of at most *limit* bytes of UTF-8 that cannot control a terminal. It is
idempotent, so that text is escaped both when it enters a message and when the message leaves the
process. A backslash stays as it is: the result is for people, and is not parsed again. It redacts
what gives access (`redaction`), so all that is shown passes through one function.
"""

from s3mount.redaction import redacted

# bytes of one text from outside in a message: S3's codes are below 64, its request ids below 80
OUTSIDE_LIMIT = 200
LINE_LIMIT = 4000  # bytes of a whole message; syslog(3) daemons cut at 8 KiB or below
TRACEBACK_LIMIT = 32 * 1024  # bytes
_CUT = "…"


def printable(text: str, limit: int = OUTSIDE_LIMIT) -> str:
    """Escape what is not printable, as `repr` does, and cut the middle beyond *limit* bytes.

    Not printable are line breaks of all kinds, other C0 and C1 controls, bidirectional and
    invisible characters, and lone surrogates. What is redacted goes before anything is cut.
    """
    text = redacted(text)
    if len(text) <= limit and text.isascii() and text.isprintable():
        return text
    if len(text) > 2 * limit:  # it is cut below in any case: escape no more than needed
        text = text[:limit] + text[-limit:]
    escaped = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
    return redacted(_cut(redacted(escaped), limit))


def one_line(text: str) -> str:
    """Join the lines of a message, and escape it."""
    return printable(" ".join(text.splitlines()), LINE_LIMIT)


def printable_lines(text: str, limit: int) -> str:
    """Escape each line of a text, such as a traceback, and indent it.

    So no line can pass for a record of the log, which is not indented.
    """
    text = redacted(text)
    if len(text) > limit:
        text = f"{text[: limit // 2]}\n{_CUT}\n{text[-limit // 2 :]}"
    return "\n".join(f"  {printable(line, LINE_LIMIT)}" for line in text.split("\n"))


def _cut(text: str, limit: int) -> str:
    octets = text.encode()
    if len(octets) <= limit:
        return text
    half = (limit - len(_CUT.encode())) // 2
    return octets[:half].decode(errors="ignore") + _CUT + octets[-half:].decode(errors="ignore")
