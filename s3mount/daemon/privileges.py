"""Dropping privileges for good: as another user, or as the present one.

Invariants after `become` or `give_up`, read back from the kernel:

1. All user and group ids, and the groups, are those of the user.
2. No capability is permitted, effective, inheritable or ambient; the bounding set is empty if it
   could be emptied.
3. No program that is run gains a capability, not even as root.
4. Only root can read this process's memory.

See docs/decisions/run-as.md.
"""

import os
import pwd
from collections.abc import Sequence

from s3mount.daemon import syscalls
from s3mount.errors import SetupError
from s3mount.frozen_dataclass import dataclass


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the password database."""

    name: str
    uid: int
    gid: int
    home: str


def account(name: str) -> Account:
    """Look up the user *name*. Raises SetupError."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise SetupError(f"--run-as: there is no user {name!r}") from None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir)


def become(user: Account) -> None:
    """Become *user*, with that user's groups and home. Raises SetupError.

    To be called by root before any thread starts: capabilities belong to threads.
    """
    groups = os.getgrouplist(user.name, user.gid)
    try:
        is_bounded = _forbid_gains()
        os.setgroups(groups)
        _retain_nothing(user.uid, user.gid)
    except OSError as exc:
        raise SetupError(
            f"--run-as: becoming {user.name} is not permitted: {exc.strerror}; start as root"
        ) from exc
    _check_nothing_is_left(user.uid, user.gid, groups, is_bounded=is_bounded)
    # for boto3's chain, which looks for ~/.aws, and for the programs that it runs
    os.environ.update(HOME=user.home, USER=user.name, LOGNAME=user.name)


def give_up() -> None:
    """Keep the user and groups, and drop every capability. Raises SetupError.

    To be called before any thread starts. Root without capabilities still owns root's files.
    """
    uid, gid, groups = os.geteuid(), os.getegid(), os.getgroups()
    try:
        is_bounded = _forbid_gains()
        _retain_nothing(uid, gid)
    except OSError as exc:
        raise SetupError(f"giving up privileges failed: {exc.strerror}") from exc
    _check_nothing_is_left(uid, gid, groups, is_bounded=is_bounded)


def _forbid_gains() -> bool:
    """Let no program gain privileges. Return whether the bounding set is empty now."""
    is_bounded = syscalls.has_capability(syscalls.CAP_SETPCAP)
    syscalls.forbid_new_privileges()
    syscalls.forbid_root_capabilities()
    syscalls.bound_capabilities(())
    return is_bounded


def _retain_nothing(uid: int, gid: int) -> None:
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    syscalls.retain_capabilities(())
    syscalls.forbid_dumps()


def _check_nothing_is_left(uid: int, gid: int, groups: Sequence[int], *, is_bounded: bool) -> None:
    sets = ("CapEff", "CapPrm", "CapInh", "CapAmb", *(("CapBnd",) if is_bounded else ()))
    wrong = [name for name in sets if syscalls.capabilities(name)]
    facts = {
        "user ids": set(os.getresuid()) == {uid},
        "group ids": set(os.getresgid()) == {gid},
        "groups": set(os.getgroups()) == set(groups),
        "no_new_privs": not syscalls.has_new_privileges(),
        "dumpable": not syscalls.is_dumpable(),
    }
    wrong += [name for name, is_right in facts.items() if not is_right]
    if wrong:
        raise SetupError(f"privileges are left after giving them up: {', '.join(wrong)}")
