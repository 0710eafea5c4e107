"""Find a Chromium to test with, or get one. Prints its path.

In order::

    $CHROMIUM ── chromium, chrome … on PATH ── unpacked earlier
        └─ apt as root ── sudo -n apt ── playwright install ── apt-get download, unpacked as an ordinary user

It fails in one sentence when none of these works: browser tests are never
skipped quietly.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UNPACKED = ROOT / ".venvs" / "chromium"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
MAC = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
TIMEOUT_S = 600


class NoChromium(Exception):
    """No road led to a browser; the message says what to do."""


def chromium() -> str:
    """Return the path of a browser that starts."""
    if wanted := os.environ.get("CHROMIUM"):
        if not starts(wanted):
            raise NoChromium(f"$CHROMIUM is {wanted!r}, which does not start.")
        return wanted
    roads: list[Callable[[], str | None]] = [
        present,
        unpacked,
        from_apt_as_root,
        from_apt_by_sudo,
        from_playwright,
        from_unpacked_packages,
    ]
    for road in roads:
        if (path := road()) is not None and starts(path):
            return path
    raise NoChromium("No Chromium was found and none could be installed: install one, or name it in $CHROMIUM.")


def present() -> str | None:
    """Return a browser of this machine. Ubuntu's `chromium` may be a stub for a snap; `starts` finds out."""
    candidates = [shutil.which(name) for name in NAMES] + [path for path in MAC if Path(path).exists()]
    return next((path for path in candidates if path is not None and starts(path)), None)


def unpacked() -> str | None:
    """Return what an earlier run unpacked."""
    launcher = UNPACKED / "chromium"
    return str(launcher) if launcher.exists() else None


def from_apt_as_root() -> str | None:
    """Install Debian's package, being root."""
    if not on_debian() or os.geteuid() != 0:
        return None
    run("apt-get", "update")
    run("apt-get", "install", "-y", "--no-install-recommends", "chromium", "fonts-dejavu-core")
    return shutil.which("chromium")


def from_apt_by_sudo() -> str | None:
    """Install it by sudo, where that asks no password."""
    if not on_debian() or shutil.which("sudo") is None or not run("sudo", "-n", "true"):
        return None
    run("sudo", "-n", "apt-get", "update")
    run("sudo", "-n", "apt-get", "install", "-y", "--no-install-recommends", "chromium", "fonts-dejavu-core")
    return shutil.which("chromium")


def from_playwright() -> str | None:
    """Take Playwright's own build, where its servers can be reached (macOS, Windows, continuous integration)."""
    if not run(sys.executable, "-m", "playwright", "install", "chromium"):
        return None
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        return playwright.chromium.executable_path


def from_unpacked_packages() -> str | None:
    """Fetch Debian's packages as an ordinary user and unpack them; nothing is installed."""
    if not on_debian() or shutil.which("dpkg") is None:
        return None
    home = UNPACKED / "root"
    fetched = UNPACKED / "packages"
    fetched.mkdir(parents=True, exist_ok=True)
    apt = own_apt()
    # The machine's own lists may be old, or not be there at all.
    run(*apt, "update")
    names = missing_packages(apt, "chromium", "fonts-dejavu-core")
    if not names or not run(*apt, "download", *names, cwd=fetched):
        return None
    for package in fetched.glob("*.deb"):
        run("dpkg", "-x", str(package), str(home))
    for folder in (fetched, UNPACKED / "lists", UNPACKED / "cache"):
        shutil.rmtree(folder, ignore_errors=True)
    binary = home / "usr" / "lib" / "chromium" / "chromium"
    if not binary.exists():
        return None
    return str(write_launcher(home, binary))


def own_apt() -> list[str]:
    """Return an ``apt-get`` that keeps its lists here, where an ordinary user may write."""
    lists, cache = UNPACKED / "lists", UNPACKED / "cache"
    for folder in (lists / "partial", cache / "archives" / "partial"):
        folder.mkdir(parents=True, exist_ok=True)
    return ["apt-get", "-o", f"Dir::State::Lists={lists}", "-o", f"Dir::Cache={cache}"]


def missing_packages(apt: Sequence[str], *names: str) -> list[str]:
    """Return packages and what they depend on, less what this machine has."""
    done = subprocess.run(
        [*apt, "install", "--simulate", "--no-install-recommends", *names],
        capture_output=True,
        text=True,
        check=False,
    )
    return [line.split()[1] for line in done.stdout.splitlines() if line.startswith("Inst ")]


def write_launcher(home: Path, binary: Path) -> Path:
    """Write a script that starts the unpacked browser with the unpacked libraries."""
    folders = sorted({str(path.parent) for path in home.rglob("*.so*")})
    launcher = UNPACKED / "chromium"
    fonts = home / "etc" / "fonts"
    launcher.write_text(
        "#!/bin/sh\n"
        f'export LD_LIBRARY_PATH="{":".join(folders)}:$LD_LIBRARY_PATH"\n'
        f'[ -d /etc/fonts ] || export FONTCONFIG_PATH="{fonts}"\n'
        f'export XDG_DATA_HOME="{home}/usr/share"\n'  # where fontconfig looks for a user's fonts
        f'exec "{binary}" --no-sandbox "$@"\n'
    )
    launcher.chmod(0o755)
    return launcher


def on_debian() -> bool:
    return shutil.which("apt-get") is not None


def starts(path: str) -> bool:
    """Tell whether this is a browser that can run here."""
    if os.name == "nt":
        return Path(path).exists()  # there, `--version` opens a window
    return run(path, "--version")


def run(*command: str, cwd: Path | None = None) -> bool:
    """Run a command quietly; tell whether it went well."""
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, check=False, timeout=TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


if __name__ == "__main__":
    try:
        sys.stdout.write(chromium() + "\n")
    except NoChromium as error:
        sys.exit(str(error))
