"""Check that a directory was listed lately, by the records that a mount has left."""

from s3mount.filesystem.namespace.invalidations import DirectoryKey, directories_of
from s3mount.filesystem.persistence.record_fields import MalformedRecord
from s3mount.filesystem.persistence.record_format import MetadataRecords


async def was_listed(records: MetadataRecords, directory: DirectoryKey, since: float) -> bool:
    """Whether *directory* was requested after *since*, and is not refreshed since then."""
    store, keys, form = records
    bucket, prefix = directory
    times = [keys.refresh((bucket, above)) for above in directories_of(prefix)]
    found = await store.get([keys.header(directory), keys.names(directory), *times])
    if found[0] is None:
        return False
    try:
        listed_at = form.read_header(found[0]).requested_at
        void_until = [form.read_time(content) for content in found[1:] if content is not None]
    except MalformedRecord:
        return False
    known = [time for time in void_until if time is not None]
    if listed_at is None or len(known) < len(void_until):
        return False
    return listed_at > max([since, *known])
