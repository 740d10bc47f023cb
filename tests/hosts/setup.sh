#!/bin/sh
# Prepares this machine as a real test host: two kinds of Apptainer and an ordinary user. Root, Debian 12, x86_64.
#
#   /opt/apptainer-userns   Apptainer without setuid, from Debian sid, beside the system's own libc
#   /opt/apptainer-suid     Apptainer with the setuid starter, from ../shared/hosts if that is there
#   tykky-test              an ordinary user with subordinate ids
#   tykky-staff, -alice, -bob, -mallory     the people of tests/users, all of them in the group tykky-project
#   zsh, ksh93, mksh, fish  the shells that activation speaks to, beside bash, dash and busybox
#   module                  Environment Modules; and Lmod, in /opt/lmod
#   docker-registry         a registry of images, in /opt/docker-registry; the tests start their own
#
# With the argument `cluster` also:
#   slurmd, mpirun          Slurm, MPICH and Open MPI; and mpi4py for the host's Python, in /opt/tykky-mpi4py
# With the argument `workflows` all of these, and:
#   chromium, gdb           a browser that opens JupyterLab, a debugger that is not the environment's
#
# Running it again does only what is missing. Every part that cannot be had is named; the tests of that part skip.
set -eu

USER_NAME=tykky-test
USERNS_ROOT=/opt/apptainer-userns
SUID_ROOT=/opt/apptainer-suid
MPI4PY_VERSION=4.1.2
MPI4PY_SHA256=de484475b80f9e1ffe98cb85e1b776eb9f42bb73ae4d79449d42953f80025bf4
SUID_SHA256=34dba3a814260c246065a1626565a965df7bfd21987b0af4f0404e021db0e09f
PROJECT=$(cd "$(dirname "$0")/../.." && pwd)

say() { printf 'test host: %s\n' "$*"; }
fail() { printf 'test host: %s\n' "$*" >&2; exit 1; }

[ "$(id -u)" = 0 ] || fail 'needs root (it adds a user, installs packages and sets the mode of /dev/fuse)'

REQUIRED='squashfs-tools squashfuse fuse3 uidmap patchelf busybox-static bubblewrap python3-venv rsync strace util-linux xz-utils
    zsh ksh93u+m mksh fish environment-modules tcl8.6 lua5.3 lua-posix lua-filesystem lua-term lua-json'
# The tests start their own daemons. Of the host's, without a configuration, only munged may start by itself.
# libpmix-dev: Slurm opens the library by the name that only it has.
PARALLEL='munge slurmctld slurmd slurm-client mpich openmpi-bin libpmix-dev'
WORKFLOWS='chromium gdb'

missing_of() {
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q ' installed$' || printf '%s ' "$package"
    done
}

install_packages() {
    # shellcheck disable=SC2086 # lists of words, here and below
    missing=$(missing_of $1)
    [ -n "$missing" ] || return 0
    say "installing $missing"
    apt-get -q update >/dev/null
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends $missing >/dev/null
}

add_user() {
    getent passwd "$USER_NAME" >/dev/null || useradd --create-home --shell /bin/sh "$USER_NAME"
    getent group tykky-more >/dev/null || groupadd tykky-more
    usermod --append --groups tykky-more "$USER_NAME"
    for file in /etc/subuid /etc/subgid; do
        grep -q "^$USER_NAME:" "$file" 2>/dev/null || printf '%s:400000:65536\n' "$USER_NAME" >>"$file"
    done
    getent group tykky-project >/dev/null || groupadd tykky-project
    for name in staff alice bob mallory; do
        getent passwd "tykky-$name" >/dev/null ||
            useradd --no-create-home --home-dir / --shell /bin/sh --groups tykky-project "tykky-$name"
    done
    # Real clusters have 666; a bare virtual machine may have 600.
    if [ -e /dev/fuse ]; then chmod 666 /dev/fuse; else say 'no /dev/fuse: nothing can be mounted here'; fi
}

# Debian 12 has no Apptainer. The one of sid needs a newer glibc, so it gets its own, in a folder of its own:
# `patchelf` points the two programs at it, and Apptainer finds its other files relative to itself.
install_userns() {
    if "$USERNS_ROOT/usr/bin/apptainer" --version >/dev/null 2>&1; then return 0; fi
    say "installing Apptainer from Debian sid into $USERNS_ROOT"
    work=$(mktemp -d)
    mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/debs" "$work/root"
    cat >"$work/sid.sources" <<SOURCE
Types: deb
URIs: ${TYKKY_DEBIAN_MIRROR:-http://deb.debian.org/debian}
Suites: sid
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
SOURCE
    # An apt of its own: the system's sources and lists stay as they are, nothing of sid can be installed by accident.
    sid() {
        apt-get -q -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts="$work/parts" \
            -o Dir::State::Lists="$work/lists" -o Dir::Cache="$work/cache" -o APT::Sandbox::User=root \
            -o Acquire::Check-Valid-Until=false "$@" # a mirror that lags behind will do; signatures are checked
    }
    mkdir "$work/parts"
    mv "$work/sid.sources" "$work/parts/sid.sources"
    sid update >/dev/null
    (cd "$work/debs" && sid download apptainer libc6 libseccomp2 libsqlite3-0 squashfs-tools >/dev/null)
    for deb in "$work"/debs/*.deb; do dpkg -x "$deb" "$work/root"; done
    libraries=$USERNS_ROOT/usr/lib/x86_64-linux-gnu
    for program in usr/bin/apptainer usr/lib/x86_64-linux-gnu/apptainer/bin/starter; do
        patchelf --set-interpreter "$libraries/ld-linux-x86-64.so.2" --force-rpath --set-rpath "$libraries" \
            "$work/root/$program"
    done
    ln -sfn ../etc "$work/root/usr/etc"
    ln -sfn ../../etc "$work/root/usr/lib/etc"
    ln -sfn ../../var "$work/root/usr/lib/var"
    mkdir -p "$work/root/var/lib/apptainer/mnt/session"
    chmod -R a+rX "$work/root"
    rm -rf "$USERNS_ROOT"
    mv "$work/root" "$USERNS_ROOT"
    rm -rf "$work"
    "$USERNS_ROOT/usr/bin/apptainer" --version
}

install_suid() {
    if "$SUID_ROOT/bin/apptainer" --version >/dev/null 2>&1; then return 0; fi
    archive=$PROJECT/../shared/hosts/apptainer-suid.tar.xz
    if [ ! -f "$archive" ]; then
        say "no $archive: the tests with a setuid Apptainer will skip"
        return 0
    fi
    printf '%s  %s\n' "$SUID_SHA256" "$archive" | sha256sum --check --quiet || fail "$archive has another sha256"
    say "installing the setuid Apptainer into $SUID_ROOT"
    tar -C / --numeric-owner -xpJf "$archive"
}

# Debian's lmod cannot be installed beside environment-modules: both are `module`. Unpacked in a folder of its own, with
# a link where it looks for itself, it is as good as installed.
install_lmod() {
    if [ -r /usr/share/lmod/lmod/init/bash ]; then return 0; fi
    say 'unpacking Lmod into /opt/lmod'
    work=$(mktemp -d)
    chmod 755 "$work"
    (cd "$work" && apt-get -q -o APT::Sandbox::User=root download lmod >/dev/null)
    mkdir -p /opt/lmod
    dpkg -x "$work"/lmod_*.deb /opt/lmod
    ln -sfn /opt/lmod/usr/share/lmod /usr/share/lmod
    rm -rf "$work"
}

# Installed, it would be a service of the host's, with a port of its own.
install_registry() {
    if [ -x /opt/docker-registry/usr/bin/docker-registry ]; then return 0; fi
    say 'unpacking docker-registry into /opt/docker-registry'
    work=$(mktemp -d)
    chmod 755 "$work"
    (cd "$work" && apt-get -q -o APT::Sandbox::User=root download docker-registry >/dev/null)
    mkdir -p /opt/docker-registry
    dpkg -x "$work"/docker-registry_*.deb /opt/docker-registry
    rm -rf "$work"
}

# The wheel serves both: it looks for libmpi.so.12 or libmpi.so.40 when it is imported. Debian calls MPICH's otherwise.
install_mpi4py() {
    target=/opt/tykky-mpi4py
    if [ -d "$target/site-packages/mpi4py" ]; then return 0; fi
    say "installing mpi4py into $target"
    rm -rf "$target"
    printf 'mpi4py==%s --hash=sha256:%s\n' "$MPI4PY_VERSION" "$MPI4PY_SHA256" |
        "$PROJECT/.venv/bin/uv" pip install --quiet --python /usr/bin/python3 --require-hashes --only-binary :all: \
            --target "$target/site-packages" --requirement - || return 1
    mkdir -p "$target/mpich"
    ln -s "/usr/lib/$(uname -m)-linux-gnu/libmpich.so.12" "$target/mpich/libmpi.so.12"
    chmod -R a+rX "$target"
}

install_packages "$REQUIRED"
add_user
case ${1-} in
cluster | workflows)
    install_packages "$PARALLEL" || say 'no Slurm, MPICH and Open MPI: their tests will skip'
    install_mpi4py || say 'no mpi4py: its tests will skip'
    ;;
esac
if [ "${1-}" = workflows ]; then
    install_packages "$WORKFLOWS" || say 'no Chromium and gdb: their tests will skip'
fi
install_lmod || say 'no Lmod: its tests will skip'
install_registry || say 'no docker-registry: its tests will skip'
install_userns || say 'no Apptainer without setuid: its tests will skip'
install_suid
say 'ready'
