"""SeaweedFS: a complete store with versions and conditional requests, over HTTP and HTTPS."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import trustme
from botocore.exceptions import BotoCoreError, ClientError

from tests.servers.running import START_LIMIT, program, reserved_ports, running
from tests.servers.server import Quirk, S3Server
from tests.waiting import wait_until

QUIRKS = frozenset(
    {Quirk.KEYS_ARE_PATHS, Quirk.LISTS_BY_DIRECTORY, Quirk.NO_ARCHIVE, Quirk.BACKSLASH_IS_SLASH}
)


@contextmanager
def seaweedfs() -> Iterator[tuple[S3Server, S3Server]]:
    """Run one SeaweedFS, and return it as an HTTP and as an HTTPS server."""
    with (
        TemporaryDirectory(prefix="seaweedfs-", ignore_cleanup_errors=True) as home,
        reserved_ports(9) as ports,
    ):
        plain = S3Server("seaweedfs", f"http://127.0.0.1:{ports[0]}", QUIRKS)
        bundle = _make_certificate(Path(home))
        secure = replace(
            plain,
            name="seaweedfs-https",
            endpoint_url=f"https://127.0.0.1:{ports[1]}",
            ca_bundle=bundle,
        )
        _write_identity(Path(home), plain)
        # killed at once: an orderly end takes 15 s, and its data is deleted anyway
        try:
            with running(
                _command(Path(home), ports), port=ports[0], log=Path(home, "log"), patience=0
            ) as check_running:
                _wait_writable(plain, check_running)
                yield plain, secure
        finally:
            _remove_sockets(ports)


def _remove_sockets(ports: list[int]) -> None:
    """Remove the sockets that SeaweedFS makes in /tmp for each port, whatever TMPDIR says."""
    for port in ports:
        for path in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
            path.unlink(missing_ok=True)


def _make_certificate(home: Path) -> Path:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    certificate.private_key_pem.write_to_path(home / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(home / "certificate.pem")
    authority.cert_pem.write_to_path(home / "ca.pem")
    return home / "ca.pem"


def _write_identity(home: Path, server: S3Server) -> None:
    keys = {"accessKey": server.access_key, "secretKey": server.secret_key}
    identity = {"name": "tests", "credentials": [keys], "actions": ["Admin"]}
    (home / "identities.json").write_text(json.dumps({"identities": [identity]}))


def _command(home: Path, ports: list[int]) -> list[str]:
    s3, https, s3_grpc, master, master_grpc, volume, volume_grpc, filer, filer_grpc = map(
        str, ports
    )
    folder = home / "volumes"
    folder.mkdir()
    return [
        *("env", "WEED_MASTER_VOLUME_GROWTH_COPY_1=1"),  # one volume for a bucket instead of seven
        *(program("weed"), "-logtostderr"),
        *("server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
        *(f"-master.port={master}", f"-master.port.grpc={master_grpc}"),
        *("-master.volumeSizeLimitMB=256", "-master.telemetry=false", "-master.electionTimeout=1s"),
        *(f"-volume.port={volume}", f"-volume.port.grpc={volume_grpc}", "-volume.max=10000"),
        *(f"-filer.port={filer}", f"-filer.port.grpc={filer_grpc}"),
        *(
            "-s3",
            f"-s3.port={s3}",
            f"-s3.port.grpc={s3_grpc}",
            f"-s3.config={home / 'identities.json'}",
        ),
        *("-s3.iam=false", "-s3.port.iceberg=0", "-s3.port.lance=0"),
        *(
            f"-s3.port.https={https}",
            f"-s3.cert.file={home / 'certificate.pem'}",
            f"-s3.key.file={home / 'key.pem'}",
        ),
    ]


def _wait_writable(server: S3Server, check_running: Callable[[], None]) -> None:
    client = server.client(retries={"total_max_attempts": 1})

    def is_writable() -> bool:
        check_running()
        with suppress(BotoCoreError, ClientError):
            client.create_bucket(Bucket="warm-up")
            client.put_object(Bucket="warm-up", Key="warm-up", Body=b"warm-up")
            client.delete_object(Bucket="warm-up", Key="warm-up")
            client.delete_bucket(Bucket="warm-up")
            return True
        return False

    wait_until(is_writable, START_LIMIT)
