"""Reports about networks: redirects, host names, addresses, proxies."""

from tests.field.case import Case, Run


def followed_unsigned(run: Run) -> None:
    """Check that the second store got requests, and no signature, token or key."""
    requests = run.elsewhere.requests
    assert requests
    for request in requests:
        assert "authorization" not in request.headers
        assert not any("token" in name for name in request.headers)


CASES: tuple[Case, ...] = ()
