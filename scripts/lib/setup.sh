# What every script here stands on: Debian packages, a virtual environment, and one way to fail.
#
# Python is run with -I wherever root may run it: else it imports from the directory that the caller happens to be in.
#
# Sourced, never run. A second run costs nothing: apt is asked only for what dpkg lacks, pip only when pyproject.toml,
# a lock file, the interpreter or this file changed.
# shellcheck shell=bash

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

# The one list of Debian packages: to run s3mount, to build pyfuse3 (PyPI has its source only), and to test.
RUN_PACKAGES=(fuse3 ca-certificates)
BUILD_PACKAGES=(gcc libc6-dev libfuse3-dev pkg-config)
# shellcheck disable=SC2034 # for scripts/test
TEST_PACKAGES=(attr curl dbus file fio git libpam-systemd rsync sqlite3 systemd tar unzip zip)

die() {
    echo "${0##*/}: $*" >&2
    exit 1
}

usage() { # prints the comment at the head of the script that calls it
    sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
}

has_python_311() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() { # prints the first that is Python 3.11 or newer; $PYTHON is asked before all others
    local candidate PATH=$PATH
    PATH=${PATH//"$root/.venv/bin:"/} # its interpreter goes when .venv is made anew
    for candidate in ${PYTHON:+"$PYTHON"} python3 python3.14 python3.13 python3.12 python3.11; do
        if has_python_311 "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    die "needs Python 3.11 or newer (apt-get install python3)"
}

python_packages() { # what Debian keeps apart from its own interpreter; nothing for others, which bring all with them
    local version
    version=$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2]) if sys.base_prefix == "/usr" else None')
    [[ $version == None || -z $version ]] || echo "python$version-dev python$version-venv"
}

require_packages() { # require_packages PACKAGE...: installs those that dpkg lacks, or names them where it may not
    local missing=() package
    command -v dpkg-query >/dev/null || die "knows Debian and Ubuntu only; elsewhere install the like of: $*"
    for package in "$@"; do
        [[ $(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
    done
    ((${#missing[@]})) || return 0
    ((EUID == 0)) || die "Debian packages are missing: sudo apt-get install ${missing[*]}"
    echo "${0##*/}: installing ${missing[*]}" >&2
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq </dev/null >&2 || echo "${0##*/}: apt-get update failed; trying with the lists that are here" >&2
    apt-get install -qq -y --no-install-recommends "${missing[@]}" </dev/null >&2
}

requirements() { # requirements PYTHON PYPROJECT TABLE KEY: what it lists there, a line each
    "$1" -I - "${@:2}" <<'PY'
import sys, tomllib
_, path, table, key = sys.argv
with open(path, "rb") as file:
    print(*tomllib.load(file)[table][key], sep="\n")
PY
}

constraints() { # the versions of the lock files, without their hashes: pip checks those of all files, or of none
    sed -n 's/^\([^ #]*==[^ ]*\).*/\1/p' "$root/requirements.lock" "$root/requirements-build.lock"
}

install_build_tools() { # install_build_tools VENV: what builds s3mount and pyfuse3, by version and hash, and nothing that is built itself
    "$1/bin/pip" install -q --disable-pip-version-check --require-hashes --only-binary :all: -r "$root/requirements-build.lock" >&2
}

require_venv() { # the checkout itself, editable, with its development group, in .venv
    local python stamp
    python=$(find_python)
    # shellcheck disable=SC2046 # words are wanted
    require_packages "${RUN_PACKAGES[@]}" "${BUILD_PACKAGES[@]}" $(python_packages "$python")
    stamp=$({ cat "$root"/{pyproject.toml,requirements.lock,requirements-build.lock,scripts/lib/setup.sh} && "$python" -VV && echo "$root"; } | sha256sum)
    if [[ $(cat "$root/.venv/stamp" 2>/dev/null) != "$stamp" ]]; then
        echo "${0##*/}: preparing .venv (a minute or so, once)" >&2
        rm -rf "$root/.venv"
        "$python" -I -m venv "$root/.venv"
        requirements "$python" "$root/pyproject.toml" dependency-groups dev >"$root/.venv/development" # pip learnt --group in 25.1
        constraints >"$root/.venv/constraints"
        install_build_tools "$root/.venv"
        local pip=("$root/.venv/bin/pip" install -q --disable-pip-version-check -c "$root/.venv/constraints")
        "${pip[@]}" -r "$root/.venv/development" >&2
        "${pip[@]}" --no-build-isolation -e "$root" >&2
        echo "$stamp" >"$root/.venv/stamp"
    fi
    export PATH="$root/.venv/bin:$PATH"
}
