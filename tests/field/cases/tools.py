"""Reports of programs on a mount: archivers, databases, media players, file servers."""

import ctypes
import fcntl
import mmap
import os
import shutil
import sqlite3
import subprocess
import tarfile
import tempfile
import zipfile
from io import BytesIO
from pathlib import Path

from tests.field import kinds
from tests.field.case import NATIVE, SAMPLED, Case, Run, Step, lists, reads_all
from tests.field.kinds import GET
from tests.field.store import Oddity
from tests.mount.filesystem_access import failure_of, output_of

TREE = {
    "a.txt": b"first\n",
    "empty": b"",
    "photos/2024/one.jpg": bytes(range(256)) * 4000,
    "photos/two.jpg": b"second\n" * 100,
    "new\nline": b"nl",
    "-rf": b"rf",
    "x" * 255: b"xx",
    "e\u0301": b"decomposed",
    "\u00e9": b"composed",
}
SMALL_PARTS = ("--part-size", "1MiB")


def _archive() -> bytes:
    """Return a zip of members that need seeks."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(60):
            archive.writestr(f"m{number}", os.urandom(40_000) + b"%d" % number)
    return buffer.getvalue()


def _database() -> bytes:
    """Return a database of SQLite in WAL mode, without its log."""
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, text TEXT)")
    rows = ((number, f"row {number}" * 30) for number in range(5000))
    connection.executemany("INSERT INTO t VALUES (?, ?)", rows)
    connection.commit()
    return connection.serialize()


FILES = {"z.zip": _archive(), "d.sqlite": _database(), "plain": bytes(range(253)) * 9000}


def tar_holds_all(run: Run) -> None:
    """Check the members of an archive that GNU tar makes, and that it complains of nothing."""
    archive = run.home / "all.tar"
    done = subprocess.run(
        ["tar", "--format=posix", "-C", run.mount.path, "-cf", archive, "."],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 0
    found = {}
    with tarfile.open(archive) as members:
        for member in members:
            if member.isfile():
                file = members.extractfile(member)
                assert file is not None
                found[member.name.removeprefix("./")] = file.read()
    assert {name: len(body) for name, body in run.case.objects.items()} == {
        name: len(body) for name, body in found.items()
    }
    assert run.case.objects == found


def copied_by(*words: str) -> Step:
    """Check the tree that a program copies into a fresh directory."""

    def step(run: Run) -> None:
        copy = run.home / "copy"
        copy.mkdir()
        output_of(*words, f"{run.mount.path}/.", f"{copy}/")
        found = {
            str(path.relative_to(copy)): path.read_bytes()
            for path in copy.rglob("*")
            if path.is_file()
        }
        assert run.case.objects == found
        output_of("chmod", "-R", "u+w", copy)
        shutil.rmtree(copy)

    return step


def zip_reads(run: Run) -> None:
    with zipfile.ZipFile(run.path("z.zip")) as archive:
        assert archive.testzip() is None
        assert archive.read("m59").endswith(b"59")


def sqlite_reads(options: str) -> Step:
    def step(run: Run) -> None:
        uri = f"file:{run.path('d.sqlite')}?{options}"
        connection = sqlite3.connect(uri, uri=True)
        try:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            found = connection.execute("SELECT count(*), max(id) FROM t").fetchone()
        finally:
            connection.close()
        assert found == (5000, 4999)

    return step


def seeks(run: Run) -> None:
    """Read the end, then the head, then places in between, as media players do."""
    body = run.case.objects["plain"]
    with run.path("plain").open("rb", buffering=0) as file:
        for offset in (len(body) - 65_536, 0, 1_200_000, 300_000, len(body) - 10, len(body) + 5):
            file.seek(offset)
            assert body[offset : offset + 32_768] == file.read(32_768)
        assert file.seek(0, os.SEEK_END) == len(body)
        assert os.lseek(file.fileno(), 0, os.SEEK_HOLE) == len(body)
        assert os.lseek(file.fileno(), 7, os.SEEK_DATA) == 7


def direct(run: Run) -> None:
    """Check what dd reads around the page cache."""
    copy = run.home / "direct"
    output_of("dd", f"if={run.path('plain')}", f"of={copy}", "bs=1M", "iflag=direct")
    assert run.case.objects["plain"] == copy.read_bytes()


def copies_in_kernel(run: Run) -> None:
    """Check sendfile, which file servers use."""
    body = run.case.objects["plain"]
    source = os.open(run.path("plain"), os.O_RDONLY)
    try:
        with (run.home / "sent").open("wb") as target:
            sent = 0
            while done := os.sendfile(target.fileno(), source, sent, len(body)):
                sent += done
        assert body == (run.home / "sent").read_bytes()
    finally:
        os.close(source)


def locks(run: Run) -> None:
    """Check that readers can lock, as databases and file servers do."""
    with run.path("plain").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.lockf(file, fcntl.LOCK_UN)


def maps_in_pieces(run: Run) -> None:
    body = run.case.objects["plain"]
    with run.path("plain").open("rb") as file:
        with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
            mapped.madvise(mmap.MADV_RANDOM)
            assert mapped.find(body[-20:]) == body.find(body[-20:])
            assert body == mapped[:]
        private = mmap.mmap(file.fileno(), 8192, flags=mmap.MAP_PRIVATE)
        private[0:3] = b"own"
        assert body[:3] == file.read(3)
        private.close()


def is_watched(run: Run) -> None:
    """Check that inotify accepts the directory."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(os.O_NONBLOCK)
    assert libc.inotify_add_watch(descriptor, os.fsencode(run.mount.path), 0xFFF) > 0
    os.close(descriptor)


def is_read_only(run: Run) -> None:
    """Check what scripts ask before they write, and what happens if they do not ask."""
    path = run.mount.path
    assert not os.access(path / "a.txt", os.W_OK)
    assert not os.access(path, os.W_OK)
    assert os.statvfs(path).f_flag & os.ST_RDONLY
    for call in (
        (path / "a.txt").touch,
        lambda: (path / "a.txt").open("r+b"),
        lambda: (path / "a.txt").open("ab"),
        lambda: os.setxattr(path / "a.txt", "user.x", b"1"),
        lambda: (path / "b").hardlink_to(path / "a.txt"),
        lambda: (path / "c").symlink_to("a"),
        lambda: os.mkfifo(path / "p"),
        lambda: os.truncate(path / "a.txt", 0),
        lambda: (path / "a.txt").rename(path / "q"),
    ):
        assert failure_of(call) == "EROFS"


def finds_and_sums(run: Run) -> None:
    """Check find and du, which take the sizes and the times of listings."""
    total = sum(len(body) for body in run.case.objects.values())
    found = output_of("find", run.mount.path, "-type", "f", "-printf", "%s\n").split()
    assert total == sum(map(int, found))
    summed = output_of("du", "-sb", "--apparent-size", run.mount.path).split()[0]
    assert total == int(summed)
    reference = run.home / "reference"
    reference.touch()
    os.utime(reference, (4_000_000_000, 4_000_000_000))
    assert output_of("find", run.mount.path, "-newer", reference) == ""


def clones(run: Run) -> None:
    """Check a clone of the repository on the mount, as deployments make."""
    copy = run.home / "clone"
    output_of(
        *("git", "-c", "safe.directory=*", "clone", "-q", "--no-local"),
        *(run.mount.path / "repo.git", copy),
    )
    assert (copy / "file").read_text() == "content\n" * 5000


def _repository() -> dict[str, bytes]:
    """Return the files of a bare repository with a pack."""
    with tempfile.TemporaryDirectory() as folder:
        work, bare = Path(folder, "work"), Path(folder, "bare")
        git = ("git", "-c", "user.name=n", "-c", "user.email=e@x.invalid", "-c", "gc.auto=0")
        # a git hook that runs tests sets GIT_DIR, which would be this checkout's
        inherited = {name: text for name, text in os.environ.items() if name[:4] != "GIT_"}
        environ = {**inherited, "GIT_CONFIG_NOSYSTEM": "1", "HOME": folder}

        def run(*words: str | Path) -> None:
            subprocess.run([*git, *words], check=True, capture_output=True, env=environ)

        run("init", "-q", work)
        (work / "file").write_text("content\n" * 5000)
        run("-C", work, "add", "file")
        run("-C", work, "commit", "-q", "-m", "one")
        run("clone", "-q", "--bare", work, bare)
        run("-C", bare, "repack", "-adq")
        files = {
            f"repo.git/{path.relative_to(bare)}": path.read_bytes()
            for path in bare.rglob("*")
            if path.is_file()
        }
        return files | {"repo.git/refs/": b"", "repo.git/objects/": b""}


def grows(run: Run) -> None:
    """Check that a file which is replaced by a longer one is seen whole, as tail -F reads it."""
    body = run.case.objects["a.txt"]
    with run.path("a.txt").open("rb") as file:
        assert body == file.read()
        run.store.bucket.put("a.txt", body * 9)
        assert body * 9 == run.path("a.txt").read_bytes()
        assert output_of("tail", "-c", "7", run.path("a.txt")) == (body * 9)[-7:].decode()


LARGER = kinds.list_sizes(lambda size: size + 28)
SMALLER = kinds.list_sizes(lambda size: size // 2)
NO_SIZE = kinds.list_sizes(lambda _: 0)

_STORES: tuple[tuple[str, tuple[Oddity, ...]], ...] = (
    ("a plain store", ()),
    ("a store that lists larger sizes", (LARGER,)),
    ("a store that lists smaller sizes", (SMALLER,)),
    ("a store that lists sizes of 0", (NO_SIZE,)),
    ("a store without If-Match", (kinds.refuses_if_match,)),
    ("a store without ranges", (kinds.without_ranges(501),)),
    ("a store that cuts bodies", (kinds.cuts_bodies(300_000),)),
)

CASES = (
    *(
        Case(
            f"{tool} copies from {store}",
            "s3fs-c #10, s3proxy #51 (Intrinsec): sizes and contents of copies are wrong.",
            oddities=oddities,
            objects=TREE,
            options=SMALL_PARTS,
            steps=(step,),
            transports=SAMPLED if not oddities else NATIVE,
        )
        for tool, step in (
            ("tar", tar_holds_all),
            ("rsync", copied_by("rsync", "-a")),
            ("rsync by checksums", copied_by("rsync", "-ac", "--inplace")),
            ("cp -a", copied_by("cp", "-a")),
            ("cp with holes", copied_by("cp", "-r", "--sparse=always")),
        )
        for store, oddities in _STORES
    ),
    *(
        Case(
            f"random readers on {store}",
            "mountpoint-s3 #1155, svfs: databases, archives and players seek in files.",
            oddities=oddities,
            objects=FILES,
            options=SMALL_PARTS,
            steps=(
                *(zip_reads, seeks, direct, copies_in_kernel, locks, maps_in_pieces),
                *(sqlite_reads("mode=ro"), sqlite_reads("immutable=1")),
            ),
            within=20.0,
            transports=SAMPLED if not oddities else NATIVE,
        )
        for store, oddities in _STORES
    ),
    Case(
        "a repository is cloned",
        "mountpoint-s3 and others: git on a read-only mount.",
        objects=_repository(),
        steps=(clones,),
        within=20.0,
    ),
    Case(
        "scripts ask before they write",
        "s3fs, rclone: backup programs and scanners test with access(2).",
        steps=(is_read_only, is_watched, reads_all()),
    ),
    Case(
        "find and du take sizes of listings",
        "goofys, s3fs: find -newer, du -sb, locate's updatedb.",
        objects=TREE,
        steps=(finds_and_sums, finds_and_sums),
    ),
    Case(
        "a log grows",
        "s3fs #1252: a file that others append to is cut at its former size.",
        options=("--metadata-ttl", "0"),
        steps=(grows,),
    ),
    Case(
        "a walk of a large tree by two programs",
        "goofys, geesefs: updatedb and a scanner walk at the same time.",
        oddities=(kinds.slow(GET, 0.01),),
        objects={f"d{n % 9}/e{n % 5}/{n}": b"%d" % n for n in range(400)},
        page_size=50,
        steps=(lists("", *(f"d{n}" for n in range(9))), finds_and_sums, reads_all()),
    ),
)
