"""Jupyter: kernels of an environment started from outside, and its own JupyterLab in a browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.conformance.lab import Lab, lab, labs, outside, script

__all__ = ["lab", "labs", "outside"]

pytestmark = [pytest.mark.workflows, pytest.mark.network, pytest.mark.timeout(600)]

_CLIENT = """
import json, os, sys, time
from jupyter_client import KernelManager

def until_idle(message):
    shown = []
    while True:
        reply = client.get_iopub_msg(timeout=60)
        if reply["parent_header"].get("msg_id") != message:
            continue
        kind, content = reply["msg_type"], reply["content"]
        if kind == "stream":
            shown.append(content["text"])
        elif kind == "error":
            shown.append(content["ename"])
        elif kind == "display_data":
            shown.append("plot" if "image/png" in content["data"] else "no plot")
        elif kind == "status" and content["execution_state"] == "idle":
            return "".join(shown)

def run(code):
    return until_idle(client.execute(code))

said = {}
manager = KernelManager(kernel_name="lab")
manager.start_kernel()
client = manager.client()
client.start_channels()
client.wait_for_ready(timeout=120)
said["executable"] = run("import sys; print(sys.executable, end='')")
said["plot"] = run("%matplotlib inline\\nimport matplotlib.pyplot as plt\\n_ = plt.plot([1, 2])")
run("x = 1")
first = run("import os; print(os.getpid(), end='')")

message = client.execute("import time; print('up', flush=True); time.sleep(60); print('slept')")
while client.get_iopub_msg(timeout=60)["msg_type"] != "stream":
    pass
manager.interrupt_kernel()
said["interrupted"] = until_idle(message)
said["still there"] = run("print(x, end='')")

manager.restart_kernel(now=False)
client.wait_for_ready(timeout=120)
said["forgotten"] = run("print(x, end='')")
second = run("import os; print(os.getpid(), end='')")
said["another process"] = first != second
manager.shutdown_kernel(now=False)
client.stop_channels()
said["ended"] = not any(os.path.exists(f"/proc/{pid}") for pid in (first, second))
print(json.dumps(said))
"""


def test_a_kernel_for_a_jupyter_outside(lab: Lab, outside: Path):
    """The kernelspec names `P/bin/python`, so any Jupyter can start it, interrupt it and start it again."""
    prefix = lab.bench.place / "home" / "local"
    spec = lab.run(lab.program("python"), "-m", "ipykernel", "install", "--prefix", prefix, "--name", "lab")
    assert str(prefix) in spec.stdout + spec.stderr
    kernel = json.loads((prefix / "share" / "jupyter" / "kernels" / "lab" / "kernel.json").read_text())
    assert kernel["argv"][0] == str(lab.program("python"))
    environ = lab.environ(JUPYTER_PATH=str(prefix / "share" / "jupyter"))
    client = script(lab.bench.place / "client.py", _CLIENT)
    done = lab.run(outside / "bin" / "python", client, env=environ, timeout=300)
    said = json.loads(done.stdout.splitlines()[-1])
    # Apptainer's starter passes on what its program, in the same group, got already: IPython shows two otherwise.
    assert said.pop("interrupted").strip() == "KeyboardInterrupt"
    assert said == {
        "executable": str(lab.program("python")),
        "plot": "plot",
        "still there": "1",
        "forgotten": "NameError",
        "another process": True,
        "ended": True,
    }


_NOTEBOOK = {
    "cells": [
        {
            "cell_type": "code",
            "id": "one",
            "metadata": {},
            "execution_count": None,
            "outputs": [],
            "source": "import sys\nfrom matplotlib import pyplot\nprint('by', sys.executable)\n_ = pyplot.plot([1, 4])",
        }
    ],
    "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    "nbformat": 4,
    "nbformat_minor": 5,
}
_BROWSER = """
import json, sys
from playwright.sync_api import sync_playwright

chromium, url, picture = sys.argv[1:]
with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-dev-shm-usage"])
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.goto(url, timeout=120000)
    cell = page.locator(".jp-Notebook .jp-CodeCell .cm-content").first
    cell.click(timeout=120000)
    # The kernel is there when its indicator says so.
    page.locator(".jp-Notebook-ExecutionIndicator[data-status='idle']").wait_for(timeout=120000)
    page.keyboard.press("Shift+Enter")
    plot = page.locator(".jp-OutputArea-output img").first
    plot.wait_for(timeout=120000)
    page.wait_for_function("e => e.naturalWidth > 100", arg=plot.element_handle(), timeout=60000)
    text = page.locator(".jp-OutputArea-output pre").first.inner_text()
    page.screenshot(path=picture)
    print(json.dumps({"title": page.title(), "text": text.strip()}))
    browser.close()
"""


def test_jupyterlab_of_the_environment_in_a_browser(lab: Lab, outside: Path, tmp_path: Path):
    """JupyterLab in the environment serves a page; a cell run there shows a plot that its kernel drew."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not on this machine")
    notebooks = lab.bench.place / "notebooks"
    notebooks.mkdir()
    (notebooks / "plot.ipynb").write_text(json.dumps(_NOTEBOOK))
    lab.bench.case.own(notebooks)
    log = lab.bench.place / "lab.log"
    words = ["--no-browser", "--ip=127.0.0.1", "--port=0", "--ServerApp.port_retries=0", "--IdentityProvider.token=key"]
    words += ["--allow-root", f"--ServerApp.root_dir={notebooks}"]
    with (
        log.open("w") as said,
        lab.start(lab.program("jupyter"), "lab", *words, stdout=said, stderr=said, stdin=subprocess.DEVNULL) as server,
    ):
        try:
            address = _address(log, server)
            url = f"{address}/lab/tree/plot.ipynb?token=key&reset"
            driver = script(tmp_path / "browser.py", _BROWSER)
            picture = tmp_path / "lab.png"
            done = subprocess.run(
                [outside / "bin" / "python", driver, chromium, url, picture],
                capture_output=True,
                text=True,
                check=False,
                timeout=400,
            )
            assert done.returncode == 0, done.stderr[-3000:] + log.read_text()[-3000:]
            said_by = f"by {lab.program('python')}"
            assert json.loads(done.stdout) == {"title": "plot.ipynb - JupyterLab", "text": said_by}
            assert picture.stat().st_size > 10_000
        finally:
            server.terminate()
            server.wait(60)


def _address(log: Path, server: subprocess.Popen[str]) -> str:
    """Return where the server listens, once it says so."""
    until = time.monotonic() + 120
    while time.monotonic() < until and server.poll() is None:
        found = re.search(r"(http://127\.0\.0\.1:\d+)/lab", log.read_text())
        if found:
            return found.group(1)
        time.sleep(0.1)
    raise AssertionError(log.read_text())
