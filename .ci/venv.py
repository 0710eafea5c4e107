"""Make a virtual environment with pip in it, on machines that lack the parts.

Debian splits ``ensurepip`` from Python. In order: the plain way; apt as root;
apt by ``sudo -n``; and, with no rights at all, pip's own wheel out of an
unpacked Debian package.

    python3 .ci/venv.py .venv
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

MINIMUM = (3, 11)


def main(target: Path) -> None:
    if sys.version_info < MINIMUM:
        wanted, found = ".".join(map(str, MINIMUM)), sys.version.split()[0]
        sys.exit(f"Python {wanted} or newer is needed; {sys.executable} is {found}.")
    if has_pip(target):
        return
    if not (plain(target) or (install_venv_package() and plain(target)) or from_unpacked_wheel(target)):
        sys.exit(
            "No virtual environment with pip could be made: install the venv module of your Python "
            "(Debian, Ubuntu: apt install python3-venv)."
        )


def has_pip(target: Path) -> bool:
    python = python_of(target)
    return python.exists() and run(python, "-m", "pip", "--version")


def plain(target: Path) -> bool:
    shutil.rmtree(target, ignore_errors=True)
    return run(sys.executable, "-m", "venv", target) and has_pip(target)


def install_venv_package() -> bool:
    """Install Debian's package, where that is possible without asking anybody."""
    if shutil.which("apt-get") is None:
        return False
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if sudo and shutil.which("sudo") is None:
        return False
    package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    run(*sudo, "apt-get", "update")
    return run(*sudo, "apt-get", "install", "-y", "--no-install-recommends", package) or run(
        *sudo, "apt-get", "install", "-y", "--no-install-recommends", "python3-venv"
    )


def from_unpacked_wheel(target: Path) -> bool:
    """Fetch Debian's wheel of pip as an ordinary user and let it install itself."""
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        return False
    with tempfile.TemporaryDirectory() as scratch:
        if not download("python3-pip-whl", Path(scratch)):
            return False
        for package in Path(scratch).glob("*.deb"):
            run("dpkg", "-x", package, scratch)
        wheel = next(Path(scratch).glob("usr/share/python-wheels/pip-*.whl"), None)
        if wheel is None:
            return False
        shutil.rmtree(target, ignore_errors=True)
        if not run(sys.executable, "-m", "venv", "--without-pip", target):
            return False
        run(python_of(target), wheel / "pip", "install", "--quiet", "pip")
    return has_pip(target)


def download(package: str, folder: Path) -> bool:
    """Fetch a package; by lists of our own where the machine has none, or old ones."""
    own = ["apt-get", "-o", f"Dir::State::Lists={folder / 'lists'}", "-o", f"Dir::Cache={folder / 'cache'}"]
    for part in ("lists/partial", "cache/archives/partial"):
        (folder / part).mkdir(parents=True)
    fetched = run("apt-get", "download", package, cwd=folder)
    return fetched or (run(*own, "update") and run(*own, "download", package, cwd=folder))


def python_of(target: Path) -> Path:
    return target / "Scripts" / "python.exe" if os.name == "nt" else target / "bin" / "python"


def run(*command: object, cwd: Path | None = None) -> bool:
    """Run a command quietly; tell whether it went well."""
    try:
        done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, check=False)
    except OSError:
        return False
    return done.returncode == 0


if __name__ == "__main__":
    main(Path(sys.argv[1]))
