"""Real S3 servers on loopback, on free ports, each with a temporary directory.

`Quirk` and docs/servers.md say how they differ from S3 and from each other.
"""

from tests.servers.gofakes3 import gofakes3
from tests.servers.moto import moto
from tests.servers.rclone import rclone
from tests.servers.seaweedfs import seaweedfs
from tests.servers.server import Quirk, S3Server
from tests.servers.versitygw import versitygw

__all__ = ["Quirk", "S3Server", "gofakes3", "moto", "rclone", "seaweedfs", "versitygw"]
