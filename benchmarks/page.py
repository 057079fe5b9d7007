"""Makes README.md of page.md, the text, and ../results/benchmarks/*.json, the tables: python -m benchmarks.page"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
RESULTS = FOLDER.parent / 'results' / 'benchmarks'
DEVICES = {'cpu': 'the CPU', 'cuda': 'a GPU'}
CPU_ALONE = ('engines', 'complexity', 'startup')  # What these ask has no answer on a GPU, or the same one.


@dataclass
class Table:
    """One table of a benchmark.

    Args:
        title (str): What it answers.
        columns (sequence of str): Names of the columns.
        rows (list): One list of cells a row, numbers as they were measured.
        notes (list[str]): What must be known to read it.
    """

    title: str
    columns: Sequence[str]
    rows: list[list[Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def markdown(self) -> str:
        lines = [f'**{self.title}**', '', '| ' + ' | '.join(self.columns) + ' |', '|---' * len(self.columns) + '|']
        lines += ['| ' + ' | '.join(map(_cell, row)) + ' |' for row in self.rows]
        return '\n'.join(lines + ['', ' '.join(self.notes)] if self.notes else lines)


def devices(name: str) -> list[str]:
    """The devices that a script measures."""
    return ['cpu'] if name in CPU_ALONE else list(DEVICES)


def shown(result: dict[str, Any]) -> str:
    """What a script measured, as it prints it: tables, what was left out, and what it was measured with."""
    parts = [Table(**table).markdown() for table in result['tables']]
    if result['left_out']:
        parts.append(f'Left out, as its minutes were over: {"; ".join(result["left_out"])}.')
    commit = f', commit {result["commit"]}' if result['commit'] else ''
    return '\n\n'.join([*parts, f'{result["hardware"]}. `{result["command"]}`, {result["seconds"]:.0f} s{commit}.'])


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


def _cell(value: Any) -> str:
    if value is None:
        return '-'
    if isinstance(value, float):
        digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 0.1 else 4
        return f'{value:,.{digits}f}'
    return f'{value:,}' if isinstance(value, int) else str(value)


if __name__ == '__main__':
    sys.exit(write())
