# The paths of an installation; sourced by scripts/install and scripts/uninstall.
# shellcheck shell=bash disable=SC2034,SC2154 # root is set by setup.sh

PROGRAM=/opt/s3mount
COMMANDS=(s3mount s3mount-clear s3mountctl)
MOUNT_HELPERS=(/sbin/mount.s3mount /sbin/mount.fuse.s3mount)
SYSTEM_UNIT=/usr/local/lib/systemd/system/s3mount@.service
USER_UNIT=/usr/local/lib/systemd/user/s3mount@.service
SYSUSERS=/usr/local/lib/sysusers.d/s3mount.conf
SHARE=/usr/local/share # manual pages and completions, as in share/ here
CONFIGURATION=/etc/s3mount
STATE=/var/lib/s3mount
CACHE=/var/cache/s3mount # of --cache-dir: CacheDirectory= of the unit
RUNTIME=/run/s3mount

shared_files() { # prints the paths of share/, relative to it
    find "$root/share" -type f -printf '%P\n'
}

is_booted_with_systemd() { # sd_booted(3)
    [[ -d /run/systemd/system ]]
}
