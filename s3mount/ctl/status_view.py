"""Drawing of the status of a mount at a terminal.

Fields that the mount does not send are left out: it may be of another version.
"""

import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from s3mount.ctl import units
from s3mount.ctl.client import Reply
from s3mount.ctl.output import console, escaped

_GAUGE: Final = 20  # cells
_NAMES: Final = 16  # cells of the column of names
_WARN_EXPIRY: Final = 900.0  # seconds
_PERCENTILES: Final = ("p50", "p90", "p99")


def draw(status: Reply) -> None:
    """Print *status*."""
    console().print(view(status, time.time()))


def view(status: Reply, now: float) -> RenderableType:
    """Return the whole picture, as of the Unix time *now*."""
    identity = _part(status, "identity")
    sections = (
        ("", _identity(identity, now)),
        ("Requests", _requests(status)),
        ("Bytes and caches", _caches(status)),
        *([("Disk cache", _disk(disk))] if (disk := _part(status, "disk")) else []),
        ("Bill so far", _bill(_part(status, "bill"))),
        ("Last errors", _errors(status.get("errors") or [])),
    )
    title = Text.assemble(
        (escaped(identity.get("source", "?")), "bold"),
        " at ",
        (escaped(identity.get("mountpoint", "?")), "bold"),
    )
    return Group(
        title,
        *(
            part
            for name, body in sections
            for part in (
                *([Rule(f"[bold]{name}", align="left", style="dim")] if name else []),
                body,
            )
        ),
    )


def _part(value: Reply, *names: str) -> Mapping[str, Any]:
    """Return the object at *names*; an empty one if it is not there."""
    for name in names:
        found = value.get(name)
        value = found if isinstance(found, Mapping) else {}
    return value


def _grid(rows: Iterator[tuple[str, RenderableType]]) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", width=_NAMES)
    grid.add_column(overflow="fold")
    for name, value in rows:
        grid.add_row(Text(name), value)
    return Padding(grid, (0, 0, 0, 2))


def _identity(identity: Mapping[str, Any], now: float) -> RenderableType:
    def rows() -> Iterator[tuple[str, RenderableType]]:
        for name, keys in (
            ("Bucket", ("bucket", "prefix")),
            ("Endpoint", ("endpoint", "region")),
            ("Transport", ("transport",)),
            ("Process", ("pid", "user")),
        ):
            words = [escaped(identity[key]) for key in keys if identity.get(key) not in (None, "")]
            if words:
                yield name, Text("  ".join(words))
        if identity.get("at") is not None:
            yield "As it was", Text(units.moment(float(identity["at"])))
        if "since" in identity:
            since = float(identity["since"])
            yield "Running", Text(f"{units.seconds(now - since)}, since {units.moment(since)}")
        if "version" in identity:
            yield "Version", Text(escaped(identity["version"]))
        if credentials := _part(identity, "credentials"):
            yield "Credentials", _credentials(credentials, now)

    return _grid(rows())


def _credentials(credentials: Mapping[str, Any], now: float) -> Text:
    text = Text(escaped(credentials.get("source") or "none"))
    expires = credentials.get("expires")
    if expires is not None:
        left = float(expires) - now
        style = "green" if left > _WARN_EXPIRY else "bold yellow" if left > 0 else "bold red"
        told = f"expire in {units.seconds(left)}" if left > 0 else "expired"
        text.append(f"  {told} ({units.moment(float(expires))})", style)
    return text


def _requests(status: Reply) -> RenderableType:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("Kind")
    for name in ("Sent", "Succeeded", "Failed"):
        table.add_column(name, justify="right")
    table.add_column("By status")
    for name in ("last minute", "in all"):
        table.add_column(f"p50  p90  p99\n{name}", justify="right", no_wrap=True)
    for kind, counts in _part(status, "requests").items():
        if kind == "RESTORE" and not counts.get("sent"):
            continue  # few mounts ever send one
        table.add_row(*_request_row(kind, counts, _part(status, "latency", kind)))
    return Group(Padding(table, (0, 0, 0, 2)), _grid(_request_notes(status)))


def _request_row(
    kind: str, counts: Mapping[str, Any], latency: Mapping[str, Any]
) -> list[RenderableType]:
    failed = counts.get("failed", 0)
    by_status = _part(counts, "by_status").items()
    spans = (_part(latency, "minute"), _part(latency, "all"))
    return [
        Text(escaped(kind), "bold"),
        units.number(counts.get("sent", 0)),
        units.number(counts.get("succeeded", 0)),
        Text(units.number(failed), "bold red" if failed else ""),
        Text(", ".join(f"{escaped(code)}: {units.number(count)}" for code, count in by_status)),
        *map(_percentiles, spans),
    ]


def _percentiles(span: Mapping[str, Any]) -> str:
    values = [span.get(name) for name in _PERCENTILES]
    if not span.get("count") or None in values:
        return "-"
    return "  ".join(f"{value * 1000:.0f}" for value in values if value is not None) + " ms"


def _request_notes(status: Reply) -> Iterator[tuple[str, RenderableType]]:
    reasons = _part(status, "reasons")
    if any(reasons.values()):
        ordered = sorted(reasons.items(), key=lambda each: -each[1])
        told = (f"{escaped(name)} {units.number(count)}" for name, count in ordered if count)
        yield "Sent because of", Text(", ".join(told))
    hedges = _part(status, "hedges")
    yield (
        "Retries",
        Text(
            f"{units.number(status.get('retries', 0))}, "
            f"throttled {units.number(status.get('throttled', 0))}, "
            f"hedged {units.number(hedges.get('sent', 0))} "
            f"({units.number(hedges.get('won', 0))} won)"
        ),
    )
    if charged := status.get("charged"):
        yield "Charged to us", Text(f"{units.number(charged)} requests")


def _caches(status: Reply) -> RenderableType:
    def rows() -> Iterator[tuple[str, RenderableType]]:
        octets = _part(status, "bytes")
        fetched = octets.get("fetched", 0)
        yield (
            "Bytes",
            Text(
                f"{units.size(octets.get('served', 0))} served, {units.size(fetched)} fetched, "
                f"{units.size(octets.get('wasted', 0))} of them never read "
                f"({units.share(octets.get('wasted', 0), fetched)})"
            ),
        )
        for name, counts in _part(status, "hits").items():
            hits, misses = counts.get("hits", 0), counts.get("misses", 0)
            yield (
                f"Hits: {escaped(name)}",
                _gauge(hits, hits + misses, f"{units.number(hits)} of", "green"),
            )
        for name, part in _part(status, "memory").items():
            if isinstance(part, Mapping):
                yield f"Memory: {escaped(name)}", _memory_gauge(part)
            else:
                yield f"Memory: {escaped(name)}", Text(units.size(part or 0))
        if (stale := _part(status, "stale")).get("answers") or stale.get("seconds"):
            yield "Stale", _stale(stale)
        opened = _part(status, "open")
        if opened:
            files, directories = opened.get("files", 0), opened.get("directories", 0)
            yield "Open", Text(f"{units.files(files)}, {units.directories(directories)}")

    return _grid(rows())


def _stale(stale: Mapping[str, Any]) -> Text:
    """Return what was served beyond its lifetime: `--serve-stale`."""
    text = Text(units.counted(stale.get("answers") or 0, "answer", "answers"))
    if seconds := stale.get("seconds"):
        text.append(f", the store has been away for {units.seconds(seconds)}", "bold yellow")
    return text


def _disk(disk: Mapping[str, Any]) -> RenderableType:
    def rows() -> Iterator[tuple[str, RenderableType]]:
        yield "Directory", Text(escaped(disk.get("folder", "?")))
        if disk.get("bypassed"):
            yield "State", Text("bypassed: it fails or is slow; see the log", "bold yellow")
        if disk.get("used") is None:
            yield "Used", Text("it does not respond", "bold yellow")
        else:
            objects = units.counted(disk.get("objects") or 0, "object", "objects")
            yield "Used", _memory_gauge(disk).append(f", {objects}")
        if pinned := disk.get("pinned"):
            yield "Pinned", Text(units.size(pinned))
        hits, misses = disk.get("hits") or 0, disk.get("misses") or 0
        yield "Hits", _gauge(hits, hits + misses, f"{units.number(hits)} of", "green")
        octets = [units.size(disk.get(name) or 0) for name in ("read", "written")]
        yield "Bytes", Text(f"{octets[0]} read, {octets[1]} written")
        bad = disk.get("bad") or 0
        evictions = f"{units.number(disk.get('evictions') or 0)}; damaged extents "
        yield "Evictions", Text.assemble(evictions, (units.number(bad), "bold red" if bad else ""))

    return _grid(rows())


def _gauge(part: float, whole: float, text: str, style: str) -> Text:
    return Text.assemble(
        (units.gauge(part, whole, _GAUGE), style if whole else "dim"),
        f"  {units.share(part, whole):>7}  {text} {units.number(whole)}",
    )


def _memory_gauge(part: Mapping[str, Any]) -> Text:
    used, limit = part.get("used") or 0, part.get("limit") or 0
    return Text.assemble(
        (units.gauge(used, limit, _GAUGE), "cyan"),
        f"  {units.share(used, limit):>7}  {units.size(used)} of {units.size(limit)}",
    )


def _bill(bill: Mapping[str, Any]) -> RenderableType:
    currency = escaped(bill.get("currency") or "")  # null: as the configured prices
    prices = _part(bill, "prices")

    def rows() -> Iterator[tuple[str, RenderableType]]:
        for name in ("requests", "transfer", "total"):
            if bill.get(name) is not None:
                style = "bold" if name == "total" else ""
                yield name.capitalize(), Text(units.money(bill[name], currency), style)
        without = bill.get("without_caches")
        if without is not None:
            saved = without - bill.get("total", 0)
            text = Text(units.money(without, currency))
            text.append(f"  ({units.share(max(0.0, saved), without)} saved)", "green")
            yield "Without caches", text
        if prices:
            date = prices.get("as_of")
            told = escaped(prices.get("name") or "?") + (f", as of {escaped(date)}" if date else "")
            yield "Prices", Text(told, "dim")

    return _grid(rows())


def _errors(errors: list[Mapping[str, Any]]) -> RenderableType:
    if not errors:
        return Padding(Text("none", "green"), (0, 0, 0, 2))
    return Padding(Group(*map(_error, errors)), (0, 0, 0, 2))


def _error(error: Mapping[str, Any]) -> Text:
    """Return two lines: what failed, and the key with the message, which may be long."""
    told = (error.get(name) for name in ("kind", "status", "code", "request_id"))
    text = Text(units.moment(float(error.get("time", 0))))
    text.append("  " + "  ".join(escaped(each) for each in told if each), "red")
    rest = (error.get(name) for name in ("key", "message"))
    text.append("\n  " + ": ".join(escaped(each) for each in rest if each))
    text.overflow = "fold"
    return text
