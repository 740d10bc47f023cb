"""Where the cache is, and that it is one's own."""

import os
import stat

import pytest

from tykky.errors import SiteError
from tykky.site.cache import cache_directory


def no_cache(**environ: str) -> tuple[str, str | None]:
    with pytest.raises(SiteError) as caught:
        cache_directory(environ)
    return str(caught.value), caught.value.hint


HINT = "set TYKKY_CACHE to a directory of your own"


def test_the_cache_is_made_private(tmp_path):
    path = cache_directory({"HOME": str(tmp_path)})
    assert path == tmp_path / ".cache/tykky"
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert cache_directory({"HOME": str(tmp_path)}) == path


def test_where_the_cache_is(tmp_path):
    own, xdg = str(tmp_path / "a b"), str(tmp_path / "xdg")
    home = {"HOME": str(tmp_path / "home")}
    assert cache_directory({**home, "XDG_CACHE_HOME": xdg, "TYKKY_CACHE": own}) == tmp_path / "a b"
    assert cache_directory({**home, "XDG_CACHE_HOME": xdg}) == tmp_path / "xdg/tykky"
    assert cache_directory({**home, "XDG_CACHE_HOME": "relative", "TYKKY_CACHE": ""}) == tmp_path / "home/.cache/tykky"


def test_nowhere_to_put_the_cache(tmp_path):
    nowhere = ("cache directory: neither TYKKY_CACHE nor XDG_CACHE_HOME nor HOME says where it is", HINT)
    assert no_cache() == nowhere
    assert no_cache(HOME="") == nowhere
    assert no_cache(TYKKY_CACHE="cache") == ("TYKKY_CACHE: 'cache' is not an absolute path", None)


def test_a_cache_that_is_something_else(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    assert no_cache(TYKKY_CACHE=str(file)) == (f"{file}: is not a directory", HINT)
    below = file / "below"
    assert no_cache(TYKKY_CACHE=str(below)) == (f"{below}: cannot be made: not a directory", HINT)


def test_a_cache_that_everybody_can_write(tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    assert no_cache(TYKKY_CACHE=str(shared)) == (f"{shared}: can be written by everybody", HINT)


def test_a_cache_of_somebody_else(tmp_path, monkeypatch):
    other = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)
    assert no_cache(TYKKY_CACHE=str(tmp_path)) == (f"{tmp_path}: belongs to another user (uid {other - 1})", HINT)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_cache_that_cannot_be_written(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    assert no_cache(TYKKY_CACHE=str(closed)) == (f"{closed}: cannot be written", HINT)
