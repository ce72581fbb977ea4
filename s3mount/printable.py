"""Escaping of text that comes from outside: from a store, a proxy, a library, or the names of objects.

What `printable` returns is one line of at most *limit* bytes of UTF-8, and changes nothing in a terminal. Idempotent, so that text may
pass both where it enters a message and where the message leaves the process. A backslash stays as it is: the result is
for people, and is not meant to be read back.
"""

OUTSIDE_LIMIT = (
    200  # bytes of one foreign text in a message: S3's codes are below 64, its request ids below 80
)
LINE_LIMIT = 4000  # bytes of a whole message; syslog(3) daemons cut at 8 KiB or below
_CUT = "…"


def printable(text: str, limit: int = OUTSIDE_LIMIT) -> str:
    """*text* with escapes for what is not printable, as `repr` has them, and its middle left out beyond *limit* bytes.

    Not printable are line breaks of all kinds, other C0 and C1 controls, bidirectional and invisible characters, and lone surrogates.
    """
    if len(text) <= limit and text.isascii() and text.isprintable():
        return text
    if len(text) > 2 * limit:  # as long as that, it is cut below, so no more of it need be escaped
        text = text[:limit] + text[-limit:]
    return _cut("".join(char if char.isprintable() else repr(char)[1:-1] for char in text), limit)


def printable_lines(text: str, limit: int) -> str:
    """Own text of several lines, such as a traceback: each line as `printable` has it, and indented.

    Nothing in it passes for a record of the log, which begins at the margin.
    """
    if len(text) > limit:
        text = f"{text[: limit // 2]}\n{_CUT}\n{text[-limit // 2 :]}"
    return "\n".join(f"  {printable(line, LINE_LIMIT)}" for line in text.split("\n"))


def _cut(text: str, limit: int) -> str:
    octets = text.encode()
    if len(octets) <= limit:
        return text
    half = (limit - len(_CUT.encode())) // 2
    return octets[:half].decode(errors="ignore") + _CUT + octets[-half:].decode(errors="ignore")
