"""Site settings: merged from three files, strict, with the origin of each value."""

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from tykky.errors import SiteError
from tykky.site.load import load_site
from tykky.site.model import Init, Policy, Runtime, Settings, Striping
from tykky.site.offer import Site

ROOT = Path(__file__).parents[2]


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


def test_the_files_are_where_the_documents_say(tmp_path):
    """With a real /etc/tykky/site.toml, in a mount namespace of its own."""
    etc, home, named = tmp_path / "etc", tmp_path / "home", tmp_path / "centre.toml"
    for folder in (etc / "tykky", home / ".config" / "tykky"):
        folder.mkdir(parents=True)
    (etc / "tykky" / "site.toml").write_text("[policy]\ndepth = 3\nflatten-from = 3\ngc-grace = 3\n")
    named.write_text("[policy]\nflatten-from = 4\ngc-grace = 4\n")
    (home / ".config" / "tykky" / "site.toml").write_text("[policy]\ngc-grace = 5\n")
    program = (
        "import os; from tykky.site.load import load_site\n"
        "site = load_site(os.environ); print(site.policy, *site.files)"
    )
    script = 'mount -t overlay -o "lowerdir=$1:/etc" etc /etc && exec "$2" -c "$3"'
    argv = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", etc, sys.executable, program]
    environ = {"PATH": os.environ["PATH"], "HOME": str(home), "TYKKY_SITE": str(named)}
    done = subprocess.run(argv, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    if "unshare:" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no overlay can be mounted here: {done.stderr}")
    assert done.stdout == (
        "Policy(depth=3, flatten_from=4, flatten='propose', gc_grace=5) "
        f"/etc/tykky/site.toml {named} {home}/.config/tykky/site.toml\n"
    ), done.stderr


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


def test_a_file_that_everybody_can_write_is_refused(place):
    """Who can write it says which programs are run."""
    system = place / "etc/site.toml"
    system.write_text("")
    system.chmod(0o666)
    lines, hint = refused(place)
    assert (lines, hint) == (["etc/site.toml: can be written by everybody"], f"chmod o-w {system}")
    system.chmod(0o664)
    assert load(place).files == (system,), "a group that keeps it may"


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


def test_environments_have_names_and_each_stands_for_itself(place):
    assert dict(load(place).environments) == {}
    system, user = place / "etc/site.toml", place / "home/.config/tykky/site.toml"
    system.write_text('[environments]\npytorch = "/appl/envs/pytorch"\n"r-4.4" = "/appl/envs/r"\n')
    user.write_text('[environments]\npytorch = "/projappl/p1/pytorch"\nmine = "~/envs/mine"\n')
    site = load(place)
    assert dict(site.environments) == {
        "pytorch": Path("/projappl/p1/pytorch"),
        "r-4.4": Path("/appl/envs/r"),
        "mine": place / "home/envs/mine",
    }
    assert dict(site.origins) == {
        "environments.pytorch": user,
        'environments."r-4.4"': system,
        "environments.mine": user,
    }


def test_an_environment_has_a_name_that_is_no_path_and_a_path(place):
    (place / "etc/site.toml").write_text(
        '[environments]\n"a/b" = "/a"\n"~" = "/b"\n"" = "/c"\nd = "d"\n"e" = 3\nf.g = "/g"\n'
    )
    rule = "a name has letters, digits and . _ + - and begins with a letter or digit"
    assert refused(place)[0] == [
        f"etc/site.toml:2: environments.\"a/b\": 'a/b' is not allowed: {rule}",
        f"etc/site.toml:3: environments.\"~\": '~' is not allowed: {rule}",
        f"etc/site.toml:4: environments.\"\": '' is not allowed: {rule}",
        "etc/site.toml:5: environments.d: 'd' is not allowed: write an absolute path, or one below ~/",
        "etc/site.toml:6: environments.e: expected str, got int; put the value in quotes",
        "etc/site.toml:7: environments.f: expected str, got table",
    ]


def test_an_environment_below_home_needs_a_home(place):
    (place / "etc/site.toml").write_text('[environments]\n"m.1" = "~/m"\n')
    with pytest.raises(SiteError) as caught:
        load_site({}, system=place / "etc/site.toml")
    assert str(caught.value) == (f"{place}/etc/site.toml: environments.\"m.1\": '~/m' is below HOME, which is not set")


def test_trusted_owners_are_names_or_numbers(place):
    assert load(place).trusted_owners == frozenset()
    nobody = pwd.getpwnam("nobody").pw_uid
    system, user = place / "etc/site.toml", place / "home/.config/tykky/site.toml"
    system.write_text('[trust]\nowners = ["nobody", 1234567, "root"]\n')
    assert load(place).trusted_owners == {nobody, 1234567, 0}
    user.write_text("[trust]\nowners = [0]\n")
    assert load(place).trusted_owners == {0}


def test_owners_that_nobody_knows(place):
    (place / "etc/site.toml").write_text(
        '[trust]\nowners = [\n  "root",\n  "no-such-user",\n  7, "root", "a\\u0000"]\n'
    )
    assert refused(place)[0] == [
        "etc/site.toml:4: trust.owners[1]: no user 'no-such-user' is known on this host; write a number",
        "etc/site.toml:5: trust.owners[3]: 'root' is listed twice",
        "etc/site.toml:5: trust.owners[4]: no user 'a\\x00' is known on this host; write a number",
    ]
    (place / "etc/site.toml").write_text('[trust]\nowners = ["root", true, -1, "", 4294967295]\nowner = "root"\n')
    assert refused(place)[0] == [
        "etc/site.toml:2: trust.owners[1]: expected str or int, got bool; put the value in quotes",
        "etc/site.toml:2: trust.owners[2]: -1 is too small, the least is 0",
        "etc/site.toml:2: trust.owners[3]: must not be empty",
        "etc/site.toml:2: trust.owners[4]: 4294967295 is too large, the most is 4294967294",
        "etc/site.toml:3: trust.owner: unknown key (did you mean 'owners'?)",
    ]


def test_policy_of_deep_stacks(place):
    assert load(place).policy == Policy(depth=8, flatten_from=6, flatten="propose")
    (place / "etc/site.toml").write_text('[policy]\ndepth = 12\nflatten-from = 4\nflatten = "do"\n')
    assert load(place).policy == Policy(depth=12, flatten_from=4, flatten="do")
    (place / "etc/site.toml").write_text('[policy]\ndepth = 1\nflatten-from = 33\nflatten = "always"\n')
    assert refused(place)[0] == [
        "etc/site.toml:2: policy.depth: 1 is too small, the least is 2",
        "etc/site.toml:3: policy.flatten-from: 33 is too large, the most is 32",
        "etc/site.toml:4: policy.flatten: 'always' is not one of 'do', 'propose'",
    ]
    (place / "etc/site.toml").write_text('[policy]\ngc-grace = "30d"\n')
    assert refused(place)[0] == ["etc/site.toml:2: policy.gc-grace: expected int, got str"]
    (place / "etc/site.toml").write_text("[policy]\ngc-grace = -1\n")
    assert refused(place)[0] == ["etc/site.toml:2: policy.gc-grace: -1 is too small, the least is 0"]
    (place / "etc/site.toml").write_text("[policy]\ngc-grace = 30\n")
    assert load(place).policy == Policy(gc_grace=30)


def test_a_scratch_directory_is_an_absolute_path(place):
    (place / "etc/site.toml").write_text('[build]\nscratch = "tmp"\n')
    assert refused(place)[0] == ["etc/site.toml:2: build.scratch: 'tmp' is not allowed: write an absolute path"]


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


def test_build_settings(place):
    site = load(place)
    assert (site.processors, site.message) == (None, None)
    (place / "etc/site.toml").write_text('[build]\nprocessors = 4\nmessage = """\nRead\tthis.\nThen that.\n"""\n')
    site = load(place)
    assert (site.processors, site.message) == (4, "Read\tthis.\nThen that.\n")
    (place / "etc/site.toml").write_text('[build]\nprocessors = 0\nmessage = "\\u001b[2J"\n')
    assert refused(place)[0] == [
        "etc/site.toml:2: build.processors: 0 is too small, the least is 1",
        "etc/site.toml:3: build.message: '\\x1b[2J' is not allowed: it holds a control character",
    ]
    (place / "etc/site.toml").write_text('[build]\nprocessors = "all"\nmessage = 3\n')
    assert refused(place)[0] == [
        "etc/site.toml:2: build.processors: expected int, got str",
        "etc/site.toml:3: build.message: expected str, got int; put the value in quotes",
    ]


def test_striping(place):
    assert load(place).striping == Striping(count=None, size=None, pool=None, above="64M")
    (place / "etc/site.toml").write_text('[striping]\ncount = -1\nsize = "4M"\npool = "flash"\nabove = "1G"\n')
    assert load(place).striping == Striping(-1, "4M", "flash", "1G")
    (place / "etc/site.toml").write_text(
        '[striping]\ncount = 2001\nsize = "4 MiB"\npool = "a b"\nabove = 64\nstripe = 1\n'
    )
    assert refused(place)[0] == [
        "etc/site.toml:2: striping.count: 2001 is too large, the most is 2000",
        "etc/site.toml:3: striping.size: '4 MiB' is not allowed: write a number with k, M or G, such as 4M",
        "etc/site.toml:4: striping.pool: 'a b' is not allowed: write the name of a pool of the file system",
        "etc/site.toml:5: striping.above: expected str, got int; put the value in quotes",
        "etc/site.toml:6: striping.stripe: unknown key (did you mean 'size'?)",
    ]
    (place / "etc/site.toml").write_text('[striping]\ncount = 0\nsize = "100k"\nabove = "1k"\n')
    assert refused(place)[0] == [
        "etc/site.toml:2: striping.count: 0 targets can hold no image",
        "etc/site.toml:3: striping.size: '100k' is no multiple of 64k",
        "etc/site.toml:4: striping.above: '1k' is no multiple of 64k",
        "etc/site.toml:4: striping.above: '1k' is no multiple of the size '100k'",
    ]
    (place / "etc/site.toml").write_text('[striping]\nsize = "0"\n')
    assert refused(place)[0] == ["etc/site.toml:2: striping.size: '0' is no size"]
    (place / "etc/site.toml").write_text('[striping]\ncount = 2\nabove = "0"\nsize = "3M"\n')
    assert load(place).striping.above == "0"
    (place / "etc/site.toml").write_text('[striping]\nsize = "3M"\n')
    assert load(place).striping.size == "3M"
    (place / "etc/site.toml").write_text('[striping]\ncount = 2\nsize = "3M"\n')
    assert refused(place)[0] == ["etc/site.toml:1: striping.above: '64M' is no multiple of the size '3M'"]


def test_what_init_writes(place):
    assert load(place).init == Init(
        channels=("conda-forge",), index_url=None, extra_index_url=(), compression_level=None
    )
    (place / "etc/site.toml").write_text(
        '[init]\nchannels = ["ours", "conda-forge"]\nindex-url = "https://pypi.example.org/simple"\n'
        'extra-index-url = ["file:///appl/wheels"]\ncompression-level = 9\n'
    )
    assert load(place).init == Init(
        ("ours", "conda-forge"), "https://pypi.example.org/simple", ("file:///appl/wheels",), 9
    )
    (place / "etc/site.toml").write_text(
        '[init]\nchannels = []\nindex-url = "pypi"\nextra-index-url = ["/a"]\ncompression-level = 23\nchannel = "x"\n'
    )
    assert refused(place)[0] == [
        "etc/site.toml:2: init.channels: must not be empty",
        "etc/site.toml:5: init.compression-level: 23 is too large, the most is 22",
        "etc/site.toml:6: init.channel: unknown key (did you mean 'channels'?)",
    ]
    (place / "etc/site.toml").write_text(
        '[init]\nindex-url = "pypi"\nextra-index-url = ["/a", "https://b", "https://b"]\nchannels = ["a", "b", "a"]\n'
    )
    assert refused(place)[0] == [
        "etc/site.toml:2: init.index-url: 'pypi' is not a URL of https, http or file",
        "etc/site.toml:3: init.extra-index-url[0]: '/a' is not a URL of https, http or file",
        "etc/site.toml:3: init.extra-index-url[2]: 'https://b' is listed twice",
        "etc/site.toml:4: init.channels[2]: 'a' is listed twice",
    ]


def test_directories_to_show(place):
    assert (load(place).bind, load(place).no_bind) == ((), ())
    (place / "etc/site.toml").write_text(
        '[runtime]\nno-bind = ["/boot", "/my disks", "/.snapshots", "/libs", "/..."]\n'
        'bind = ["/my disks/a b", "/x/.y"]\n'
    )
    site = load(place)
    assert site.no_bind == ("/boot", "/my disks", "/.snapshots", "/libs", "/...")
    assert site.bind == ("/my disks/a b", "/x/.y")
    listed = ["/usr", "/dev", "/tykky", "/tmp", "/a/b", "boot", "/", "/..", "/a/"]
    text = ", ".join(f'"{path}"' for path in listed)
    (place / "etc/site.toml").write_text(f"[runtime]\nno-bind = [{text}]\n")
    rule = "write a directory of the root that programs can do without, such as /boot"
    assert refused(place)[0] == [
        f"etc/site.toml:2: runtime.no-bind[{number}]: {path!r} is not allowed: {rule}"
        for number, path in enumerate(listed)
    ]
    (place / "etc/site.toml").write_text('[runtime]\nno-bind = ["/a", "/a"]\nbind = ["/a/b", "/a/b"]\n')
    assert refused(place)[0] == [
        "etc/site.toml:2: runtime.no-bind[1]: '/a' is listed twice",
        "etc/site.toml:3: runtime.bind[1]: '/a/b' is listed twice",
    ]
    (place / "etc/site.toml").write_text('[runtime]\nbind = ["/a/../b", "/a/.", "/", "//a", "a", "/a/", "~/a"]\n')
    assert refused(place)[0] == [
        f"etc/site.toml:2: runtime.bind[{number}]: {path!r} is not allowed: write an absolute path without . and .."
        for number, path in enumerate(["/a/../b", "/a/.", "/", "//a", "a", "/a/", "~/a"])
    ]
