"""Metrics of the disk tier."""

from s3mount.metrics import Metrics
from tests.unit.cache.disk_rig import DiskRig


async def test_the_limit_is_told_before_this_mount_has_written() -> None:
    rig, metrics = DiskRig(), Metrics()

    rig.source.register_metrics(metrics)

    assert metrics.values["disk_bytes_limit"] == rig.disk.limits.size
