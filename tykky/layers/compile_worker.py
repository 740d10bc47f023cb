"""Byte-compile a staged tree. Runs under the *environment's* interpreter (any CPython >= 3.8), not ours.

Standard input is one JSON document: {"root": staging directory, "prefix": where it will live, "jobs": processes,
"batches": [[path, …], …]}. For every batch that is done a line with its number of files is printed.

Bytecode is not reproducible by itself: marshal writes a back-reference flag that depends on how many references
an object happens to have (https://github.com/python/cpython/issues/78274), so what was compiled before in the
same process shows. Hence each batch, the files of one directory of one package, is compiled in sorted order by
a child forked from the same clean parent: its bytes depend on the batch alone, not on the number of
processes, nor on what else the environment holds.
"""

import gc
import importlib.util
import json
import os
import sys
import warnings
from importlib import _bootstrap_external as external


def compile_file(root, prefix, path):
    """Write the .pyc of one source file; a file that is no Python of this version is left without one."""
    source = os.path.join(root, path)
    with open(source, "rb") as file:
        content = file.read()
    try:
        code = compile(content, os.path.join(prefix, path), "exec", dont_inherit=True, optimize=0)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    # unchecked-hash (PEP 552): valid whatever the times in the image, and never checked against the source.
    data = external._code_to_hash_pyc(code, importlib.util.source_hash(content), False)
    target = importlib.util.cache_from_source(source)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    # Under another name first: the target may be a hard link into a package cache.
    temporary = target + ".tykky"
    with open(temporary, "wb") as file:
        file.write(data)
    os.replace(temporary, target)


def run_batch(root, prefix, batch):
    """Compile one batch in a child that never returns."""
    status = 1
    try:
        for path in batch:
            compile_file(root, prefix, path)
        status = 0
    except OSError as error:
        sys.stderr.write("%s\n" % error)
    finally:
        sys.stderr.flush()
        os._exit(status)


def main():
    """Compile all batches, the largest first, `jobs` at a time."""
    work = json.load(sys.stdin)
    root, prefix, jobs = work["root"], work["prefix"], work["jobs"]
    warnings.simplefilter("ignore")
    gc.disable()
    gc.freeze()
    running, failed = {}, False
    for batch in work["batches"]:
        if len(running) >= jobs:
            failed |= reap(running)
        pid = os.fork()
        if pid == 0:
            run_batch(root, prefix, batch)
        running[pid] = len(batch)
    while running:
        failed |= reap(running)
    sys.exit(1 if failed else 0)


def reap(running):
    """Wait for one child, print its line, return whether it failed."""
    pid, status = os.wait()
    print(running.pop(pid), flush=True)
    return status != 0


main()
