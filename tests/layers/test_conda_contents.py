"""No package gets in that holds what no package may hold."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest
import zstandard

from tests.channel import CondaPackage, Link, Member, text
from tests.channel.hostile import hostile_packages
from tykky.errors import ArtifactError
from tykky.layers.conda_contents import check_archive

COMPLAINTS = {
    "dotdot": "'../escape' would leave the prefix",
    "dotdot-inside": "'share/../../escape' would leave the prefix",
    "absolute": "'/tmp/tykky-hostile' would leave the prefix",
    "symlink-absolute": "'share/link' is a link to '/etc/passwd', which is outside the prefix",
    "symlink-dotdot": "'share/link' is a link to '../../escape', which is outside the prefix",
    "symlink-then-write": "'share/away' is a link to '../..', which is outside the prefix",
    "symlink-through-symlink": "'share/deep/two' is a link to 'top/../etc', which is outside the prefix",
    "symlink-loop": "'share/a' is a link to 'b', which is outside the prefix",
    "hardlink-dotdot": "'share/hard' is a hard link to '../escape', which is outside the prefix",
    "hardlink-absolute": "'share/hard' is a hard link to '/etc/passwd', which is outside the prefix",
    "character-device": "'dev/null' is a device",
    "block-device": "'dev/disk' is a device",
    "fifo": "'run/pipe' is a named pipe",
    "setuid": "'bin/root' has the setuid bit",
    "setgid": "'bin/group' has the setgid bit",
    "info-dotdot": "'info/../../escape' would leave the prefix",
    "paths-dotdot": "'../x' in info/paths.json would leave the prefix",
    "paths-absolute": "'/tmp/tykky-hostile' in info/paths.json would leave the prefix",
    "entry-point-dotdot": "'../../escape' in info/link.json would leave the prefix",
}


def written(package: CondaPackage, directory: Path) -> Path:
    path = directory / package.file_name
    path.write_bytes(package.archive())
    return path


def complaint(path: Path) -> str:
    with pytest.raises(ArtifactError) as caught:
        check_archive(path)
    return str(caught.value)


def test_every_trick_has_its_test() -> None:
    assert hostile_packages().keys() == COMPLAINTS.keys()


@pytest.mark.parametrize("format", ["conda", "tar.bz2"])
@pytest.mark.parametrize("trick", COMPLAINTS)
def test_hostile_content_is_refused_by_name(trick: str, format: str, tmp_path: Path) -> None:
    package = hostile_packages(format)[trick]  # type: ignore[arg-type]
    assert complaint(written(package, tmp_path)) == f"{package.file_name}: {COMPLAINTS[trick]}"


def test_honest_packages_pass(conda_channel: Path) -> None:
    archives = [*conda_channel.glob("*/*.conda"), *conda_channel.glob("*/*.tar.bz2")]
    assert len(archives) > 20
    for archive in archives:
        check_archive(archive)


@pytest.mark.parametrize("format", ["conda", "tar.bz2"])
def test_links_that_stay_inside_pass(format: str, tmp_path: Path) -> None:
    files = {
        "lib/real/file": text("content\n"),
        "lib/alias": Link("real"),
        "share/deep/er/link": Link("../../../lib/alias/file"),
        "bin/up": Link("../lib/real/../alias"),
    }
    hard = Member("lib/hard", tarfile.LNKTYPE, target="lib/real/file")
    setgid_directory = Member("share/group", tarfile.DIRTYPE, mode=0o2755)
    package = CondaPackage("honest", "1.0", files=files, extra=(hard, setgid_directory), format=format)  # type: ignore[arg-type]
    check_archive(written(package, tmp_path))


def test_links_of_noarch_packages_count_from_where_they_will_be(tmp_path: Path) -> None:
    files = {"site-packages/thing/data": Link("../../../../share/thing")}
    inside = CondaPackage("inside", "1.0", subdir="noarch", noarch="python", files=files)
    check_archive(written(inside, tmp_path))
    generic = CondaPackage("generic", "1.0", subdir="noarch", noarch="generic", files=files)
    assert complaint(written(generic, tmp_path)) == (
        "generic-1.0-0.conda: 'site-packages/thing/data' is a link to '../../../../share/thing', "
        "which is outside the prefix"
    )


@pytest.mark.parametrize("ending", ["conda", "tar.bz2"])
@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 nothing", b"BZh9 nothing", b"x" * 1000])
def test_what_is_no_archive_is_refused(ending: str, data: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"broken-1.0-0.{ending}"
    path.write_bytes(data)
    assert complaint(path) == f"broken-1.0-0.{ending} is no conda package that can be read"


def test_a_cut_archive_is_refused(tmp_path: Path) -> None:
    for format in ("conda", "tar.bz2"):
        package = CondaPackage("cut", "1.0", files={"f": text("x" * 5000)}, format=format)  # type: ignore[arg-type]
        path = written(package, tmp_path)
        path.write_bytes(path.read_bytes()[:-200])
        assert complaint(path) == f"{path.name} is no conda package that can be read"


def test_a_second_payload_is_refused(tmp_path: Path) -> None:
    """One part could be looked at while another one is extracted."""
    path = written(CondaPackage("two", "1.0"), tmp_path)
    tar = io.BytesIO()
    tarfile.open(fileobj=tar, mode="w").close()
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("pkg-evil.tar.zst", zstandard.ZstdCompressor().compress(tar.getvalue()))
    assert complaint(path) == "two-1.0-0.conda is no conda package that can be read"
