"""Metrics of the disk tier."""

from s3mount.disk.object_name import MIB
from s3mount.metrics import Metrics
from tests.unit.cache.disk_rig import DiskRig


async def test_the_limit_is_told_before_this_mount_has_written() -> None:
    rig, metrics = DiskRig(), Metrics()

    rig.source.register_metrics(metrics)

    assert metrics.values["disk_bytes_limit"] == rig.disk.limits.size


async def test_what_the_directory_holds_is_told_before_this_mount_has_written() -> None:
    rig, metrics = DiskRig(), Metrics()
    rig.disk.held = 5 * MIB
    rig.source.register_metrics(metrics)

    rig.source.look_at_usage()
    assert metrics.values["disk_bytes_used"] == 0  # nothing waits for it
    await rig.finish()

    assert metrics.values["disk_bytes_used"] == 5 * MIB
