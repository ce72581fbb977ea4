"""The import contracts of pyproject.toml: each one breaks on an import that it forbids."""

from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from pathlib import Path

import grimp
import pytest
from importlinter.api import read_configuration
from importlinter.contracts.forbidden import ForbiddenContract
from importlinter.contracts.layers import LayersContract
from importlinter.contracts.protected import ProtectedContract
from importlinter.domain.contract import Contract

_TYPES: Mapping[str, type[Contract]] = {
    "forbidden": ForbiddenContract,
    "layers": LayersContract,
    "protected": ProtectedContract,
}

# the importer, what it imports, and a part of the name of the contract that breaks
WRONG_IMPORTS = [
    ("s3mount.daemon.startup", "s3mount.cli.options", "packages import downwards"),
    ("s3mount.cache.block", "s3mount.filesystem.names", "packages import downwards"),
    ("s3mount.fuse.operations", "s3mount.control.server", "packages import downwards"),
    ("s3mount.control.protocol", "trio", "clients share the protocol"),
    ("s3mount.control.command_set", "s3mount.filesystem.names", "makes what serves"),
    ("s3mount.daemon.startup", "s3mount.doctor.report", "packages import downwards"),
    ("s3mount.doctor.facts", "s3mount.cli.options", "packages import downwards"),
    ("s3mount.s3.bucket_check", "s3mount.s3.composition", "the store"),
    ("s3mount.doctor.network", "trio", "trio"),
    ("s3mount.errors", "s3mount.config", "packages import downwards"),
    ("s3mount.new_module", "s3mount.errors", "packages import downwards"),
    ("s3mount.filesystem.prefetch.new", "s3mount.filesystem.handles.new", "the file system"),
    ("s3mount.filesystem.listing.new", "s3mount.filesystem.namespace.tree", "the file system"),
    ("s3mount.filesystem.new_module", "s3mount.filesystem.names", "the file system"),
    ("s3mount.s3.native.new", "s3mount.s3.boto.transport", "the store"),
    ("s3mount.s3.boto.new", "s3mount.s3.scheduling.limiter", "the store"),
    ("s3mount.s3.scheduling.new", "s3mount.s3.operations.new", "the store"),
    ("s3mount.s3.endpoint.tls", "s3mount.s3.native.transport", "the store"),
    ("s3mount.s3.new_module", "s3mount.s3.model", "the store"),
    ("s3mount.cli.parser", "s3mount.daemon.privileges", "the command line"),
    ("s3mount.ctl.status", "s3mount.daemon.privileges", "s3mountctl is a client"),
    ("s3mount.ctl.client", "s3mount.control.locations", "s3mountctl is a client"),
    ("s3mount.cli.parser", "rich", "rich is met"),
    ("s3mount.cli.options", "s3mount.s3.model", "the command line"),
    ("s3mount.daemon.lifecycle", "s3mount.cache.block_cache", "makes what serves"),
    ("s3mount.daemon.startup", "s3mount.fuse.session", "makes what serves"),
    ("s3mount.fuse.operations", "s3mount.s3.remote_store", "above s3"),
    ("s3mount.cache.block_cache", "s3mount.s3.transport", "above s3"),
    ("s3mount.daemon.startup", "s3mount.s3.endpoint.resolve", "above s3"),
    ("s3mount.daemon.lifecycle", "s3mount.daemon.wiring", "the composition root is imported"),
    ("s3mount.daemon.startup", "pyfuse3", "pyfuse3"),
    ("s3mount.s3.native.transport", "trio", "trio"),
    ("s3mount.s3.remote_store", "botocore", "botocore"),
    ("s3mount.daemon.wiring", "boto3", "botocore"),
    ("s3mount.s3.native.transport", "urllib3", "urllib3"),
    ("s3mount.daemon.startup", "click", "click"),
    ("s3mount.exposition.listening_socket", "s3mount.exposition.server", "the exposition"),
    ("s3mount.verification.evidence", "s3mount.verification.part_layouts", "verification"),
    ("s3mount.daemon.startup", "prometheus_client", "prometheus-client"),
    ("s3mount.daemon.lifecycle", "pythonjsonlogger", "JSON"),
    ("s3mount.disk.index", "s3mount.disk.eviction", "the disk cache"),
    ("s3mount.disk.new_module", "s3mount.disk.segment", "the disk cache"),
    ("s3mount.disk.disk_cache", "s3mount.s3.model", "packages import downwards"),
    ("s3mount.cache.block_cache", "xxhash", "xxhash"),
    ("s3mount.cache.block", "s3mount.cache.block_loader", "the block cache"),
    ("s3mount.cache.new_module", "s3mount.cache.ranges", "the block cache"),
    ("s3mount.cache.block_loader", "s3mount.cache.disk_tier.source", "the tiers of the block"),
    ("s3mount.cache.readahead.stride", "s3mount.cache.readahead.policy", "readahead policies"),
]


@cache
def _contracts() -> Mapping[str, Contract]:
    read = read_configuration(str(Path(__file__).parents[2] / "pyproject.toml"))
    return {
        each["name"]: _TYPES[each["type"]](each["name"], read["session_options"], each)
        for each in read["contracts_options"]
    }


@cache
def _graph() -> grimp.ImportGraph:
    return grimp.build_graph("s3mount", include_external_packages=True, cache_dir=None)


def _broken(graph: grimp.ImportGraph) -> list[str]:
    """Return the names of the contracts that *graph* breaks."""
    return [
        name
        for name, contract in _contracts().items()
        if not contract.check(deepcopy(graph), verbose=False).kept
    ]


def test_every_contract_is_kept() -> None:
    assert _broken(_graph()) == []


@pytest.mark.parametrize(("importer", "imported", "contract"), WRONG_IMPORTS)
def test_a_wrong_import_breaks_its_contract(importer: str, imported: str, contract: str) -> None:
    graph = deepcopy(_graph())
    graph.add_import(importer=importer, imported=imported)

    assert [name for name in _broken(graph) if contract in name] != []


def test_every_contract_has_a_wrong_import_here() -> None:
    for name in _contracts():
        assert any(contract in name for *_, contract in WRONG_IMPORTS), name
