"""What a number was measured with: processor, versions, commit."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

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
    root = Path(__file__).resolve().parents[3]
    if not (root / '.git').exists():
        return None
    try:
        command = ['git', 'describe', '--always', '--dirty', '--abbrev=12', '--exclude=*']
        return subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def environment(device: torch.device, processes: int = 1) -> dict[str, Any]:
    """What numbers were made on: hardware, versions of packages, commit."""
    import torch

    hardware = {
        'device': torch.cuda.get_device_name(device) if device.type == 'cuda' else processor(),
        'kind': device.type,
        'processes': processes,
        'cores': os.cpu_count(),
        'threads': torch.get_num_threads(),
    }
    return {'hardware': hardware, 'versions': versions(), 'commit': commit()}


def made_by(outs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every commit, hardware and set of versions that made some runs, and how many of them."""
    found: dict[str, dict[str, Any]] = {}
    for out in outs:
        by = {key: out[key] for key in ('commit', 'hardware', 'versions')}
        entry = found.setdefault(json.dumps(by, sort_keys=True), by | {'runs': 0})
        entry['runs'] += 1
    return list(found.values())
