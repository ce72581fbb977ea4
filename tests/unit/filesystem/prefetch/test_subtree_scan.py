"""Parts of a parent begin where its keys have them."""

from s3mount.filesystem.listing.directory_listing import DirectoryListing
from s3mount.filesystem.listing.entry_page import Entry
from s3mount.filesystem.prefetch.escaped_subtree import EscapedSubtreeBuilder
from s3mount.filesystem.prefetch.subtree_scan import split_rest
from s3mount.s3.model import ListedObject, ListPage
from s3mount.s3.views.key_escape import KeyEscape
from tests.unit.filesystem.evidence import proven


def test_parts_with_escaped_names_are_in_the_order_of_their_keys() -> None:
    listing = DirectoryListing("bucket", "", 0.0, proven())
    listing.fill([Entry(b"!"), Entry(b"%dir=%file=x"), Entry(b"%e"), Entry(b"%g")], 0)
    builder = EscapedSubtreeBuilder("", "!/", escape=KeyEscape())
    builder.add(ListPage([ListedObject("!/1", 1, 0, "e")], [], "token"), 0.0)

    split = split_rest(builder, listing, parts_max=3, part_pages_min=1)

    assert split.starts == ["%dir=%file=x/", "%g/"]  # of the keys "%file=x/" and "%g/"
