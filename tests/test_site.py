"""Site settings: merged from three files, strict, with the origin of each value; and the cache directory."""

import os
import stat
from pathlib import Path

import pytest

from tykky.errors import SiteError
from tykky.site import Runtime, Settings, Site, cache_directory, load_site


@pytest.fixture
def place(tmp_path):
    """A host of one's own: /etc, a site's directory, and a home."""
    for name in ("etc", "site", "home/.config/tykky"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path


def load(place: Path, **environ: str) -> Site:
    return load_site({"HOME": str(place / "home"), **environ}, system=place / "etc" / "site.toml")


def refused(place: Path, **environ: str) -> tuple[list[str], str | None]:
    with pytest.raises(SiteError) as caught:
        load(place, **environ)
    assert caught.value.exit_code == 13
    return str(caught.value).replace(f"{place}/", "").splitlines(), caught.value.hint


def test_without_files_there_are_defaults(place):
    site = load(place)
    assert site == Site()
    assert (dict(site.mirrors), site.backends, site.scratch) == ({}, ("namespace", "apptainer"), None)
    assert site.program("apptainer") is None


def test_the_later_file_wins_key_by_key_and_mirrors_are_merged(place):
    system, named, user = place / "etc/site.toml", place / "site/ours.toml", place / "home/.config/tykky/site.toml"
    system.write_text(
        '[mirrors]\n"https://a.example.org" = "https://1"\n"https://b.example.org" = "https://1"\n'
        '[runtime]\nbackends = ["apptainer"]\n'
        '[programs]\napptainer = "/opt/apptainer/bin/apptainer"\nmksquashfs = "/usr/bin/mksquashfs"\n'
    )
    named.write_text('[mirrors]\n"https://b.example.org" = "file:///2"\n[build]\nscratch = "/scratch"\n')
    user.write_text('[runtime]\nbackends = ["namespace"]\n[programs]\nmksquashfs = "/home/me/mksquashfs"\n')
    site = load(place, TYKKY_SITE=str(named))
    assert dict(site.mirrors) == {"https://a.example.org": "https://1", "https://b.example.org": "file:///2"}
    assert site.backends == ("namespace",)
    assert site.scratch == Path("/scratch")
    assert site.program("apptainer") == Path("/opt/apptainer/bin/apptainer")
    assert site.program("mksquashfs") == Path("/home/me/mksquashfs")
    assert site.program("squashfuse") is None
    assert site.files == (system, named, user)
    assert dict(site.origins) == {
        'mirrors."https://a.example.org"': system,
        'mirrors."https://b.example.org"': named,
        "runtime.backends": user,
        "programs.apptainer": system,
        "programs.mksquashfs": user,
        "build.scratch": named,
    }


def test_scripts_may_reach_the_network_unless_the_site_says_no(place):
    assert load(place).script_network is True
    system = place / "etc/site.toml"
    system.write_text("[build]\nscript-network = false\n")
    assert load(place).script_network is False
    system.write_text('[build]\nscript-network = "no"\n')
    assert refused(place)[0] == ["etc/site.toml:2: build.script-network: expected bool, got str"]


def test_the_users_file_is_where_xdg_says_and_a_relative_path_does_not_count(place):
    (place / "xdg/tykky").mkdir(parents=True)
    (place / "xdg/tykky/site.toml").write_text('[runtime]\nbackends = ["apptainer"]\n')
    assert load(place, XDG_CONFIG_HOME=str(place / "xdg")).settings == Settings(runtime=Runtime(("apptainer",)))
    assert load(place, XDG_CONFIG_HOME="xdg").settings == Settings()
    assert load_site({}, system=place / "no.toml").settings == Settings()


def test_a_site_that_is_named_must_be_there(place):
    assert refused(place, TYKKY_SITE=str(place / "no.toml")) == (
        ["no.toml: no such file"],
        "TYKKY_SITE names a file that is not there",
    )


def test_all_problems_of_a_file_come_at_once(place):
    (place / "etc/site.toml").write_text(
        """\
[mirors]
[runtime]
backends = ["namspace", "apptainer"]
[programs]
apptainer = "apptainer"
mksquashfs = 4
[build]
scrach = "/tmp"
[mirrors]
a = 3
"""
    )
    assert refused(place)[0] == [
        "etc/site.toml:1: mirors: unknown key (did you mean 'mirrors'?)",
        "etc/site.toml:3: runtime.backends[0]: 'namspace' is not one of 'apptainer', 'namespace' "
        "(did you mean 'namespace'?)",
        "etc/site.toml:5: programs.apptainer: 'apptainer' is not allowed: write an absolute path",
        "etc/site.toml:6: programs.mksquashfs: expected str, got int; put the value in quotes",
        "etc/site.toml:8: build.scrach: unknown key (did you mean 'scratch'?)",
        "etc/site.toml:10: mirrors.a: expected str, got int; put the value in quotes",
    ]


def test_mirrors_are_urls_and_backends_are_listed_once(place):
    (place / "etc/site.toml").write_text(
        '[mirrors]\n"conda-forge" = "https://x"\n"https://y" = "/appl/y"\n'
        '[runtime]\nbackends = ["apptainer", "apptainer"]\n'
    )
    assert refused(place)[0] == [
        "etc/site.toml:2: mirrors.conda-forge: 'conda-forge' is not a URL of https, http or file",
        "etc/site.toml:3: mirrors.\"https://y\": '/appl/y' is not a URL of https, http or file",
        "etc/site.toml:5: runtime.backends[1]: 'apptainer' is listed twice",
    ]


@pytest.mark.parametrize("place_of_list", ["/appl/list.json", "file:///appl/list.json", "https://h/list.json"])
def test_the_list_of_interpreters(place, place_of_list):
    (place / "etc/site.toml").write_text(f'[python]\ndownloads = "{place_of_list}"\n')
    assert load(place).python_downloads == place_of_list


def test_the_list_of_interpreters_has_an_address(place):
    assert load(place).python_downloads is None
    (place / "etc/site.toml").write_text('[python]\ndownloads = "list.json"\n')
    assert refused(place)[0] == [
        "etc/site.toml:2: python.downloads: 'list.json' is neither a URL of https, http or file nor an absolute path"
    ]


def test_stores_of_images(place):
    assert (load(place).store, load(place).stores) == (None, ())
    system, user = place / "etc/site.toml", place / "home/.config/tykky/site.toml"
    system.write_text('store = "/scratch/tykky"\nstores = ["/appl/tykky/store", "/appl/old"]\n')
    site = load(place)
    assert (site.store, site.stores) == (Path("/scratch/tykky"), (Path("/appl/tykky/store"), Path("/appl/old")))
    user.write_text('store = "~/my images"\nstores = []\n')
    site = load(place)
    assert (site.store, site.stores) == (place / "home/my images", ())
    assert dict(site.origins) == {"store": user, "stores": user}


def test_stores_are_absolute_or_below_home_and_listed_once(place):
    (place / "etc/site.toml").write_text('store = "~bob/store"\nstores = ["/a", "~/b", "/a"]\n')
    assert refused(place)[0] == [
        "etc/site.toml:1: store: '~bob/store' is not allowed: write an absolute path, or one below ~/",
        "etc/site.toml:2: stores[1]: '~/b' is not allowed: write an absolute path",
    ]
    (place / "etc/site.toml").write_text('stores = ["/a", "/b", "/a"]\n')
    assert refused(place)[0] == ["etc/site.toml:1: stores[2]: '/a' is listed twice"]
    (place / "etc/site.toml").write_text('store = "~/store"\n')
    with pytest.raises(SiteError) as caught:
        load_site({}, system=place / "etc/site.toml")
    assert str(caught.value) == f"{place}/etc/site.toml: store: '~/store' is below HOME, which is not set"


def test_no_backend_at_all_is_no_choice(place):
    (place / "etc/site.toml").write_text("[runtime]\nbackends = []\n")
    assert refused(place)[0] == ["etc/site.toml:2: runtime.backends: must not be empty"]


# --- the cache


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
