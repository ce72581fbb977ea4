"""Reference model: the tree that a mount of a set of keys shows.

The only definition of correctness in the tests. Pure, slow and obvious: one key at a time, no
pages, no order. Each decision cites its line of docs/semantics.md, "Names".
"""

from collections.abc import Iterator, Mapping
from typing import Generic, TypeAlias, TypeVar

Object = TypeVar("Object")  # what a test wants to know of a file: its body, its size or its version

NAME_MAX = 255  # bytes, see limits.h


class Directory(dict[bytes, "Object | Directory[Object]"], Generic[Object]):
    """Names in a directory: each an object, or another directory."""


Node: TypeAlias = Object | Directory[Object]


def tree_of(objects: Mapping[str, Object], prefix: str = "") -> Directory[Object]:
    """Return the tree of all keys below *prefix* (empty, or ending with a slash)."""
    root = Directory[Object]()
    for key, value in objects.items():
        if key.startswith(prefix):
            _insert(root, key[len(prefix) :], value)
    return root


def _insert(root: Directory[Object], key: str, value: Object) -> None:
    *above, last = key.split("/")  # "A key is split at `/`."
    directory = root
    for component in above:
        name = encode(component)
        if not can_be_a_name(name):
            # "… hides the key from the tree; the valid directories above it are shown."
            return
        below = directory.get(name)
        if not isinstance(below, Directory):  # "a directory shadows a file of its name"
            below = directory[name] = Directory()
        directory = below
    name = encode(last)
    if not last:
        return  # `d/`: "directory `d`, empty; the marker object itself is not shown"
    if can_be_a_name(name) and not isinstance(directory.get(name), Directory):
        directory[name] = value


def can_be_a_name(name: bytes) -> bool:
    """Return False if *name* is "empty, `.`, `..`, with a NUL, or over 255 bytes"."""
    return name not in (b"", b".", b"..") and b"\0" not in name and len(name) <= NAME_MAX


def encode(text: str) -> bytes:
    """Return the bytes of a component: "the same bytes", composed or not, valid UTF-8 or not."""
    return text.encode("utf-8", "surrogateescape")


def files_of(tree: Directory[Object], path: bytes = b"") -> Iterator[tuple[bytes, Object]]:
    """Yield every file of *tree* with its path from the root, without a leading slash."""
    for name, node in tree.items():
        if isinstance(node, Directory):
            yield from files_of(node, path + name + b"/")
        else:
            yield path + name, node


def directories_of(tree: Directory[Object], path: bytes = b"") -> Iterator[bytes]:
    """Yield the path of every directory of *tree* but the root."""
    for name, node in tree.items():
        if isinstance(node, Directory):
            yield path + name
            yield from directories_of(node, path + name + b"/")


def look(tree: Directory[Object], path: bytes) -> Node[Object] | None:
    """Return the node at *path* (components between slashes, empty for the root), or None."""
    node: Node[Object] = tree
    for name in path.split(b"/") if path else ():
        if not isinstance(node, Directory) or name not in node:
            return None
        node = node[name]
    return node
