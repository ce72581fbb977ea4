"""Redaction of text that is shown: what gives access in a signed URL, and users of URLs.

A user may take a signed URL for the name of a bucket, and a store may redirect to one. Names that
object keys may have as well (`token=2024/`) are redacted only in a query. Pure, and linear in the
length of the text.
"""

import re
from typing import Final

_REDACTED: Final = "*"  # no longer than what it replaces

# AWS, Google Cloud, Alibaba, Tencent, Huawei and others: version 4 and its like, then older ones
_OWN_NAMES: Final = (
    r"X-[A-Z]{2,6}-(?:Signature|Credential|Security-Token|Token|Authorization)"
    r"|(?:AWS|OSS)AccessKeyId|GoogleAccessId|q-signature|q-ak"
)
# Azure's shared access signatures, and any parameter that is named for what it is
_QUERY_NAMES: Final = (
    r"sig|s[evprst]|srt|sip|spr|sk[a-z]{1,3}"
    r"|[\w.-]{0,40}(?:token|secret|passw|signature|credential|access[-_]?key|access[-_]?id"
    r"|api[-_]?key|auth)[\w.-]{0,40}"
)
_EQUALS: Final = r"(?:=|%3D)"
_VALUE: Final = r"(?:(?!%26)[^&\s])+"
_SIGNED: Final = re.compile(
    rf"((?:{_OWN_NAMES}|(?:[?&;#]|%3F|%26)(?:{_QUERY_NAMES})){_EQUALS}){_VALUE}", re.IGNORECASE
)
_HTTP: Final = r"(?:https?|socks\w{0,3})"
# a long password, such as a token; it has no other URL in it, which keeps this linear
_LONG: Final = r"(?:[^\s@:]|:(?!//)){1,8000}"
# a password may contain anything; other schemes have names in which "@" is usual; messages of our
# own say how a proxy is named
_USER: Final = re.compile(
    rf"(?:({_HTTP}://)(?!USER:PASSWORD@HOST)(?:(?:[^\s@]{{1,200}}|{_LONG})@)+"
    rf"|(\b(?!\w{{0,19}}{_HTTP}:)[a-z]\w{{0,19}}://)[^\s@/?#]{{0,200}}:[^\s@/?#]{{0,200}}@)",
    re.IGNORECASE,
)


def redacted(text: str) -> str:
    """Return *text* without signatures, tokens, and users and passwords of URLs.

    It is idempotent, and makes no text longer.
    """
    if "@" in text:
        text = _USER.sub(lambda match: f"{match[1] or match[2]}{_REDACTED}@", text)
    if "=" in text or "%3" in text:
        text = _SIGNED.sub(rf"\1{_REDACTED}", text)
    return text
