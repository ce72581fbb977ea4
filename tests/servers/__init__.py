"""Real S3 servers, each on loopback, on free ports, over a directory of its own that goes with it.

How they differ from S3 and from each other is said by `Quirk`, and in docs/servers.md.
"""

from tests.servers.moto import moto
from tests.servers.rclone import rclone
from tests.servers.seaweedfs import seaweedfs
from tests.servers.server import Quirk, S3Server

__all__ = ["Quirk", "S3Server", "moto", "rclone", "seaweedfs"]
