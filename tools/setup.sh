#!/bin/sh
# Makes a clone ready for work: the system's packages, then .venv with the pinned tools of requirements-dev.txt.
#
#   setup.sh          both          setup.sh venv     only .venv (enough for lint and for generated files)
#
# As root it installs what is missing with apt; as anybody else it says what is missing and what the packages are
# called. Where all is there it changes nothing and asks nobody. Everything lies in the clone: no HOME is needed.
set -eu
cd "$(dirname "$0")/.."

venv=.venv
stamp=$venv/.tykky-setup
pins=requirements-dev.txt
# Settings that would send pip or the interpreter elsewhere. Indexes, mirrors and certificates stay the user's.
unset PYTHONPATH PYTHONHOME VIRTUAL_ENV PIP_USER PIP_TARGET PIP_PREFIX PIP_REQUIRE_VIRTUALENV

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }
is_root() { [ "$(id -u)" = 0 ]; }
can_apt() { is_root && have apt-get && have dpkg-query; }

# --- the system ------------------------------------------------------------------------------------------------

has_certificates() {
    for file in "${SSL_CERT_FILE:-}" /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt \
        /etc/ssl/ca-bundle.pem; do
        [ -z "$file" ] || [ ! -r "$file" ] || return 0
    done
    return 1
}

# One line per missing package: Debian's name, Fedora's and EL's, conda-forge's, and what it is for.
missing_packages() {
    if ! have mksquashfs || ! have unsquashfs; then
        echo 'squashfs-tools squashfs-tools squashfs-tools mksquashfs, which writes the images'
    fi
    have squashfuse_ll || echo 'squashfuse squashfuse squashfuse squashfuse_ll, which mounts them'
    if ! have unshare || ! have nsenter; then
        echo 'util-linux util-linux-core util-linux unshare and nsenter, which make and join the namespace'
    fi
    have git || echo 'git git git requirements of the kind git+https'
    has_certificates || echo 'ca-certificates ca-certificates ca-certificates the certificates that https needs'
    venv_works || can_make_venvs "$(find_python)" || echo "$(venv_package) python3.11 python Python 3.11 with its module venv"
}

# Without a compiler the tests' channel holds a stand-in for a native program; what runs it is skipped.
wanted_packages() {
    have gcc || have cc || echo 'gcc libc6-dev'
}

apt_install() {
    say "installing $*"
    # A source that does not answer is no reason to stop: what is missing in the end is said by the install.
    apt-get -q -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 update </dev/null >/dev/null ||
        say 'apt-get update had errors; going on with the lists that are there'
    DEBIAN_FRONTEND=noninteractive apt-get -q -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 \
        install -y --no-install-recommends "$@" </dev/null >/dev/null || fail "apt-get could not install $*"
}

explain_missing() {
    {
        echo 'setup: this machine lacks'
        printf '%s\n' "$1" | while read -r debian _ _ why; do
            printf '    %-16s %s\n' "$debian" "$why"
        done
        echo 'Ask an administrator for them, or use an environment that has them:'
        printf '    Debian, Ubuntu   apt-get install %s\n' "$(printf '%s\n' "$1" | cut -d' ' -f1 | xargs)"
        printf '    Fedora, EL       dnf install %s        (squashfuse is in EPEL)\n' \
            "$(printf '%s\n' "$1" | cut -d' ' -f2 | xargs)"
        printf '    conda            conda install -c conda-forge %s\n' \
            "$(printf '%s\n' "$1" | cut -d' ' -f3 | xargs)"
    } >&2
    exit 1
}

system_packages() {
    missing=$(missing_packages)
    if can_apt; then
        names=$({ printf '%s\n' "$missing" | cut -d' ' -f1; wanted_packages; } | xargs)
        # shellcheck disable=SC2086 # a list of names
        [ -z "$names" ] || apt_install $names
        missing=$(missing_packages)
    fi
    [ -z "$missing" ] || explain_missing "$missing"
}

# squashfuse opens /dev/fuse as the user who starts a program. Clusters have mode 666, a bare virtual machine 600.
fuse_device() {
    if [ ! -e /dev/fuse ] && is_root; then modprobe fuse 2>/dev/null || true; fi
    if [ ! -e /dev/fuse ]; then
        say 'warning: there is no /dev/fuse, so no image can be mounted here (modprobe fuse; in a container: --device /dev/fuse)'
    elif is_root; then
        if [ "$(stat -c %a /dev/fuse)" != 666 ]; then
            say "/dev/fuse had mode $(stat -c %a /dev/fuse); ordinary users need 666"
            chmod 666 /dev/fuse || say 'warning: its mode could not be changed'
        fi
    elif [ ! -r /dev/fuse ] || [ ! -w /dev/fuse ]; then
        say 'warning: /dev/fuse may not be opened by you, so no image can be mounted; an administrator can: chmod 666 /dev/fuse'
    fi
}

# --- the interpreter -------------------------------------------------------------------------------------------

# They ask for an answer: the exit status of something that is no Python may be 0 as well.
is_new_enough() { [ "$("$1" -c 'import sys; print(sys.version_info >= (3, 11))' 2>/dev/null)" = True ]; }
can_make_venvs() { [ "$("$1" -c 'import ensurepip, venv; print(True)' 2>/dev/null)" = True ]; }

check_chosen_python() {
    [ -n "${PYTHON:-}" ] || return 0
    have "$PYTHON" || fail "PYTHON=$PYTHON is no program"
    is_new_enough "$PYTHON" || fail "PYTHON=$PYTHON is older than 3.11, or no Python that starts"
}

# The host's own python3 where it will do, else the newest that will: of two equal ones, the one with ensurepip.
find_python() {
    if [ -n "${PYTHON:-}" ]; then
        command -v "$PYTHON"
        return
    fi
    usable=
    for name in python3 python3.15 python3.14 python3.13 python3.12 python3.11 /usr/bin/python3; do
        if ! have "$name" || ! is_new_enough "$name"; then continue; fi
        if can_make_venvs "$name"; then
            command -v "$name"
            return
        fi
        usable=${usable:-$(command -v "$name")}
    done
    printf '%s' "$usable"
}

# Debian keeps ensurepip in a package of its own.
venv_package() {
    found=$(find_python)
    version=$([ -z "$found" ] || "$found" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    printf 'python%s-venv' "${version:-3}"
}

python_with_venv() {
    found=$(find_python)
    if can_apt && ! can_make_venvs "$found"; then
        apt_install "$(venv_package)" >&2
        found=$(find_python)
    fi
    [ -n "$found" ] || fail 'no Python 3.11 or newer on PATH: install one, load a module that has it, or say make PYTHON=/path/to/python3'
    can_make_venvs "$found" ||
        fail "$found cannot make virtual environments: on Debian and Ubuntu, apt-get install python3-venv; or name another with make PYTHON=/path/to/python3"
    printf '%s' "$found"
}

# --- .venv -----------------------------------------------------------------------------------------------------

# What .venv was made of and for: it is made again where the clone moved, updated where the pins changed.
place() { printf '%s %s\n' "$(pwd -P)" "${PYTHON:-}"; }
content() { cat pyproject.toml "$pins" tools/setup.sh | cksum; }

venv_works() {
    [ -f "$stamp" ] && [ "$(head -n 1 "$stamp")" = "$(place)" ] && is_new_enough "$venv/bin/python"
}

make_venv() {
    if [ -e "$venv" ] && [ ! -w "$venv" ]; then
        fail "$(pwd)/$venv belongs to $(stat -c %U "$venv"); use a clone of your own"
    fi
    # A variable first: in an argument, the failure of `python_with_venv` would go unseen.
    python=$(python_with_venv)
    say "making $venv with $python"
    rm -rf "$venv"
    "$python" -m venv "$venv"
}

install_pins() {
    say 'installing the pinned packages'
    # pip fetches uv, whose sha256 stands in the pins; uv fetches the rest, some ten times faster. A machine on
    # which only pip knows the way to a mirror gets all of it from pip.
    quiet='--quiet --disable-pip-version-check --no-input --no-cache-dir'
    UV_CACHE_DIR=${UV_CACHE_DIR:-$(pwd)/.cache/uv}
    export UV_CACHE_DIR
    sed -n '/^uv==/,/[^\\]$/p' "$pins" >"$venv/uv-pin.txt"
    # shellcheck disable=SC2086 # a list of options
    "$venv/bin/python" -m pip install $quiet --require-hashes --requirement "$venv/uv-pin.txt"
    if ! VIRTUAL_ENV=$(pwd)/$venv "$venv/bin/uv" pip sync --quiet --system-certs --require-hashes "$pins"; then
        say 'uv could not; trying pip'
        # shellcheck disable=SC2086
        "$venv/bin/python" -m pip install $quiet --require-hashes --requirement "$pins"
    fi
    # hatchling is among the pins, so nothing is fetched for the build.
    # shellcheck disable=SC2086
    "$venv/bin/python" -m pip install $quiet --no-deps --no-build-isolation --editable .
}

python_packages() {
    if venv_works && [ "$(tail -n 1 "$stamp")" = "$(content)" ]; then return 0; fi
    venv_works || make_venv
    rm -f "$stamp"
    install_pins
    { place; content; } >"$stamp"
    say "ready: $("$venv/bin/tykky" --version) with $("$venv/bin/python" --version)"
}

check_chosen_python
case ${1:-all} in
    all)
        system_packages
        fuse_device
        python_packages
        ;;
    venv) python_packages ;;
    *) fail "unknown part $1" ;;
esac
