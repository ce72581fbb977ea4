"""Reports about the environment: refused keys, SSE-C, region, MFA."""

from tests.field import kinds
from tests.field.case import (
    BOTH,
    KEY_ID,
    NATIVE,
    SECRET,
    Case,
    Run,
    Step,
    fails,
    in_time,
    lists,
    reads,
    reads_all,
    repeats,
    writes_home,
)

NO_KEYS: dict[str, str | None] = {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}


def keys(key_id: str) -> str:
    return f"[default]\naws_access_key_id = {key_id}\naws_secret_access_key = {SECRET}\n"


def _sends_each_once(key: str) -> Step:
    """Check that each failure in the log cost one request for *key*."""

    def step(run: Run) -> None:
        failures = run.mount.log_file.read_text().count("EACCES: ")
        assert failures == len([each for each in run.requests() if each.key == key])

    return step


CASES = (
    Case(
        "a profile has an MFA device",
        "A profile with mfa_serial asks for a code, and ends in an internal error.",
        environ={**NO_KEYS, "AWS_PROFILE": "mfa"},
        home={
            ".aws/credentials": keys(KEY_ID),
            ".aws/config": "[profile mfa]\nsource_profile = default\n"
            "role_arn = arn:aws:iam::123456789012:role/reader\n"
            "mfa_serial = arn:aws:iam::123456789012:mfa/somebody\n",
        },
        refused="mfa",
        transports=NATIVE,
    ),
    Case(
        "the region is in AWS_REGION",
        "AWS_REGION is what the newer tools read; AWS_DEFAULT_REGION is not set.",
        oddities=(
            kinds.refuses(
                lambda request: "/eu-west-3/s3/" not in request.headers["authorization"],
                403,
                "SignatureDoesNotMatch",
            ),
        ),
        environ={"AWS_REGION": "eu-west-3"},
        transports=BOTH,
    ),
    *(
        Case(
            f"keys are replaced in their file, after {status} {code}",
            f"A store says {code} of keys that have been replaced in their file meanwhile.",
            oddities=(
                kinds.after(3, kinds.ANY, kinds.accepts_keys("AKIDNEW", status=status, code=code)),
            ),
            environ=NO_KEYS,
            home={".aws/credentials": keys(KEY_ID)},
            options=("--metadata-ttl", "0"),
            steps=(
                writes_home(".aws/credentials", keys("AKIDNEW")),
                in_time(6, reads("a.txt")),
                reads_all(),
            ),
            may_log=(code,),
        )
        for status, code in (
            (403, "AccessDenied"),
            (403, "InvalidTokenId"),
            (400, "ExpiredToken"),
            (403, "InvalidAccessKeyId"),
            (403, "SignatureDoesNotMatch"),
            (403, "InvalidClientTokenId"),
            (403, "UnrecognizedClientException"),
            (400, "InvalidToken"),
            (401, "AuthFailure"),
            (403, "TokenRefreshRequired"),
        )
    ),
    *(
        Case(
            f"the {name} is spoilt while mounted",
            "awslogs #367: what edits the file leaves it malformed, and the old keys expire.",
            oddities=(kinds.after(3, kinds.ANY, kinds.refuses(kinds.ANY, 400, "ExpiredToken")),),
            environ=NO_KEYS,
            home={".aws/credentials": keys(KEY_ID)},
            options=("--metadata-ttl", "0"),
            steps=(
                writes_home(".aws/credentials", text),
                in_time(3, fails("EACCES", "a.txt")),
            ),
            log=(f"EACCES: .*{reason}",),
        )
        for name, text, reason in (
            ("file of keys", f"{keys('A')}{SECRET}\n", "~/.aws/credentials, line 4: it is neither"),
            ("key in its file", keys("A B"), "aws_access_key_id contains white space"),
            ("profile", "[other]\nregion = x\n", "no credentials found"),
        )
    ),
    Case(
        "a refusal of unchanged keys in a file sends nothing more",
        "s3fs-fuse #2378, rclone #7961: only keys that have changed are tried again.",
        oddities=(kinds.refuses(kinds.of(kinds.OBJECT, "a.txt"), 403, "AccessDenied"),),
        environ=NO_KEYS,
        home={".aws/credentials": keys(KEY_ID)},
        options=("--metadata-ttl", "0"),
        steps=(
            lists("", "a.txt", "empty", "photos", "z"),
            in_time(2, fails("EACCES", "a.txt")),
            _sends_each_once("a.txt"),
        ),
        log=("EACCES: .*AccessDenied",),
    ),
    *(
        Case(
            f"an object is encrypted with a customer key, {store}",
            "s3fs-fuse #1567, boto3 #1482, thanos #7784: HEAD says 400 without a body.",
            oddities=(kinds.refuses(kinds.of(kinds.OBJECT, "a.txt"), 400, code),),
            environ=NO_KEYS,
            home={".aws/credentials": keys(KEY_ID)},
            options=("--metadata-ttl", "0"),
            steps=(
                in_time(2, fails("EACCES", "a.txt")),
                repeats(3, in_time(1, fails("EACCES", "a.txt"))),
                reads("z"),
            ),
            log=("EACCES: .*SSE-C",),
        )
        for store, code in (("AWS and MinIO", "InvalidRequest"), ("Ceph", "InvalidArgument"))
    ),
    *(
        Case(
            f"404 of {name} is no absence",
            report,
            oddities=(kinds.after(1, kinds.ANY, kinds.refuses(kinds.ANY, 404, code)),),
            options=("--metadata-ttl", "0"),
            steps=(
                in_time(5, fails(errno_name, "a.txt", lambda path: path.stat())),
                in_time(5, fails(errno_name, "new", lambda path: path.stat())),
                in_time(5, fails(errno_name, "", lambda path: list(path.iterdir()))),
            ),
            log=(f"{errno_name}: .*{code}",),
            transports=BOTH,
        )
        for name, code, errno_name, report in (
            (
                "keys that were deleted",
                "XAdminUserNotFound",
                "EACCES",
                "versitygw says 404 of an access key that it does not know, a HEAD without a code.",
            ),
            (
                "a bucket that was deleted",
                "NoSuchBucket",
                "EIO",
                "A bucket that is gone, or hidden, looks like an empty one.",
            ),
            ("a tenant", "NoSuchTenant", "EIO", "A gateway says 404 of what it cannot route."),
        )
    ),
)
