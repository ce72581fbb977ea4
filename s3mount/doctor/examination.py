"""Composition of an examination: which checks are made, in which order, and what they suggest."""

import logging
import shlex
from collections.abc import Iterator

from s3mount.config import Config
from s3mount.daemon.syscalls import forbid_dumps
from s3mount.doctor.access import access_checks
from s3mount.doctor.check import Check, run_check
from s3mount.doctor.facts import StoreFacts
from s3mount.doctor.machine import machine_checks
from s3mount.doctor.network import network_checks
from s3mount.doctor.report import ReportRow
from s3mount.doctor.speed import speed_checks
from s3mount.frozen_dataclass import dataclass
from s3mount.redaction import redacted
from s3mount.s3.endpoint.aws_settings import drop_empty_variables


@dataclass(frozen=True, slots=True)
class Subject:
    """Subject of an examination: the mount of *config*; without *has_bucket*, only this machine.

    *options* are the words of the command line that are not found out: all but region, style and
    mount point.
    """

    config: Config
    has_bucket: bool = True
    has_mountpoint: bool = False
    has_speed: bool = True
    options: tuple[str, ...] = ()


class Examination:
    """The checks of one subject. *command* suits the mount, once all rows are there."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self.command: str | None = None

    def rows(self) -> Iterator[ReportRow]:
        """Yield the row of each check as it ends."""
        logging.getLogger("s3mount").addHandler(logging.NullHandler())  # rows say it
        subject = self._subject
        mount, disk = subject.config.mount, subject.config.disk
        for check in machine_checks(mount, has_mountpoint=subject.has_mountpoint, disk=disk):
            yield run_check(check)
        if not subject.has_bucket:
            return
        drop_empty_variables()
        if subject.config.store.sse_c_key_files:
            forbid_dumps()  # this process will hold keys
        facts = StoreFacts(subject.config.store)
        try:
            for check in _store_checks(facts, is_speed_wanted=subject.has_speed):
                yield run_check(check)
            self.command = suitable_command(subject, facts)
        finally:
            facts.close()


def _store_checks(facts: StoreFacts, *, is_speed_wanted: bool) -> Iterator[Check]:
    yield from network_checks(facts)
    yield from access_checks(facts)
    yield from speed_checks(facts, is_wanted=is_speed_wanted)


def suitable_command(subject: Subject, facts: StoreFacts) -> str | None:
    """Return the command line that mounts the bucket as it was found; None if it was not."""
    endpoint = facts.found_endpoint()
    if endpoint is None:
        return None
    store, mount = subject.config.store, subject.config.mount
    style = "virtual" if endpoint.host.startswith(f"{store.bucket.lower()}.") else "path"
    words = [f"{store.bucket}/{store.prefix}".rstrip("/"), mount.mountpoint]
    words += ["--region", endpoint.region]
    if not store.bucket.startswith("arn:"):  # an access point has no path
        words += ["--addressing-style", style]
    return redacted(shlex.join(["s3mount", *words, *subject.options]))
