"""Variables, hygiene, nesting, and what a launch leaves on the node."""

from __future__ import annotations

import json
import os
import shutil
import stat
from pathlib import Path

import pytest

from tests.conformance.conftest import Bench
from tests.conformance.stage import PREFIX, publish
from tykky.runtime.model import Launch, Stack

SHOW = "import json, os; print(json.dumps(dict(os.environ)))"
# Python's own coercion of the C locale, and what a shell cannot help setting.
_ASIDE = ("LC_CTYPE", "PWD", "_", "SHLVL")


def variables(bench: Bench, environment: Path, **given: str) -> dict[str, str]:
    found = json.loads(bench.run(environment / "bin" / "python", "-c", SHOW, env=bench.environ(**given)).stdout)
    return {name: value for name, value in found.items() if name not in _ASIDE}


def test_only_the_launchs_own_variables_are_added(bench: Bench, kind: str):
    place = bench.environment(
        kind=kind,
        environ={"OMP_NUM_THREADS": "1", "ODD": "a 'b' $c `d`\n\"e\""},
        activation={"GDAL_DATA": "/tykky/demo/share/gdal", "BEFORE": None},
        path_prepend=("/tykky/demo/sbin",),
    )
    given = bench.environ(BEFORE="x", NEWLINE="a\nb", EMPTY="", SPACES=" a  b ", UNICODE="ü文")
    expected = {name: value for name, value in given.items() if name not in _ASIDE and name != "BEFORE"} | {
        "GDAL_DATA": "/tykky/demo/share/gdal",
        "ODD": "a 'b' $c `d`\n\"e\"",
        "OMP_NUM_THREADS": "1",
        "PATH": f"{place}/bin:/tykky/demo/sbin:{given['PATH']}",
        "PYTHONNOUSERSITE": "1",
        "TYKKY_ENVIRONMENT": str(place),
    }
    found = variables(bench, place, BEFORE="x", NEWLINE="a\nb", EMPTY="", SPACES=" a  b ", UNICODE="ü文")
    assert found == expected


def test_with_no_variables_at_all(bench: Bench, environment: Path):
    """`env -i P/bin/python` works, and finds the system's programs. (A site names its Apptainer in site.toml.)"""
    done = bench.run(
        "/usr/bin/env", "-i", f"TYKKY_BACKEND={bench.case.backend}", environment / "bin" / "python", "-c", SHOW
    )
    found = {name: value for name, value in json.loads(done.stdout).items() if name not in _ASIDE}
    path = found.pop("PATH")
    assert path.startswith(f"{environment}/bin:/")
    assert found.pop("HOME", None) is None
    assert found == {
        "PYTHONNOUSERSITE": "1",
        "TYKKY_BACKEND": bench.case.backend,
        "TYKKY_ENVIRONMENT": str(environment),
    }


def test_a_users_python_settings_do_not_reach_in(bench: Bench, environment: Path):
    elsewhere = bench.place / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "thing.py").write_text("where = 'the user'\n")
    given = bench.environ(PYTHONPATH=str(elsewhere), PYTHONHOME="/nowhere", PYTHONUSERBASE=str(elsewhere))
    done = bench.run(
        environment / "bin" / "python", "-c", "import thing, site; print(thing.where, site.ENABLE_USER_SITE)", env=given
    )
    assert done.stdout == "middle False\n"


def test_a_sites_library_path_reaches_the_program_alone(bench: Bench, environment: Path):
    """A broken library in it must not stop mount or squashfuse; the program sees it as it was."""
    broken = bench.place / "lib"
    broken.mkdir()
    for name in ("libmount.so.1", "libfuse3.so.3", "libselinux.so.1"):
        (broken / name).write_text("not a library")
    assert variables(bench, environment, LD_LIBRARY_PATH=str(broken))["LD_LIBRARY_PATH"] == str(broken)


def test_binds_of_the_users_own_containers_stay_as_they_are(bench: Bench, environment: Path):
    given = {"APPTAINER_BIND": f"{bench.place}:/data-of-a-test", "SINGULARITY_BIND": str(bench.place)}
    found = variables(bench, environment, **given)
    assert {name: found.get(name) for name in given} == given
    assert "APPTAINER_BINDPATH" not in found
    if bench.case.backend == "apptainer":
        text = "import os; print(os.path.isdir('/data-of-a-test'))"
        assert bench.run(environment / "bin" / "python", "-c", text, env=bench.environ(**given)).stdout == "True\n"


@pytest.mark.parametrize("name", ["APPTAINER_BIND", "APPTAINER_BINDPATH", "SINGULARITY_BIND", "SINGULARITY_BINDPATH"])
def test_a_bind_of_the_users_own_that_leads_nowhere(bench: Bench, environment: Path, name: str):
    """No container, no harm. Apptainer starts nothing then, whether this user launched before or not."""
    given = bench.environ(**{name: f"/usr,{bench.place}:/data:ro,/gone/scratch:/scratch"})
    for _ in range(2):
        done = bench.run(environment / "bin" / "python", "-c", "print(1)", env=given, check=False)
        if bench.case.backend == "namespace":
            assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")
        else:
            assert (done.returncode, done.stdout, done.stderr) == (
                125,
                "",
                f"tykky: no backend works on this host\n    apptainer: {name} names /gone/scratch, which is not there\n"
                "tykky doctor says more, and how to get what is missing\n",
            )
        bench.run(environment / "bin" / "python", "-c", "pass")


def test_variables_left_over_from_a_container(bench: Bench, environment: Path):
    """srun hands them on to a node where there is no container."""
    if bench.case.backend == "namespace":
        pytest.skip("no Apptainer is asked")
    stale = {
        "APPTAINER_CONTAINER": "/gone.sif",
        "SINGULARITY_NAME": "gone.sif",
        "APPTAINER_WRITABLE_TMPFS": "1",
        "SINGULARITY_CONTAIN": "1",
        "APPTAINER_OVERLAYIMAGE": "/gone.sqfs",
    }
    found = variables(bench, environment, **stale)
    assert [name for name in found if name.startswith(("APPTAINER_", "SINGULARITY_"))] == []


def test_no_other_python_starts(bench: Bench, environment: Path):
    """Invariant 7: P needs sh and the runtime's programs. Any other python on PATH would leave a mark."""
    poisoned = bench.place / "poisoned"
    poisoned.mkdir()
    for name in ("python", "python3", "tykky"):
        (poisoned / name).write_text(f"#!/bin/sh\ntouch '{bench.place}/mark'\n")
        (poisoned / name).chmod(0o755)
    bench.case.own(bench.place)
    given = bench.environ(PATH=f"{poisoned}:/usr/bin:/bin")
    done = bench.run(environment / "bin" / "tool", env=given)
    assert done.stdout.splitlines()[0] == f"{environment}/bin/python"
    assert not (bench.place / "mark").exists()


def test_programs_of_the_users_path_do_not_mount(bench: Bench, environment: Path):
    """A directory at the front of PATH that calls something mount, sh or umount changes nothing."""
    mine = bench.place / "mine"
    mine.mkdir()
    for name in ("mount", "umount", "chroot", "cp", "ln", "rm", "setsid", "sh", "env"):
        (mine / name).write_text("#!/bin/false\n")
        (mine / name).chmod(0o755)
    given = bench.environ(PATH=f"{mine}:/usr/bin:/bin")
    text = "import sys, shutil; print(sys.executable, shutil.which('mount'))"
    done = bench.run(environment / "bin" / "python", "-c", text, env=given)
    assert done.stdout == f"{environment}/bin/python {mine}/mount\n"


def test_what_was_probed_is_private_and_used_again(bench: Bench, environment: Path):
    run = bench.place / "home" / "run" / "tykky"
    given = bench.environ(TYKKY_MOUNT="private")
    for _ in range(2):
        bench.run(environment / "bin" / "python", "-c", "pass", env=given)
    files = list(run.glob("probe*"))
    assert [file.name for file in files] == [f"probe2-{bench.case.backend}"]
    assert stat.S_IMODE(run.stat().st_mode) == 0o700
    assert stat.S_IMODE(files[0].stat().st_mode) == 0o600
    # What it says is believed: a program named there that is gone means to look again.
    lines = files[0].read_text().splitlines()
    files[0].write_text("\n".join("/gone/program" if line.startswith("/") else line for line in lines) + "\n")
    assert bench.run(environment / "bin" / "python", "-c", "print(1)", env=given).stdout == "1\n"
    assert files[0].read_text().splitlines() == lines


def test_what_others_wrote_is_not_believed(bench: Bench, environment: Path):
    """A cache that is a link, or another's, is passed by."""
    if bench.case.user is None:
        pytest.skip("needs a second user")
    run = bench.place / "home" / "run" / "tykky"
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir(mode=0o777)
    run.chmod(0o777)  # root's, not the user's
    (run / f"probe2-{bench.case.backend}").write_text("nonsense\n")
    assert bench.run(environment / "bin" / "python", "-c", "print(1)").stdout == "1\n"
    assert (run / f"probe2-{bench.case.backend}").read_text() == "nonsense\n"


def test_a_damaged_cache_is_made_anew(bench: Bench, environment: Path):
    given = bench.environ(TYKKY_MOUNT="private")
    bench.run(environment / "bin" / "python", "-c", "pass", env=given)
    cache = bench.place / "home" / "run" / "tykky" / f"probe2-{bench.case.backend}"
    cache.write_text(cache.read_text()[:40])
    assert bench.run(environment / "bin" / "python", "-c", "print(1)", env=given).stdout == "1\n"
    assert cache.read_text().endswith("end\n")


def test_home_may_be_missing_or_read_only(bench: Bench, environment: Path):
    given = bench.environ(HOME="/nonexistent")
    assert bench.run(environment / "bin" / "python", "-c", "print(1)", env=given).stdout == "1\n"
    del given["HOME"]
    assert bench.run(environment / "bin" / "python", "-c", "print(1)", env=given).stdout == "1\n"


def test_a_temporary_directory_that_is_gone(bench: Bench, environment: Path):
    """So may be the session's directory, where srun hands that on to a node without a login."""
    given = bench.environ(TMPDIR="/gone/with/the/job")
    assert bench.run(environment / "bin" / "python", "-c", "print(1)", env=given).stdout == "1\n"
    given |= {"XDG_RUNTIME_DIR": "/run/user/of-another-node", "TYKKY_MOUNT": "private"}
    assert bench.run(environment / "bin" / "python", "-c", "print(1)", env=given).stdout == "1\n"


def test_no_backend_is_one_clear_message(bench: Bench, kind: str):
    """Neither squashfuse_ll nor Apptainer: what is missing is named, with the launch's own exit status."""
    place = bench.environment(kind=kind)
    stack = Stack(PREFIX, (f".tykky/layers/{kind}-0.sqfs",))
    publish(place, 2, Launch(stack, "demo", programs={"apptainer": "/bin/false"}, backends=("apptainer",)))
    bench.case.own(place)
    given = bench.environ()
    del given["TYKKY_BACKEND"]
    done = bench.run(place / "bin" / "python", env=given, check=False)
    assert done.returncode == 125
    assert done.stderr == (
        "tykky: no backend works on this host\n    apptainer: /bin/false cannot mount here ()\n"
        "tykky doctor says more, and how to get what is missing\n"
    )


def test_another_environment_inside_this_one(bench: Bench, kind: str):
    """It mounts its own where the host can, and says so in its own words and exit status where it cannot."""
    outer, inner = bench.environment("outer", kind), bench.environment("inner", "conda")
    text = (
        "import subprocess, sys\n"
        f"done = subprocess.run([{str(inner / 'bin' / 'python')!r}, '-c', 'import sys; print(sys.executable)'],"
        " capture_output=True, text=True)\n"
        "print(done.returncode, done.stdout, done.stderr)\n"
    )
    done = bench.run(outer / "bin" / "python", "-c", text)
    status = int(done.stdout.split()[0])
    if bench.case.userns:
        assert (status, done.stdout.split()[1]) == (0, f"{inner}/bin/python")
    else:
        # A setuid program counts for nothing inside a container that one made.
        assert status == 121
        program = bench.case.programs["apptainer"]
        assert (
            f" tykky: {inner} cannot be mounted inside {outer} on this host\n    apptainer: {program} " in done.stdout
        )


def test_many_at_once(bench: Bench, environment: Path):
    """Launches do not disturb one another: each gets its own, with the first ones probing at the same time."""
    command = (environment / "bin" / "python", "-c", "import thing; print(thing.where)")
    running = [bench.start(*command) for _ in range(12)]
    assert [process.communicate(timeout=120)[0] for process in running] == ["middle\n"] * 12


def test_nested_user_namespaces_still_work(bench: Bench, environment: Path):
    """Browsers, bubblewrap and other containers make their own inside."""
    if bench.case.backend == "apptainer" or shutil.which("unshare") is None:
        pytest.skip("Apptainer's own business")
    done = bench.run(
        environment / "bin" / "python", "-c", "import os; os.execvp('unshare', ['unshare', '-Ur', 'id', '-u'])"
    )
    assert done.stdout == "0\n"


def test_the_old_root_cannot_be_seen(bench: Bench, environment: Path):
    """Nothing of the way in stays visible: one root directory, nothing above it, and no place of the images in it."""
    text = (
        "import os\n"
        "mounts = [line.split()[4] for line in open('/proc/self/mountinfo')]\n"
        "print(mounts.count('/'), os.path.samefile('/..', '/'), os.path.samefile('/proc/self/root', '/'))\n"
        "print(os.path.exists('/tykky/.images'), [name for name in os.listdir('/tykky') if name != '.identity'])"
    )
    seen = bench.run(environment / "bin" / "python", "-c", text).stdout
    assert seen == "1 True True\nFalse ['demo']\n"
    assert os.listdir(environment / ".tykky") != []
