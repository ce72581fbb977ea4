"""A bucket whose requesters pay: what it charges is counted, whatever the transport."""

from pathlib import Path

import pytest

from tests.faults.bucket import Bucket, Request, Response, failure
from tests.faults.hostile_store import HostileStore
from tests.mount.control_client import control_client
from tests.mount.filesystem_access import read_tree
from tests.mount.mount_process import mounted
from tests.reference import tree_of

BODIES = {"a": b"1", "dir/b": b"22", "dir/deep/c": bytes(3 << 20)}
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "AKIDPAYS", "AWS_SECRET_ACCESS_KEY": "secret"}


class ChargingBucket(Bucket):
    """Bucket that refuses who does not pay, and says of each request that it was charged."""

    def _respond(self, request: Request) -> Response:
        if request.headers.get("x-amz-request-payer") != "requester":
            return failure(403, "AccessDenied", "Bucket is a requester pays bucket")
        return super()._respond(request).with_header("x-amz-request-charged", "requester")


@pytest.mark.parametrize("list_version", ["1", "2"])
@pytest.mark.parametrize("transport", ["native", "boto3"])
def test_charged_requests_are_counted(transport: str, list_version: str, tmp_path: Path) -> None:
    bucket = ChargingBucket("charging")
    for key, body in BODIES.items():
        bucket.put(key, body)
    with (
        HostileStore(bucket) as store,
        mounted(
            "charging",
            tmp_path / "mnt",
            *("--endpoint-url", store.url, "--region", "us-east-1", "--path-style"),
            *("--requester-pays", "--transport", transport, "--list-version", list_version),
            env=CREDENTIALS,
        ) as mount,
        control_client(mount.path) as client,
    ):
        assert read_tree(mount.path) == tree_of(BODIES)
        (mount / "absent").exists()

        status = client.ask("status")
        sent = sum(kind["sent"] for kind in status["requests"].values())
        refused = sum(kind["failed"] for kind in status["requests"].values())
        assert (status["charged"], refused) == (sent, 0)
        assert sent == len(store.requests)
