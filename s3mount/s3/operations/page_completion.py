"""Completion of a listing page by HEAD: of the objects whose size or version it does not tell.

Some stores leave parts of a row out. A page that cannot be completed is partial, never invalid.
"""

from dataclasses import replace

from s3mount.errors import NotFound, S3MountError
from s3mount.s3.model import ListedObject, ListPage, ObjectStat, Reason, RowOddity
from s3mount.s3.operations.head_object import HeadObject
from s3mount.s3.transport import Retryable

COMPLETED_MAX = 100  # objects of one page that are requested by themselves, one after another


def complete_page(
    page: ListPage, head_object: HeadObject, deadline: float, reason: Reason
) -> ListPage:
    """Return *page* with the objects that it has in `incomplete`, each requested by HEAD.

    An object that is gone is left out. One whose HEAD fails makes the page partial. *reason* is why
    the page was requested.
    """
    objects, lost = page.objects.copy(), max(0, len(page.incomplete) - COMPLETED_MAX)
    # from the end: an insertion moves none of the rows before it
    for index, key in reversed(page.incomplete[:COMPLETED_MAX]):
        try:
            stat = head_object.head(key, deadline=deadline, reason=reason)
        except NotFound:
            continue
        except (S3MountError, Retryable):  # the lookup of its name will tell why
            lost += 1
            continue
        objects.insert(index, _listed(stat))
    if not lost:
        return replace(page, objects=objects, incomplete=())
    odd_rows = (*page.odd_rows, (RowOddity.NOT_FOUND_OUT, lost))
    return replace(page, objects=objects, odd_rows=odd_rows, incomplete=(), is_partial=True)


def _listed(stat: ObjectStat) -> ListedObject:
    version = stat.version
    return ListedObject(version.key, version.size, stat.mtime_ns, version.etag, stat.storage_class)
