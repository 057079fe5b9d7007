"""Makes README.md of page.md, the text, and ../results/benchmarks/*.json, the tables: python -m benchmarks.page"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from mlsgm_pyg.app.common.tables import Table

FOLDER = Path(__file__).resolve().parent
RESULTS = FOLDER.parent / 'results' / 'benchmarks'
DEVICES = {'cpu': 'the CPU', 'cuda': 'a GPU'}
CPU_ALONE = ('engines', 'complexity', 'startup')  # What these ask has no answer on a GPU, or the same one.


def devices(name: str) -> list[str]:
    """The devices that a script measures."""
    return ['cpu'] if name in CPU_ALONE else list(DEVICES)


def shown(result: dict[str, Any]) -> str:
    """What a script measured, as it prints it: tables, what was left out, and what it was measured with."""
    parts = [block(Table(**table)) for table in result['tables']]
    if result['left_out']:
        parts.append(f'Left out, as its minutes were over: {"; ".join(result["left_out"])}.')
    commit = f', commit {result["commit"]}' if result['commit'] else ''
    return '\n\n'.join([*parts, f'{result["hardware"]}. `{result["command"]}`, {result["seconds"]:.0f} s{commit}.'])


def block(table: Table) -> str:
    """A table with its title and its notes, in Markdown."""
    return '\n\n'.join(filter(None, (f'**{table.title}**', table.markdown(), ' '.join(table.notes))))


def section(name: str) -> str:
    """All that was measured with a script, and in one line where it never was."""
    files = {device: RESULTS / f'{name}-{device}.json' for device in devices(name)}
    parts = [shown(json.loads(path.read_text())) for path in files.values() if path.is_file()]
    missing = [DEVICES[device] for device, path in files.items() if not path.is_file()]
    return '\n\n'.join(parts + ([f'Not measured on {" or ".join(missing)}.'] if missing else []))


def text() -> str:
    """The whole page."""
    return re.sub(r'\{\{ (\w+) \}\}', lambda found: section(found[1]), (FOLDER / 'page.md').read_text())


def write() -> None:
    (FOLDER / 'README.md').write_text(text())


if __name__ == '__main__':
    sys.exit(write())
