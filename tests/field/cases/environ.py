"""Reports about the environment: variables, profiles, keys, proxies."""

from tests.field import kinds
from tests.field.case import (
    KEY_ID,
    SECRET,
    Case,
    in_time,
    pauses,
    reads,
    reads_all,
    writes_home,
)

NO_KEYS: dict[str, str | None] = {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}


def keys(key_id: str) -> str:
    return f"[default]\naws_access_key_id = {key_id}\naws_secret_access_key = {SECRET}\n"


CASES = (
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
                pauses(0.1),
                in_time(6, reads("a.txt")),
                reads_all(),
            ),
            may_log=(code,),
        )
        for status, code in (
            (400, "ExpiredToken"),
            (403, "InvalidAccessKeyId"),
        )
    ),
)
