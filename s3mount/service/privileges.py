"""Becoming a user with nothing left, for good.

Invariants once `become` has returned: all user and group ids are the account's; no capability is permitted, effective, inheritable or
ambient; no program that is run gets any. It is checked, not assumed. See docs/decisions/run-as.md.
"""

import os
import pwd
from dataclasses import dataclass

from s3mount.errors import SetupError
from s3mount.service import syscalls


@dataclass(frozen=True, slots=True)
class Account:
    """A user of this machine, as the password database has it."""

    name: str
    uid: int
    gid: int
    home: str


def account(name: str) -> Account:
    """Raises SetupError."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise SetupError(f"--run-as: there is no user {name!r}") from None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir)


def become(user: Account) -> None:
    """Be *user* from here on, with that user's groups and home; raises SetupError.

    To be called before any thread is started: capabilities belong to threads.
    """
    try:
        syscalls.forbid_new_privileges()
        syscalls.bound_capabilities(())
        if os.geteuid() == 0:
            os.setgroups(os.getgrouplist(user.name, user.gid))
        os.setresgid(user.gid, user.gid, user.gid)
        os.setresuid(user.uid, user.uid, user.uid)
        syscalls.retain_capabilities(())
    except OSError as exc:
        raise SetupError(f"--run-as: becoming {user.name} is not permitted: {exc.strerror}; start as root") from exc
    _check_nothing_is_left(user)
    # where boto3's chain looks for ~/.aws, and what the programs it runs take for their own
    os.environ.update(HOME=user.home, USER=user.name, LOGNAME=user.name)


def _check_nothing_is_left(user: Account) -> None:
    left = [name for name in ("CapEff", "CapPrm", "CapInh", "CapAmb") if syscalls.capabilities(name)]
    if left or set(os.getresuid()) != {user.uid} or set(os.getresgid()) != {user.gid}:
        raise SetupError(f"--run-as: something is left of root's rights after becoming {user.name}: {', '.join(left)}")
