"""What layers of a registry's image show together: whiteouts, links, and what hostile archives try."""

from __future__ import annotations

import pytest

from tykky.layers.root_tree import BadLayer, Member, RootTree


def d(name: str) -> tuple[str, str, str]:
    return (name, "directory", "")


def f(name: str) -> tuple[str, str, str]:
    return (name, "file", "")


def s(name: str, target: str) -> tuple[str, str, str]:
    return (name, "symlink", target)


def h(name: str, target: str) -> tuple[str, str, str]:
    return (name, "hard link", target)


def shown(*layers: list[tuple[str, str, str]]) -> dict[str, str]:
    """Return path -> what is there: `/` for a directory, `-> target`, or `layer.member` for a file."""
    tree = RootTree()
    for members in layers:
        tree.add([Member(number, name, kind, target=to) for number, (name, kind, to) in enumerate(members)])  # type: ignore[arg-type]
    what = {
        "directory": lambda x: "/",
        "symlink": lambda x: f"-> {x.target}",
        "file": lambda x: f"{x.layer}.{x.number}",
    }
    return {one.path: what[one.kind](one) for one in tree.shown()}


def test_an_upper_layer_replaces_what_is_at_its_paths():
    assert shown([d("etc"), f("etc/a"), f("etc/b")], [f("etc/b"), f("./etc/c"), f("/etc/d/")]) == {
        "etc": "/",
        "etc/a": "0.1",
        "etc/b": "1.0",
        "etc/c": "1.1",
        "etc/d": "1.2",
    }


def test_a_directory_keeps_what_lower_layers_have_in_it():
    assert shown([d("a"), f("a/x")], [d("a"), f("a/y")]) == {"a": "/", "a/x": "0.1", "a/y": "1.1"}


@pytest.mark.parametrize(
    ("lower", "upper", "expected"),
    [
        ([f("a")], [d("a"), f("a/x")], {"a": "/", "a/x": "1.1"}),
        ([d("a"), f("a/x")], [f("a")], {"a": "1.0"}),
        ([s("a", "b"), d("b"), f("b/x")], [d("a"), f("a/y")], {"a": "/", "a/y": "1.1", "b": "/", "b/x": "0.2"}),
        ([d("a"), f("a/x")], [s("a", "b")], {"a": "-> b"}),
        # Without a word about the directory itself.
        ([f("a")], [f("a/x")], {"a": "/", "a/x": "1.0"}),
    ],
)
def test_one_kind_replaces_another(lower, upper, expected):
    assert shown(lower, upper) == expected


def test_a_whiteout_hides_what_lower_layers_have():
    lower = [d("a"), f("a/x"), f("a/y"), d("b"), f("b/z"), f("b/deep/er")]
    assert shown(lower, [f("a/.wh.x"), f(".wh.b")]) == {"a": "/", "a/y": "0.2"}
    assert shown(lower, [f(".wh.b")], [f("b/new")]) == {"a": "/", "a/x": "0.1", "a/y": "0.2", "b": "/", "b/new": "2.0"}


@pytest.mark.parametrize("last", [True, False])
def test_a_whiteout_does_not_hide_what_its_own_layer_has(last):
    own = [d("a"), f("a/x")]
    white = [f("a/.wh.x"), f(".wh.a")]
    found = shown([d("a"), f("a/x"), f("a/y")], own + white if last else white + own)
    assert found == {"a": "/", "a/x": "1.1" if last else "1.3"}


@pytest.mark.parametrize("last", [True, False])
def test_an_opaque_directory_hides_all_of_lower_layers_in_it(last):
    own, white = [d("a"), f("a/new")], [f("a/.wh..wh..opq")]
    found = shown([d("a"), f("a/x"), d("a/deep"), f("a/deep/y"), f("b")], own + white if last else white + own)
    assert found == {"a": "/", "a/new": "1.1" if last else "1.2", "b": "0.4"}


def test_whiteouts_of_nothing_and_other_words_of_aufs_are_passed_over():
    assert shown(
        [f("a")], [f("no/.wh.x"), f(".wh.x"), f("no/.wh..wh..opq"), f(".wh..wh.plnk/1"), f(".wh..wh.aufs")]
    ) == {
        "a": "0.0",
        ".wh..wh.plnk": "/",
        ".wh..wh.plnk/1": "1.3",
    }


def test_hard_links_show_the_file_they_are_links_to():
    assert shown([f("a/x"), h("b", "a/x"), h("c", "./a/x")], [f("a/x"), f("c")]) == {
        "a": "/",
        "a/x": "1.0",
        "b": "0.0",
        "c": "1.1",
    }
    assert shown([s("l", "to"), h("m", "l")]) == {"l": "-> to", "m": "-> to"}


@pytest.mark.parametrize("target", ["no", "dir", "dir/no", "../etc/passwd", "no/../../a", ""])
def test_a_hard_link_to_no_file_of_the_image_is_refused(target):
    with pytest.raises(BadLayer):
        shown([d("dir"), h("b", target)])


def test_what_a_hard_link_says_is_what_is_told():
    with pytest.raises(BadLayer) as caught:
        shown([h("etc/shadow", "/etc/no")])
    assert str(caught.value) == "'etc/shadow' is a hard link to '/etc/no', which is no file of it"


@pytest.mark.parametrize(
    "link", ["usr/lib", "/usr/lib", "./usr//lib", "../../usr/lib", "/../usr/bin/../lib", "usr/through"]
)
def test_paths_through_a_link_lead_where_it_leads_inside(link):
    """As in images of a system whose /lib is a link, to which a layer adds `lib/x` without a word about `lib`."""
    lower = [d("usr/bin"), d("usr/lib"), s("usr/through", "lib"), s("lib", link)]
    found = shown(lower, [f("lib/x"), f("lib/.wh.no")])
    assert found["usr/lib/x"] == "1.0"
    assert found["lib"] == f"-> {link}"


def test_no_path_passes_a_link_or_leaves_the_tree():
    """What archives try that want to write elsewhere: over a link to the host's /etc, up, and around a corner."""
    found = shown(
        [s("out", "/etc"), s("up", "../../../.."), d("in"), s("in/out", "../../etc")],
        [f("out/passwd"), f("up/top"), f("in/out/group"), s("out/link", "/root"), f("out/link/.ssh")],
    )
    assert found == {
        "etc": "/",
        "etc/group": "1.2",
        "etc/link": "-> /root",
        "etc/passwd": "1.0",
        "in": "/",
        "in/out": "-> ../../etc",
        "out": "-> /etc",
        "root": "/",
        "root/.ssh": "1.4",
        "top": "1.1",
        "up": "-> ../../../..",
    }
    links = {path for path, what in found.items() if what.startswith("->")}
    assert not [path for path in found for link in links if path.startswith(f"{link}/")]


@pytest.mark.parametrize("name", ["../a", "a/../../b", "a/..", "..", "/../a", "a\0b"])
def test_names_that_are_no_path_inside_are_refused(name):
    with pytest.raises(BadLayer) as caught:
        shown([f(name)])
    assert str(caught.value) == f"{name!r} is no path inside of an image"


def test_links_in_a_circle_end():
    with pytest.raises(BadLayer) as caught:
        shown([s("a", "b"), s("b", "a"), f("a/x")])
    assert str(caught.value) == "'a' is one of too many links that lead to one another"


@pytest.mark.parametrize("name", ["", "/", "./", "."])
def test_a_member_for_the_root_itself_says_nothing(name):
    assert shown([d(name), f("a")]) == {"a": "0.1"}


def test_a_path_of_many_parts_is_read_and_an_endless_one_is_not():
    assert len(shown([f("/".join("d" * 2000))])) == 2000
    with pytest.raises(BadLayer):
        shown([f("/".join("d" * 20_000))])
