"""Reports about networks: redirects, host names, addresses, proxies."""

from tests.field import kinds
from tests.field.case import Case, Run, fails, in_time, reads, reads_all
from tests.field.kinds import GET


def followed_unsigned(run: Run) -> None:
    """Check that the second store got requests, and no signature, token or key."""
    requests = run.elsewhere.requests
    assert requests
    for request in requests:
        assert "authorization" not in request.headers
        assert not any("token" in name for name in request.headers)


CASES = (
    *(
        Case(
            f"GET is redirected by {status}",
            f"A store answers GET with {status} and the Location of another host.",
            oddities=(kinds.redirects(GET, status),),
            steps=(fails("EIO", "a.txt"),),
            log=("--follow-redirects",),
        )
        for status in (302, 307, 308)
    ),
    *(
        Case(
            f"a redirect by {status} is followed if allowed",
            f"A store answers GET with {status} and the Location of another host.",
            oddities=(kinds.redirects(GET, status),),
            options=("--follow-redirects",),
            steps=(reads_all(), followed_unsigned),
        )
        for status in (302, 307, 308)
    ),
    Case(
        "redirects go round",
        "Two hosts redirect to each other.",
        oddities=(kinds.redirects(GET),),
        elsewhere=(kinds.redirects(GET),),
        options=("--follow-redirects",),
        steps=(in_time(8, fails("EIO", "a.txt")),),
        log=("redirect",),
    ),
    Case(
        "only virtual-hosted names are served, and the endpoint has a name",
        "OSS, TOS, COS and OBS refuse the bucket in the path at an endpoint of one's own.",
        oddities=(kinds.virtual_hosted_only(),),
        host="s3.test",
        addresses=("127.0.0.1",),
    ),
    Case(
        "only virtual-hosted names are served, and the option says so",
        "OSS, TOS, COS and OBS refuse the bucket in the path at an endpoint of one's own.",
        oddities=(kinds.virtual_hosted_only(),),
        host="s3.test",
        addresses=("127.0.0.1",),
        options=("--addressing-style", "virtual"),
    ),
    Case(
        "only virtual-hosted names are served, and the refusal names the option",
        "OSS refuses the bucket in the path with SecondLevelDomainForbidden.",
        oddities=(kinds.virtual_hosted_only(),),
        host="s3.test",
        addresses=("127.0.0.1",),
        options=("--addressing-style", "path"),
        refused="--addressing-style",
    ),
    Case(
        "the bucket has a tenant",
        "Ceph names the bucket of another tenant as tenant:bucket.",
        source="tenant:bucket",
    ),
    Case(
        "the first address of the store is dead",
        "A name has two addresses, and the first ignores connections.",
        host="s3.test",
        addresses=("127.0.0.2", "127.0.0.1"),
        starts_within=6,
        steps=(in_time(1.5, reads("a.txt")), in_time(3, reads_all())),
    ),
)
