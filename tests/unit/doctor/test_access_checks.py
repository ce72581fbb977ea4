"""Credentials, region, LIST, HEAD, GET, versions, speed, and the command that is suggested."""

import datetime as dt
import shlex
from collections.abc import Mapping
from pathlib import Path

import pytest

from s3mount.cli.build_config import MountArguments, build_config
from s3mount.cli.parser import parse_arguments
from tests.faults.bucket import Request, Response, failure
from tests.field import kinds
from tests.field.case import BUCKET, KEY_ID, OBJECTS
from tests.field.store import Answer, Oddity, ScriptedStore, Visit
from tests.unit.doctor.report import Doctor, Report, bucket, examine

ALL = (
    *("endpoint", "names", "proxy", "tls", "response", "clock"),
    *("credentials", "region", "list", "head", "get", "versions"),
)


def examined(doctor: Doctor, *oddities: Oddity, objects: Mapping[str, bytes] = OBJECTS) -> Report:
    """Examine a scripted store with *oddities*."""
    with ScriptedStore(bucket(objects), oddities) as store:
        return doctor(store.url)


def is_versions(request: Request) -> bool:
    return "versions" in request.query


def test_every_check_of_a_good_store_is_ok(doctor: Doctor, store: ScriptedStore) -> None:
    store.bucket.put("b", b"b")
    report = doctor(store.url)

    assert [*ALL, "speed"] == [name for name in report.rows if not name.startswith("fuse")]
    assert set(ALL) - {"clock"} <= {*report.names("ok")}
    assert "allowed: 5 names in s3://field/" in report["list"].text
    assert "allowed: an object of 6 bytes" in report["head"].text
    assert report["speed"].text == "--no-speed; "
    assert report.status == 0


# ---- credentials


def test_the_source_of_the_credentials_is_named_and_never_they(
    doctor: Doctor, store: ScriptedStore
) -> None:
    report = doctor(store.url)

    assert report["credentials"].text.startswith("from the environment, without an end")
    assert KEY_ID not in report.output


def test_credentials_that_end_soon_are_a_warning(
    doctor: Doctor, store: ScriptedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", in_minutes(5))
    report = doctor(store.url)

    assert report["credentials"].outcome == "warning"
    assert "minutes)" in report["credentials"].text
    assert "renew them" in report["credentials"].text


def test_expired_credentials_are_a_failure(
    doctor: Doctor, store: ScriptedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", in_minutes(-5))
    report = doctor(store.url)

    assert report["credentials"].outcome == "failure"
    assert "expired (AWS_CREDENTIAL_EXPIRATION): renew them" in report["credentials"].text
    assert report["list"].text == "it depends on credentials, see there; "


def in_minutes(minutes: float) -> str:
    return (dt.datetime.now(dt.UTC) + dt.timedelta(minutes=minutes)).isoformat()


def test_credentials_that_the_store_calls_expired_are_a_failure(doctor: Doctor) -> None:
    report = examined(doctor, kinds.refuses(kinds.LIST, 400, "ExpiredToken"))

    assert report["credentials"].outcome == "ok"
    assert report["list"].outcome == "failure"
    assert "the credentials have expired: renew them" in report["list"].text


def test_a_link_of_the_chain_that_fails_is_named_with_the_reason(
    doctor: Doctor, store: ScriptedStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "config").write_text(
        "[default]\ncredential_process = sh -c 'echo hush-hush >&2; exit 3'\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    report = doctor(store.url)

    assert report["credentials"].outcome == "failure"
    assert "credential_process of profile 'default': it ended with status 3" in report.output
    assert "hush-hush" not in report.output


def test_a_program_that_hangs_ends_in_time(
    doctor: Doctor, store: ScriptedStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "config").write_text("[default]\ncredential_process = sleep 60\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    report = doctor(store.url, "--timeout", "5")  # in which the chain comes to the program

    assert report["credentials"].outcome == "failure"
    assert "does not answer (credential_process)" in report["credentials"].text


def test_unsigned_requests_need_no_credentials(
    doctor: Doctor, store: ScriptedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    report = doctor(store.url, "--no-sign-request")

    assert "not signed" in report["credentials"].text
    assert report["list"].outcome == "ok"
    assert "--no-sign-request" in shlex.split(report.command or "")


# ---- region


def test_a_wrong_region_is_a_failure_with_the_right_one(doctor: Doctor) -> None:
    with ScriptedStore(bucket(), [in_region("eu-north-1")]) as store:
        report = doctor(store.url, "--region", "us-west-2")

    assert report["region"].outcome == "failure"
    assert "use --region eu-north-1, or none" in report["region"].text
    assert report["list"].text == "it depends on region, see there; "


def test_a_region_that_is_found_out_is_suggested(doctor: Doctor) -> None:
    with ScriptedStore(bucket(), [in_region("eu-north-1")]) as store:
        report = doctor(store.url)

    assert report["region"].outcome == "warning"
    assert "--region eu-north-1" in report["region"].text
    assert "--region eu-north-1" in (report.command or "")
    assert report["list"].outcome == report["get"].outcome == "ok"


def in_region(region: str) -> Oddity:
    """Redirect requests that are signed for another region than *region*."""

    def oddity(visit: Visit, answer: Answer) -> Response:
        if f"/{region}/" in visit.request.headers.get("authorization", ""):
            return answer(visit.request)
        return failure(301, "PermanentRedirect", "No").with_header("x-amz-bucket-region", region)

    return oddity


# ---- requests


@pytest.mark.parametrize(
    ("oddity", "name", "outcome", "part"),
    [
        (kinds.refuses(kinds.LIST, 403, "AccessDenied"), "list", "failure", "s3:ListBucket"),
        (kinds.refuses(kinds.LIST, 404, "NoSuchBucket"), "list", "failure", "does not exist"),
        (kinds.refuses(kinds.HEAD, 403, "AccessDenied"), "head", "failure", "s3:GetObject"),
        (kinds.refuses(kinds.HEAD, 404, "NoSuchKey"), "head", "warning", "deleted just now"),
        (kinds.refuses(kinds.GET, 403, "AccessDenied"), "get", "failure", "s3:GetObject"),
        (kinds.refuses(kinds.GET, 500, "InternalError"), "get", "failure", "try again"),
        (kinds.refuses(is_versions, 403, "AccessDenied"), "versions", "warning", "AccessDenied"),
        (kinds.refuses(is_versions, 501, "NotImplemented"), "versions", "ok", "does without"),
        (kinds.header(kinds.GET, "ETag", '"other"'), "get", "warning", "replaced just now"),
        (kinds.busy(2, kinds.GET), "get", "ok", "allowed"),
    ],
)
def test_what_is_refused_is_told_with_the_remedy(
    doctor: Doctor, oddity: Oddity, name: str, outcome: str, part: str
) -> None:
    report = examined(doctor, oddity)

    assert report[name].outcome == outcome
    assert part in report[name].text
    assert report.status == (outcome == "failure")


def test_a_failure_of_head_does_not_end_what_follows(doctor: Doctor) -> None:
    report = examined(doctor, kinds.refuses(kinds.HEAD, 403, "AccessDenied"))

    assert report["get"].outcome == report["versions"].outcome == "ok"


def test_an_empty_bucket_is_a_warning_and_nothing_is_read(doctor: Doctor) -> None:
    report = examined(doctor, objects={})

    assert report["list"].outcome == "warning"
    assert "check the spelling" in report["list"].text
    assert "no object to read" in report["head"].text
    assert report.status == 0


def test_an_object_in_a_directory_is_found_and_an_archived_one_is_not_read(doctor: Doctor) -> None:
    archived = kinds.swap("STANDARD", "GLACIER", match=kinds.LIST)
    deep = examined(doctor, objects={"d/e/f": b"deep"})
    frozen = examined(doctor, archived, objects={"a": b"frozen"})

    assert "an object of 4 bytes" in deep["head"].text
    assert "no object to read" in frozen["head"].text


def test_a_store_that_wants_the_bucket_in_the_host_is_found_so(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedStore(bucket(), [kinds.virtual_hosted_only()]) as store:
        monkeypatch.setenv("HTTP_PROXY", store.url)  # it knows the host
        report = doctor(f"http://s3.test:{store.port}")

    assert report["list"].outcome == "ok"
    assert "--addressing-style virtual" in (report.command or "")


# ---- speed


def test_the_speed_is_measured_within_its_bounds(
    capfd: pytest.CaptureFixture[str],
) -> None:
    objects = {"big": bytes(3 << 20)}
    with ScriptedStore(bucket(objects)) as store:
        report = examine(
            capfd, BUCKET, "--endpoint-url", store.url, "--max-connections", "4", "--region", "a"
        )

    assert "ms for a HEAD" in report["round trip"].text
    assert "MiB/s: 32.0 MiB in " in report["one connection"].text
    assert "of an object of 3,145,728 bytes" in report["4 connections"].text
    assert report.status == 0


def test_reads_that_fail_are_a_failure_of_the_speed(capfd: pytest.CaptureFixture[str]) -> None:
    refusal = kinds.refuses(kinds.GET, 403, "AccessDenied")
    with ScriptedStore(bucket(), [refusal]) as store:
        report = examine(capfd, BUCKET, "--endpoint-url", store.url)

    assert report["one connection"].outcome == "failure"
    assert "no byte was read" in report["one connection"].text


# ---- the command


def test_the_suggested_command_has_the_options_and_what_was_found(
    capfd: pytest.CaptureFixture[str], store: ScriptedStore, tmp_path: Path
) -> None:
    store.bucket.put("photos/a b/c", b"c")
    config = tmp_path / "a config.toml"
    config.write_text(f'bucket = "{BUCKET}/photos"\nmetadata-ttl = 5\n')
    options = ("--config", str(config), "--endpoint-url", store.url, "-o", "noexec,ro")
    others = ("--path-style", "--allow-other", "--no-prefetch", "walks", "--no-speed")
    report = examine(capfd, *options, *others)
    words = shlex.split(report.command or "")
    parsed = parse_arguments(words[1:])

    assert words[:3] == ["s3mount", "field/photos", "/mnt/field"]
    assert isinstance(parsed, MountArguments)
    mount = build_config(parsed)
    assert mount.store.region == "us-east-1"
    assert (mount.store.style, mount.store.endpoint_url) == ("path", store.url)
    assert (mount.tree.metadata_ttl, mount.mount.allow_other) == (5.0, True)
    assert "noexec" in mount.mount.fuse_options
    assert "--path-style" not in words
