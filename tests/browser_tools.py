# pyright: reportMissingImports=false
"""For the tests of the page: a browser without a screen, and the program whose page it shows."""

import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.conftest import enable_interrupts


class Browser:
    """Chromium without a screen, and the page in it."""

    def __init__(self, folder: Path):
        from selenium import webdriver

        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium") or ""
        for flag in (
            *("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-sync"),
            *("disable-background-networking", "disable-component-update", "use-angle=swiftshader"),
            *("enable-unsafe-swiftshader", "window-size=800,480", f"user-data-dir={folder}"),
        ):
            options.add_argument(f"--{flag}")
        self.driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))

    def place(self) -> tuple[float, float]:
        """x and y of the first robot, as the page says."""
        found = re.search(r"x (-?[\d.]+) m, y (-?[\d.]+) m", self.text())
        assert found, self.text()
        return float(found[1]), float(found[2])

    def still(self) -> tuple[float, float] | None:
        """The place of the robot, if it stays there for a while."""
        place = self.place()
        time.sleep(1.0)
        return place if self.place() == place else None

    def click(self, path: str) -> None:
        """Click an element anywhere in the panel, which scrolls."""
        self.driver.execute_script("arguments[0].click()", self.driver.find_element("xpath", path))

    def text(self) -> str:
        """The text of the page; empty while it has no body."""
        return self.driver.execute_script("return document.body ? document.body.innerText : ''")

    def until(self, condition, seconds: float = 40.0):
        """Wait until a condition on the page is true, and return its value."""
        end = time.monotonic() + seconds
        while True:
            try:
                if value := condition():
                    return value
            except AssertionError:
                pass
            assert time.monotonic() < end, self.text()
            time.sleep(0.1)


def start(*arguments, cwd: Path) -> tuple[subprocess.Popen, str]:
    """The program with the page, and its address."""
    command = [str(Path(sys.executable).with_name("cmg-jax")), "view", "--port", "0", *map(str, arguments)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd, preexec_fn=enable_interrupts
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.search(r"http://127\.0\.0\.1:\d+", line)
    if found is None:
        process.kill()
        raise AssertionError(line + process.communicate()[1])
    return process, found[0]


def stop(process: subprocess.Popen) -> str:
    """Ctrl-C; what it printed."""
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    return out
