"""Ends of response bodies: how long the header says that a body is, and where it has to end."""

from s3mount.s3.transport import InvalidResponseError, Response

WORTH_DRAINING = 64 * 1024  # bytes of a body; reading less costs less than a new connection


def check_body_ends(response: Response, rest: int) -> None:
    """Raise InvalidResponseError unless the body ends *rest* bytes from here.

    A long rest is not read, and costs the connection.
    """
    if rest > WORTH_DRAINING:
        return
    if rest:
        response.skip(rest)
    if not response.is_at_end():
        raise InvalidResponseError("the body is longer than it should be")


def is_sized(response: Response) -> bool:
    """Whether the header says how long the body is; else only its end does."""
    headers = response.headers
    return response.status != 200 or "content-length" in headers or "content-range" in headers


def is_as_stored(response: Response) -> bool:
    """Whether each byte of the body is one of the object: nothing can have packed it unnoticed."""
    headers = response.headers
    return "content-length" in headers or (is_sized(response) and "content-encoding" not in headers)
