"""Bucket of a store that tells no ETags, and honours conditions on times (RFC 9110, section 13)."""

import email.utils
import re
import time
from dataclasses import replace

from tests.faults.bucket import Blob, Bucket, Kind, Request, Response


class UntaggedBucket(Bucket):
    """Its objects have the times that they are put with."""

    def put_at(self, seconds: int, key: str, body: bytes) -> None:
        """Put *body*, modified at *seconds* since 1970."""
        self.put(key, body)
        blob = self._current(key)
        assert blob is not None
        self._versions[key][-1] = replace(blob, mtime=float(seconds))

    def _respond(self, request: Request) -> Response:
        if request.kind is Kind.LIST:
            page = super()._respond(request)
            page = page.with_body(re.sub(rb"<ETag>.*?</ETag>", b"", page.body))
            return page.with_header("Date", email.utils.formatdate(time.time(), usegmt=True))
        if request.kind is not Kind.BUCKET:
            blob = self._current(request.key)
            refused = None if blob is None else self._refused(request, blob)
            if refused is not None:
                return refused
        return super()._respond(request).with_header("ETag", None)

    @staticmethod
    def _refused(request: Request, blob: Blob) -> Response | None:
        since = request.headers.get("if-modified-since")
        if since is not None and blob.mtime <= _seconds(since):
            modified = email.utils.formatdate(blob.mtime, usegmt=True)
            return Response(304, (("Last-Modified", modified),))
        unmodified = request.headers.get("if-unmodified-since")
        if unmodified is not None and blob.mtime > _seconds(unmodified):
            return Response(412, (("Content-Length", "0"),))
        return None


def _seconds(date: str) -> float:
    return email.utils.parsedate_to_datetime(date).timestamp()
