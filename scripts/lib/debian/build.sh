# Functions that lay out the Debian package, for scripts/package, which sets work, python and python_version.
#
# The package is built in $work/deb from $work/source and from the wheels; the files beside this one are
# its control files, in which @NAME@ stands for a value.
# shellcheck shell=bash disable=SC2154

DEB_PROGRAM=/usr/lib/s3mount
stage=

build_deb() {
    stage=$work/deb
    stage_program
    stage_commands
    stage_units
    stage_configuration
    stage_share
    stage_documentation
    stage_control
    check_stage
    find "$stage" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
    dpkg-deb --root-owner-group -Zxz --build "$stage" "$work/dist" >&2
}

stage_program() { # a virtual environment without pip, activation and RECORDs: dpkg knows its files
    local program=$stage$DEB_PROGRAM packages
    packages=$program/lib/python$python_version/site-packages
    "$python" -I -m venv --without-pip "$program"
    "$work/tools/bin/pip" --python "$program/bin/python3" install -q --disable-pip-version-check --no-index --no-deps --no-compile \
        "$work"/wheels/*.whl "$work"/dist/*.whl >&2
    rm -rf "${program:?}"/{include,lib64,share} "$packages"/*.dist-info/{RECORD,REQUESTED,direct_url.json}
    printf 'dpkg\n' | tee "$packages"/*.dist-info/INSTALLER >/dev/null
    printf 'home = /usr/bin\ninclude-system-site-packages = false\nversion = %s\n' "$python_version" >"$program/pyvenv.cfg"
    # shellcheck disable=SC2046 # words are wanted
    find "$program/bin" -mindepth 1 $(printf '! -name %s ' "${COMMANDS[@]}" mount.s3mount) -delete
    ln -s "../../../bin/python$python_version" "$program/bin/python3"
    find "$program" -name '*.so' -exec strip --strip-unneeded {} +
    find "$stage" ! -type l -exec chmod u=rwX,go=rX {} +
}

stage_commands() { # pip wrote the path of this build into their first lines
    local command
    for command in "${COMMANDS[@]}" mount.s3mount; do
        sed -i "1s|^#!.*|#!$DEB_PROGRAM/bin/python3|" "$stage$DEB_PROGRAM/bin/$command"
    done
    mkdir -p "$stage"/usr/{bin,sbin}
    for command in "${COMMANDS[@]}"; do
        ln -s "../lib/s3mount/bin/$command" "$stage/usr/bin/$command"
    done
    for command in "${MOUNT_HELPERS[@]##*/}"; do
        ln -s ../lib/s3mount/bin/mount.s3mount "$stage/usr/sbin/$command"
    done
    install -m 755 -t "$stage$DEB_PROGRAM" "$work/source/scripts/lib"/{end-mounts,prune-updatedb}
}

stage_units() { # those of systemd/, with the paths of this package
    local kind unit
    for kind in system user; do
        unit=$([[ $kind == system ]] || echo user/)s3mount@.service
        sed 's|/usr/local/bin/|/usr/bin/|g' "$work/source/systemd/$unit" |
            install -D -m 644 /dev/stdin "$stage/usr/lib/systemd/$kind/s3mount@.service"
    done
    install -D -m 644 "$work/source/systemd/s3mount.sysusers" "$stage/usr/lib/sysusers.d/s3mount.conf"
}

stage_configuration() {
    install -D -m 644 "$work/source/systemd/example.toml" "$stage$CONFIGURATION/example.toml"
    chmod 750 "$stage$CONFIGURATION"
}

stage_share() { # manual pages and completions, below /usr/share
    local file target
    while IFS= read -r file; do
        target=${file/#zsh\/site-functions/zsh\/vendor-completions}
        install -D -m 644 "$work/source/share/$file" "$stage/usr/share/$target"
    done < <(cd "$work/source/share" && find . -type f -printf '%P\n')
    find "$stage/usr/share/man" -type f -exec gzip -9n {} +
}

stage_documentation() {
    local documentation=$stage/usr/share/doc/s3mount
    mkdir -p "$documentation"
    "$python" -I "$work/source/scripts/lib/debian/copyright.py" "$stage" >"$documentation/copyright"
    gzip -9n <"$work/source/CHANGELOG.md" >"$documentation/changelog.gz"
    gzip -9n >"$documentation/changelog.Debian.gz" <<TEXT
s3mount ($(deb_version)) unstable; urgency=medium

  * Built from the tree of version $(program_version); changelog.gz says what changed.

 -- $(sed -n 's/^Maintainer: //p' "$work/source/scripts/lib/debian/control")  $(date -Rud "@$SOURCE_DATE_EPOCH")
TEXT
    install -m 644 "$work/source/README.md" "$documentation/README.md"
    cp -r "$work/source/docs" "$documentation/docs"
    install -D -m 644 "$work/source/scripts/lib/debian/lintian-overrides" "$stage/usr/share/lintian/overrides/s3mount"
}

stage_control() {
    local file values
    values="s|@VERSION@|$(deb_version)|; s|@ARCHITECTURE@|$(dpkg --print-architecture)|; s|@PROGRAM@|$DEB_PROGRAM|g
        s|@SIZE@|$(du -sk --apparent-size "$stage" | cut -f1)|; s|@PYTHON@|$python_version|
        s|@LIBRARIES@|$(libraries)|; s|@PYTHON_BELOW@|${python_version%.*}.$((${python_version#*.} + 1))|"
    mkdir "$stage/DEBIAN"
    for file in control conffiles triggers postinst prerm postrm; do
        sed "$values" "$work/source/scripts/lib/debian/$file" >"$stage/DEBIAN/$file"
    done
    chmod 755 "$stage"/DEBIAN/{postinst,prerm,postrm}
    (cd "$stage" && find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum) >"$stage/DEBIAN/md5sums"
}

program_version() {
    sed -n 's/^__version__ = "\(.*\)"/\1/p' "$work/source/s3mount/__init__.py"
}

deb_version() { # 0.2.0rc1 is 0.2.0~rc1-1+debian12: before 0.2.0, and before what fits the next release
    local release
    release=$(. /etc/os-release && echo "$ID${VERSION_ID:-$VERSION_CODENAME}")
    echo "$(program_version | sed -E 's/\.?(a|b|rc|dev)([0-9])/~\1\2/')-1+$release"
}

libraries() { # prints the packages of the shared libraries that the environment's modules are linked with
    mkdir -p "$work/debian"
    printf 'Source: s3mount\n\nPackage: s3mount\nArchitecture: any\n' >"$work/debian/control"
    (cd "$work" && find deb -name '*.so' -printf '-e%p\n' | LC_ALL=C sort | xargs dpkg-shlibdeps -O) | sed -n 's/^shlibs:Depends=//p'
}

check_stage() { # the files must not have the path of the build
    local found
    ! found=$(grep -rlF "$work" "$stage") || die "the package would have paths of its build: $found"
}
