"""What `tykky doctor` finds, on made-up hosts and on this one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tykky.layers.squashfs import known_problem
from tykky.runtime.probe import (
    Finding,
    Host,
    file_guards,
    fuse_device,
    image_tool,
    memory,
    probe_host,
    program_version,
    scratch_space,
    usable,
    user_namespaces,
)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host with an empty /proc and /dev, and a PATH that holds only what a test puts there."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "root" / "dev").mkdir(parents=True)
    return Host(tmp_path / "root", image_tool_problem=known_problem)


def put(folder: Path, name: str, text: str) -> None:
    path = folder / "bin" / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def kernel_file(host: Host, path: str, text: str) -> None:
    file = host.root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_user_namespaces_that_are_switched_off(host: Host, tmp_path: Path):
    kernel_file(host, "proc/sys/user/max_user_namespaces", "0\n")
    put(tmp_path, "unshare", "echo 'unshare: unshare failed: No space left on device' >&2; exit 1")
    from tykky.process import Commands, clean_environ

    at = Host(host.root, commands=Commands(environ={**clean_environ(), "PATH": str(tmp_path / "bin")}))
    assert user_namespaces(at) == Finding(
        "user namespaces",
        "missing",
        "unshare: unshare failed: No space left on device",
        "user.max_user_namespaces = 0 forbids them; "
        "ask the administrators for user namespaces, or use the backend 'apptainer' with setuid",
    )


def test_a_fuse_device_that_is_missing(host: Host):
    assert fuse_device(host) == Finding(
        "/dev/fuse",
        "missing",
        "no such file or directory",
        "ask the administrators for mode 666 of /dev/fuse (the package fuse3 sets it)",
    )


@pytest.mark.parametrize(
    ("said", "status", "detail"),
    [
        ("unshare from util-linux 2.38.1", "ok", "unshare from util-linux 2.38.1"),
        ("unshare from util-linux 2.32.1", "missing", "unshare from util-linux 2.32.1, 2.36 is needed"),
        ("BusyBox", "missing", "BusyBox, 2.36 is needed"),
    ],
)
def test_versions_of_unshare(host: Host, tmp_path: Path, said: str, status: str, detail: str):
    put(tmp_path, "unshare", f"echo '{said}'")
    found = program_version(host, "unshare", (2, 36))
    assert (found.status, found.detail) == (status, f"{tmp_path}/bin/unshare: {detail}")


@pytest.mark.parametrize(
    ("version", "status", "detail"),
    [
        ("4.5.1", "ok", "4.5.1"),
        ("4.3", "missing", "4.3, which cannot write reproducible images (4.4 and later can)"),
        (
            "4.7.4",
            "missing",
            "4.7.4, which may write corrupt images when sparse files are present (fixed in 4.7.5)",
        ),
        ("4.6", "warn", "4.6 may damage images made with -tailends"),
        ("4.6.1", "ok", "4.6.1"),
        ("4.7.5", "ok", "4.7.5"),
    ],
)
def test_versions_of_mksquashfs(host: Host, tmp_path: Path, version: str, status: str, detail: str):
    put(tmp_path, "mksquashfs", f"echo 'mksquashfs version {version} (2022/03/17)'")
    found = image_tool(host)
    assert (found.status, found.detail) == (status, f"{tmp_path}/bin/mksquashfs: {detail}")


@pytest.mark.parametrize(
    ("name", "status", "key"),
    [
        ("mksquashfs", "missing", "mksquashfs"),
        ("squashfuse_ll", "missing", "squashfuse"),
        ("apptainer", "warn", "apptainer"),
    ],
)
def test_a_program_of_the_site_that_is_not_there(tmp_path: Path, name: str, status: str, key: str):
    """That is what is wrong, whatever there is on PATH."""
    gone = "/nowhere/x"
    host = Host(packer=Path(gone)) if name == "mksquashfs" else Host(programs={name: gone})
    found = probe_host(host, tmp_path, tmp_path)
    (one,) = (finding for finding in found if finding.name == name)
    advice = f"site.toml names it: correct {key} under [programs]"
    assert one == Finding(name, status, "/nowhere/x cannot be started", advice)


def test_a_scratch_directory_that_cannot_be_written(host: Host, tmp_path: Path):
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    tmp_path.chmod(0o555)
    one = next(scratch_space(tmp_path))
    assert (one.status, one.detail) == ("missing", f"{tmp_path} cannot be written")


def test_a_mksquashfs_that_does_not_start(host: Host, tmp_path: Path):
    put(tmp_path, "mksquashfs", "echo 'libzstd.so.1: cannot open' >&2; exit 127")
    assert image_tool(host) == Finding(
        "mksquashfs",
        "missing",
        f"{tmp_path}/bin/mksquashfs does not start: libzstd.so.1: cannot open",
        "install squashfs-tools (Debian, EL, conda-forge)",
    )


def test_no_mksquashfs(host: Host):
    assert image_tool(host) == Finding(
        "mksquashfs", "missing", "not on PATH", "install squashfs-tools (Debian, EL, conda-forge)"
    )


def test_little_memory(host: Host):
    kernel_file(host, "proc/meminfo", "MemTotal: 4000000 kB\nMemAvailable:    1048576 kB\n")
    assert memory(host) == Finding(
        "memory", "warn", "1.0 GiB available", "build where there is more: mksquashfs takes what it gets"
    )


def test_scratch_that_is_not_there(tmp_path: Path):
    found = next(iter(scratch_space(tmp_path / "none")))
    assert found == Finding(
        "scratch",
        "missing",
        f"{tmp_path}/none: no such file or directory",
        "set TMPDIR, or [build] scratch in site.toml, to a directory on this node",
    )


def test_flock_is_tried_where_the_environment_would_be(tmp_path: Path):
    assert file_guards(tmp_path / "not" / "yet") == Finding("flock", "ok", f"works in {tmp_path}")
    assert os.listdir(tmp_path) == []


def test_this_host(tmp_path: Path):
    """On a host where the tests run, everything has a finding, and what was found to work has no advice."""
    findings = probe_host(Host(image_tool_problem=known_problem), tmp_path, tmp_path)
    names = [finding.name for finding in findings]
    expected = ["kernel", "user namespaces", "/dev/fuse", "unshare", "squashfuse_ll", "apptainer", "mksquashfs"]
    assert [name for name in expected if name not in names] == []
    assert names[-2:] == ["backend namespace", "backend apptainer"]
    assert [f for f in findings if f.status == "ok" and f.advice] == []
    assert set(usable(findings)) <= {"namespace", "apptainer"}
    assert os.listdir(tmp_path) == []
