"""Settings of the environment and of profiles: heeded, harmless, or named in one line.

Each row is a case. Botocore's exceptions name neither the variable nor the file (botocore #2395),
and some of its settings are no errors to it (boto3 #3338).
"""

from collections.abc import Iterator, Mapping
from itertools import count

from tests.field.case import KEY_ID, NATIVE, SECRET, Case, reads

NO_KEYS: dict[str, str | None] = {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}
KEYS = f"aws_access_key_id = {KEY_ID}\naws_secret_access_key = {SECRET}\n"
DEFAULT = f"[default]\n{KEYS}"
CREDENTIALS, CONFIG = ".aws/credentials", ".aws/config"
ROLE = "role_arn = arn:aws:iam::123456789012:role/reader\n"
SESSION = "[sso-session s]\nsso_region = us-east-1\nsso_start_url = https://x.invalid/start\n"
SSO = "[default]\nsso_session = s\nsso_account_id = 123456789012\nsso_role_name = r\n"
SSO_CACHE = ".aws/sso/cache/a0f1490a20d0211c997b44bc357e1972deab8ae3.json"  # sha1 of "s"
NO_SERVICE = {
    "AWS_ENDPOINT_URL_STS": "http://127.0.0.1:9",
    "AWS_REGION": "eu-west-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
WEB = {
    **NO_SERVICE,
    "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/r",
    "AWS_WEB_IDENTITY_TOKEN_FILE": "{home}/token",
}

_numbers = count(1)


def mistake(
    refused: str,
    environ: Mapping[str, str | None],
    home: Mapping[str, str] | None = None,
    *options: str,
) -> Case:
    """Return the case of a mount that is refused with a line that matches."""
    shown = ", ".join(f"{name}={value!r}" for name, value in environ.items() if value is not None)
    return Case(
        f"mistake {next(_numbers)} {_subject(environ, home or {})}",
        f"An environment with {shown or 'no variables'}, and the files {sorted(home or {})}.",
        environ=environ,
        home=home or {},
        options=options,
        refused=refused,
        transports=NATIVE,
    )


def harmless(
    environ: Mapping[str, str | None], home: Mapping[str, str] | None = None, log: str = ""
) -> Case:
    """Return the case of a mount that comes up."""
    return Case(
        f"harmless {next(_numbers)} {_subject(environ, home or {})}",
        f"An environment with {dict(environ)}, and the files {sorted(home or {})}.",
        environ=environ,
        home=home or {},
        steps=(reads("a.txt"),),
        log=(log,) if log else (),
        transports=NATIVE,
    )


def _subject(environ: Mapping[str, str | None], home: Mapping[str, str]) -> str:
    """Return what the case is about, for its name."""
    names = [name for name in environ if name not in {*NO_KEYS, *NO_SERVICE}]
    return (names or [name.rpartition("/")[2] for name in home] or ["keys"])[-1]


def keyless(
    refused: str,
    home: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
    *options: str,
) -> Case:
    """Return a mistake without keys in the environment."""
    return mistake(refused, {**NO_KEYS, **NO_SERVICE, **(environ or {})}, home, *options)


def process(refused: str, command: str) -> Case:
    """Return the mistake of a credential_process."""
    config = {CONFIG: f"[default]\ncredential_process = {command}\n"}
    return keyless(f"credential_process of profile 'default': .*{refused}", config)


def printing(refused: str, members: str) -> Case:
    return process(refused, f"echo '{{{members}}}'")


def role(refused: str, text: str, arn: str = ROLE) -> Case:
    return keyless(refused, {CONFIG: f"[default]\n{arn}{text}"})


def _files() -> Iterator[Case]:
    yield harmless({"AWS_CONFIG_FILE": "{home}/none"}, log="AWS_CONFIG_FILE.* does not exist")
    yield mistake(r"AWS_CONFIG_FILE\) is not a regular file", {"AWS_CONFIG_FILE": "{home}"})
    yield keyless(
        "no credentials found.*AWS_SHARED_CREDENTIALS_FILE.* does not exist",
        environ={"AWS_SHARED_CREDENTIALS_FILE": "{home}/none"},
    )
    yield keyless(
        "AWS_SHARED_CREDENTIALS_FILE.* is not a regular",
        environ={"AWS_SHARED_CREDENTIALS_FILE": "{home}"},
    )
    file = "~/.aws/credentials"
    yield keyless(f"{file}, line 1: it begins with a byte order", {CREDENTIALS: f"\ufeff{DEFAULT}"})
    yield keyless(f"{file}, line 4: .*default.* twice", {CREDENTIALS: DEFAULT * 2})
    yield keyless(
        f"{file}, line 4: aws_access_key_id is there twice",
        {CREDENTIALS: f"{DEFAULT}aws_access_key_id = x\n"},
    )
    yield keyless(f"{file}, line 1: a .section", {CREDENTIALS: KEYS})
    yield keyless(f"{file}, line 4: it is neither", {CREDENTIALS: f"{DEFAULT}{SECRET}\n"})
    yield keyless("~/.aws/config: indented", {CONFIG: "[default]\ns3 =\n  addressing_style\n"})
    yield harmless(NO_KEYS, {CREDENTIALS: DEFAULT.replace("\n", "\r\n")})
    yield harmless(NO_KEYS, {CREDENTIALS: DEFAULT.replace("aws_", "AWS_")})


def _profiles() -> Iterator[Case]:
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
        yield mistake(f"{name}: there is no profile 'nobody'", {name: "nobody"})
    yield mistake("--profile: there is no profile 'nobody'", {}, {}, "--profile", "nobody")
    yield keyless(
        r"\[profile dev\] in ~/.aws/config", {CONFIG: f"[dev]\n{KEYS}"}, {"AWS_PROFILE": "dev"}
    )
    yield harmless({"AWS_PROFILE": ""})
    yield harmless({"AWS_CONFIG_FILE": "", "AWS_CA_BUNDLE": "", "AWS_DEFAULTS_MODE": ""})


def _keys() -> Iterator[Case]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        other = next(each for each in NO_KEYS if each != name)
        yield keyless(other, environ={name: "x"})
    yield keyless(
        "AWS_SESSION_TOKEN is set without AWS_ACCESS_KEY_ID", {}, {"AWS_SESSION_TOKEN": "x"}
    )
    for name in (*NO_KEYS, "AWS_SESSION_TOKEN"):
        for value in ("x\n", "x\r", " x", '"x"', "'x'"):
            yield mistake(f"{name} (contains|stands)", {name: value})
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN"):
        yield mistake(f"{name} contains a character", {name: "é"})
    yield mistake("AWS_CREDENTIAL_EXPIRATION is not a time", {"AWS_CREDENTIAL_EXPIRATION": "soon"})
    yield mistake(
        r"expired \(AWS_CREDENTIAL_EXPIRATION\)",
        {"AWS_CREDENTIAL_EXPIRATION": "2020-01-01T00:00:00Z"},
    )
    yield keyless(
        "aws_access_key_id contains white space",
        {CREDENTIALS: DEFAULT.replace(KEY_ID, f"{KEY_ID} # mine")},
    )
    yield keyless("aws_secret_access_key", {CREDENTIALS: "[default]\naws_access_key_id = x\n"})
    yield keyless(
        "without aws_access_key_id", {CREDENTIALS: "[default]\naws_secret_access_key=x\n"}
    )


def _roles() -> Iterator[Case]:
    below = f"[profile below]\n{KEYS}"
    yield role('role_arn.* source_profile "nobody".*does not exist', "source_profile = nobody\n")
    yield role("role_arn.*source_profile or credential_source is missing", "")
    yield role(
        "source_profile and credential_source",
        f"source_profile = below\ncredential_source = Environment\n{below}",
    )
    yield role(
        "role_arn.*source_profile leads back",
        f"source_profile = b\n[profile b]\n{ROLE}source_profile = default\n",
    )
    yield role("role_arn.*Moon", "credential_source = Moon\n")
    yield role("role_arn.*credential_source", "credential_source = Environment\n")
    yield role("role_arn.*the ARN", f"source_profile = below\n{below}", "role_arn = r\n")
    waits = ("--start-timeout", "2")
    yield keyless(
        "does not answer.*role_arn of profile",
        {CONFIG: f"[default]\n{ROLE}source_profile = below\n{below}"},
        None,
        *waits,
    )
    yield role(
        "'default' has mfa_serial.*get-session-token",
        f"source_profile = below\nmfa_serial = arn:aws:iam::1:mfa/u\n{below}",
    )
    yield keyless(
        "none.* cannot be read", environ={**WEB, "AWS_WEB_IDENTITY_TOKEN_FILE": "{home}/none"}
    )
    yield keyless(
        "AWS_WEB_IDENTITY_TOKEN_FILE: .*", environ={**WEB, "AWS_WEB_IDENTITY_TOKEN_FILE": "{home}"}
    )
    yield keyless(
        "AWS_ROLE_ARN is set without AWS_WEB", environ={"AWS_ROLE_ARN": WEB["AWS_ROLE_ARN"]}
    )
    yield keyless(
        "AWS_ROLE_ARN", {"token": "token"}, {"AWS_WEB_IDENTITY_TOKEN_FILE": "{home}/token"}
    )
    yield keyless("AWS_ROLE_ARN.*the ARN", {"token": "token"}, {**WEB, "AWS_ROLE_ARN": "reader"})
    yield keyless("does not answer.*AWS_ROLE_ARN", {"token": "token"}, WEB, *waits)


def _logins() -> Iterator[Case]:
    yield keyless("SSO of profile 'default': .*sso-session does not exist", {CONFIG: SSO})
    for cached in ("{garbage", "{}", '{"accessToken": "x", "expiresAt": "soon"}'):
        yield keyless("run 'aws sso login'", {CONFIG: SSO + SESSION, SSO_CACHE: cached})
    yield keyless("run 'aws sso login'", {CONFIG: SSO + SESSION})
    yield keyless(
        "sso_region",
        {
            CONFIG: "[default]\nsso_account_id = 1\nsso_role_name = r\nsso_start_url = https://x.invalid\n"
        },
    )
    yield keyless(
        "login_session of profile", {CONFIG: "[default]\nlogin_session = arn:aws:iam::1:user/u\n"}
    )


def _processes() -> Iterator[Case]:
    yield process("'/no/such/program' cannot be run", f"/no/such/program {SECRET}")
    yield process("cannot be run", "{home}")
    yield process("status 3", f"sh -c 'echo {SECRET} >&2; exit 3'")
    yield process("killed by signal 9", "sh -c 'kill -9 $$'")
    yield process("no JSON", f"echo {SECRET}")
    yield process("no JSON object", "echo [1]")
    yield process("quotation mark", "sh -c 'echo")
    yield process("program is missing", "")
    yield printing('no "Version": 1', '"Version": 2, "AccessKeyId": "A", "SecretAccessKey": "s"')
    yield printing("no SecretAccessKey", '"Version": 1, "AccessKeyId": "A"')
    yield printing("no AccessKeyId", '"Version": 1, "AccessKeyId": 1, "SecretAccessKey": "s"')
    whole = '"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "s", "Expiration": '
    yield printing("have expired", f'{whole}"2020-01-01T00:00:00Z"')
    yield printing("Expiration that is no time", f'{whole}"soon"')
    yield printing("without a time zone", f'{whole}"2099-01-01T00:00:00"')


def _services() -> Iterator[Case]:
    full, token = "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN"
    for address in ("http://example.invalid/x", "garbage"):
        yield keyless(f"{full}: not an address", environ={full: address})
    yield keyless(
        f"{full}: there are no credentials",
        None,
        {full: "http://127.0.0.1:9/x"},
        *("--start-timeout", "2"),
    )
    yield keyless(token, environ={full: "http://127.0.0.1:9/x", token: "a\nb"})
    yield keyless(
        f"{token}_FILE cannot be read",
        environ={full: "http://127.0.0.1:9/x", f"{token}_FILE": "{home}/none"},
    )
    relative = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"
    yield keyless(f"{relative}: .* begins with /", environ={relative: "x"})
    metadata = {"AWS_EC2_METADATA_DISABLED": "false"}
    endpoint = "AWS_EC2_METADATA_SERVICE_ENDPOINT"
    yield keyless(
        "no credentials found.*the instance metadata service gives none.*--start-timeout",
        None,
        {**metadata, endpoint: "http://127.0.0.1:9"},
        *("--start-timeout", "3"),
    )
    yield keyless(endpoint, environ={**metadata, endpoint: "garbage"})
    yield mistake(f"{endpoint}_MODE", {f"{endpoint}_MODE": "ipv5"})


def _settings() -> Iterator[Case]:
    for name, value in (
        ("AWS_METADATA_SERVICE_TIMEOUT", "soon"),
        ("AWS_METADATA_SERVICE_TIMEOUT", "0.5"),
        ("AWS_METADATA_SERVICE_NUM_ATTEMPTS", "x"),
        ("AWS_DEFAULTS_MODE", "x"),
        ("AWS_STS_REGIONAL_ENDPOINTS", "x"),
        ("AWS_USE_FIPS_ENDPOINT", "yes"),
        ("AWS_USE_DUALSTACK_ENDPOINT", "1"),
        ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "x"),
        ("AWS_S3_DISABLE_MULTIREGION_ACCESS_POINTS", "x"),
        ("AWS_S3_US_EAST_1_REGIONAL_ENDPOINT", "x"),
        ("AWS_S3_USE_ARN_REGION", "x"),
        ("AWS_S3_DISABLE_EXPRESS_SESSION_AUTH", "x"),
        ("AWS_ACCOUNT_ID_ENDPOINT_MODE", "x"),
        ("AWS_REQUEST_MIN_COMPRESSION_SIZE_BYTES", "-1"),
        ("AWS_REQUEST_MIN_COMPRESSION_SIZE_BYTES", "0"),
        ("SSLKEYLOGFILE", "/none/x"),
        *(
            (name, region)
            for name in ("AWS_REGION", "AWS_DEFAULT_REGION")
            for region in ("eu north", " eu-west-1", "eu-west-1\n", "eu_west", "é", '"eu"', "a.b")
        ),
    ):
        yield mistake(name, {name: value})
    for line in (
        *("max_attempts = x", "retry_mode = x", "output = x", "cli_pager =", "tcp_keepalive = x"),
        *("request_checksum_calculation = x", "auth_scheme_preference = x", "ca_bundle = /none"),
    ):
        yield harmless({}, {CONFIG: f"[default]\n{line}\n"})
    for line in (
        *("defaults_mode = x", "sts_regional_endpoints = x", "use_fips_endpoint = x"),
        *("account_id_endpoint_mode = x", "api_versions = x", "region = eu west", "s3 = path"),
        *("services = none", "metadata_service_timeout = x"),
    ):
        yield mistake(
            f"{line.split()[0]} of profile 'default'", {}, {CONFIG: f"[default]\n{line}\n"}
        )
    yield mistake(
        "profile 'default' .*none.* sso_session configuration does not exist",
        {},
        {CONFIG: "[default]\nsso_session = none\n"},
    )
    yield mistake(
        "api_versions of profile 'default'",
        {},
        {CONFIG: "[default]\napi_versions =\n  s3 = 1999-01-01\n"},
    )
    for line in ("addressing_style = x", "use_accelerate_endpoint = x", "use_arn_region = x"):
        yield mistake(
            f"s3.{line.split()[0]} of profile 'default'",
            {},
            {CONFIG: f"[default]\ns3 =\n  {line}\n"},
        )


def _unused() -> Iterator[Case]:
    for name, value in (
        ("AWS_MAX_ATTEMPTS", "x"),
        ("AWS_RETRY_MODE", "x"),
        ("AWS_REQUEST_CHECKSUM_CALCULATION", "x"),
        ("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_supported"),
        ("AWS_SIGV4A_SIGNING_REGION_SET", "*"),
        ("AWS_AUTH_SCHEME_PREFERENCE", "sigv4a"),
        ("AWS_DATA_PATH", "/none"),
        ("AWS_CSM_PORT", "x"),
        ("AWS_SDK_UA_APP_ID", "a\nb"),
        ("AWS_EXECUTION_ENV", "é"),
        ("AWS_ACCOUNT_ID", "x"),
        ("AWS_USE_FIPS_ENDPOINT", "true"),  # an endpoint of one's own stays
        ("AWS_CA_BUNDLE", "/none"),
        ("SSL_CERT_FILE", "/none"),
        ("BOTO_CONFIG", "/none"),
        ("TMPDIR", "/none"),
        ("LC_ALL", "xx_YY.UTF-8"),
        ("TZ", "Nowhere/é"),
        ("HOME", "/none"),
    ):
        yield harmless({name: value})
    yield harmless({"HOME": None})


CASES = (
    *_files(),
    *_profiles(),
    *_keys(),
    *_roles(),
    *_logins(),
    *_processes(),
    *_services(),
    *_settings(),
    *_unused(),
)
