"""Templates are compiled once for many runs; what others could have written is not run, and what is broken not used."""

from __future__ import annotations

import marshal
import os
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import jinja2
import pytest

from tykky.cli.ports import open_inside
from tykky.runtime.compiled import Templates
from tykky.site.offer import Site

SOURCES = {"outer": "{{ word }} and {% include 'inner' %}", "inner": "{{ word | upper }}"}
RIGHT = "x and X"


def rendered(place: Path | None, sources: dict[str, str] = SOURCES, options: bytes = b"") -> str:
    """Return what a run renders."""
    templates = Templates(lambda: sources, options)
    templates.place = place
    environment = jinja2.Environment(loader=templates, autoescape=False)
    return environment.get_template("outer").render(word="x")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where other code is kept than that of SOURCES."""
    place = tmp_path / "templates"
    assert rendered(place) == RIGHT
    key, code = marshal.loads(zlib.decompress(kept(place).read_bytes()))
    code["inner"] = jinja2.Environment(autoescape=False).compile("other", "inner")
    kept(place).write_bytes(zlib.compress(marshal.dumps((key, code))))
    return place


def kept(place: Path) -> Path:
    (file,) = place.iterdir()
    return file


def test_what_is_kept_is_used(place: Path):
    assert rendered(place) == "x and other"
    assert (place.stat().st_mode & 0o777, kept(place).stat().st_mode & 0o777) == (0o700, 0o600)


def test_other_texts_and_options_are_compiled_anew(place: Path):
    assert rendered(place, SOURCES | {"inner": "2"}) == "x and 2"
    assert rendered(place) == RIGHT, "one place has one set of templates"


def test_other_options_are_compiled_anew(place: Path):
    assert rendered(place, options=b"other") == RIGHT


@pytest.mark.parametrize("mode", [0o777, 0o720, 0o702])
def test_where_others_may_write_nothing_is_used(place: Path, mode: int):
    place.chmod(mode)
    before = kept(place).read_bytes()
    assert rendered(place) == RIGHT
    assert kept(place).read_bytes() == before


def test_what_is_anothers_is_not_used(place: Path):
    if os.geteuid() != 0:
        pytest.skip("only root can give a directory away")
    os.chown(place, 12345, 12345)
    assert rendered(place) == RIGHT


def test_a_link_is_not_followed(place: Path):
    link = place.with_name("link")
    link.symlink_to(place)
    assert rendered(link) == RIGHT


@pytest.mark.parametrize("part", [0, 1, 2, 100, -1])
def test_what_is_broken_is_replaced(place: Path, part: int):
    whole = kept(place).read_bytes()
    kept(place).write_bytes(whole[:part])
    assert rendered(place) == RIGHT
    assert len(kept(place).read_bytes()) > 100


def _pipe(file: Path) -> None:
    os.mkfifo(file)


def _endless(file: Path) -> None:
    file.symlink_to("/dev/zero")


def _huge(file: Path) -> None:
    file.touch()
    os.truncate(file, 1 << 40)


def _bomb(file: Path) -> None:
    packer = zlib.compressobj(9)
    with file.open("wb") as packed:
        for _ in range(1 << 10):
            packed.write(packer.compress(bytes(1 << 20)))
        packed.write(packer.flush())


@pytest.mark.parametrize("make", [_pipe, _endless, _huge, _bomb, Path.mkdir])
def test_what_is_no_file_or_too_large_makes_nobody_wait(place: Path, make: Callable[[Path], None]):
    file = kept(place)
    file.unlink()
    make(file)
    assert rendered(place) == RIGHT


@pytest.mark.parametrize("code", [5, {}, {"outer": None}])
def test_what_lacks_a_template_is_replaced(place: Path, code: object):
    key, _ = marshal.loads(zlib.decompress(kept(place).read_bytes()))
    kept(place).write_bytes(zlib.compress(marshal.dumps((key, code))))
    assert rendered(place) == RIGHT
    assert len(kept(place).read_bytes()) > 100


@pytest.mark.parametrize("content", [b"code", marshal.dumps(1), marshal.dumps((1, 2, 3)), marshal.dumps(("key", {}))])
def test_what_is_something_else_is_replaced(place: Path, content: bytes):
    kept(place).write_bytes(zlib.compress(content))
    assert rendered(place) == RIGHT
    assert len(kept(place).read_bytes()) > 100


def test_a_place_that_cannot_be_written_is_no_error(tmp_path: Path):
    (tmp_path / "file").write_text("")
    assert rendered(tmp_path / "file" / "templates") == RIGHT
    place = tmp_path / "templates"
    place.mkdir(mode=0o700)
    (place / str(sys.implementation.cache_tag)).mkdir()
    assert rendered(place) == RIGHT
    assert [path.name for path in place.iterdir()] == [sys.implementation.cache_tag]


def test_builds_keep_them_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """And where there is no cache, they do without."""
    from tykky.runtime import render

    open_inside(Site(), tmp_path)
    assert render._COMPILED.place == Path(os.environ["XDG_CACHE_HOME"]) / "tykky" / "templates"
    monkeypatch.setenv("TYKKY_CACHE", "relative")
    open_inside(Site(), tmp_path)
