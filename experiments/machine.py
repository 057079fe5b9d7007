"""What a number was measured with: processor, versions, commit."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ('torch', 'torchvision', 'torch-geometric', 'torch-scatter', 'torch-cluster', 'lightning', 'timm', 'numpy')


def processor() -> str:
    """The processor's name."""
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(':', 1)[1].strip() for line in lines if line.startswith('model name')), platform.machine())


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that numbers may depend on."""
    out = {'python': platform.python_version()}
    for package in PACKAGES:
        try:
            out[package] = version(package)
        except PackageNotFoundError:
            continue
    return out


def commit() -> str | None:
    """The clone's commit, with '-dirty' where files differ from it; none outside of a clone."""
    try:
        command = ['git', 'describe', '--always', '--dirty', '--abbrev=12', '--exclude=*']
        return subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
