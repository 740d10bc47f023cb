#!/bin/sh
# Locks and builds examples/quickstart below .demo and runs a program in it. Every command is shown as it is typed.
set -eu
cd "$(dirname "$0")/.."

PATH=$(pwd)/.venv/bin:$PATH
XDG_CACHE_HOME=${XDG_CACHE_HOME:-$(pwd)/.demo/cache}
export PATH XDG_CACHE_HOME
mkdir -p .demo

show() {
    printf '\n$ %s\n' "$*"
    "$@"
}

show tykky lock -f examples/quickstart/tykky.toml
show tykky build -f examples/quickstart/tykky.toml --prefix .demo/quickstart
show .demo/quickstart/bin/python examples/quickstart/hello.py

inodes=$(find .demo/quickstart -printf '%i\n' | sort -u | wc -l)
printf '\nOn disk, .demo/quickstart is %s inodes. Try .demo/quickstart/bin/python yourself.\n' "$inodes"
