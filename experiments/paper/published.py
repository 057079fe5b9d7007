"""The paper's Tables II-IX, as `paper.yaml` holds them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mlsgm_pyg.app.common.errors import ConfigError

PATH = Path(__file__).with_name('paper.yaml')
ROMAN = {2: 'II', 3: 'III', 4: 'IV', 5: 'V', 6: 'VI', 7: 'VII', 8: 'VIII', 9: 'IX'}


@dataclass(frozen=True)
class Row:
    """One line of a table: a method and its numbers by column; None where the paper has none."""

    method: str
    values: dict[str, float | None]
    ref: int | None = None  # The paper's reference.
    rerun: bool = False  # The paper's asterisk: measured by its authors.
    resolution: tuple[int, ...] = ()  # Pixels in training and in testing.
    counted: int | None = None  # Table VIII: the parameters that this module has here.
    fill: str = ''  # What `python -m experiments.run` is given for the same row here.
    slips: dict[str, dict[str, Any]] = field(default_factory=dict)  # Column -> note, and what the arithmetic gives.

    @property
    def name(self) -> str:
        return self.method + (' *' if self.rerun else '') + (f' [{self.ref}]' if self.ref else '')

    @property
    def is_ours(self) -> bool:
        return self.method in ('Ours', 'Our ML-SGM')


@dataclass(frozen=True)
class Section:
    """The lines of a table that are on one data set."""

    data: str | None  # Its name in `data.name`.
    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    classes: tuple[str, ...] = ()  # Table II: the class behind each column but the last.


@dataclass(frozen=True)
class Table:
    """A table of the paper."""

    number: int
    caption: str
    task: str  # full | partial | few_shot | complexity | speed
    unit: str
    sections: tuple[Section, ...]
    check: str = ''  # What can be recomputed: mean | harmonic | parameters
    remarks: tuple[str, ...] = ()  # Where the paper's text and its tables differ.
    fill: str = ''  # The script that measures it, where that is not a run.

    @property
    def title(self) -> str:
        return f'Table {ROMAN[self.number]}'


def load(path: Path = PATH) -> dict[int, Table]:
    """All tables by number."""
    loader = getattr(yaml, 'CSafeLoader', yaml.SafeLoader)  # Ten times as fast, where PyYAML has it.
    content = yaml.load(path.read_text(), loader)
    return {number: _table(number, table) for number, table in content.items()}


def number_of(word: str) -> int:
    """'5' or 'V' -> 5."""
    by_name = {name: number for number, name in ROMAN.items()} | {str(number): number for number in ROMAN}
    if word.upper() not in by_name:
        raise ConfigError(f"the paper's tables of results are 2 to 9, or II to IX (got '{word}')")
    return by_name[word.upper()]


def _table(number: int, content: dict[str, Any]) -> Table:
    sections = tuple(_section(section) for section in content['sections'])
    return Table(number, **content | {'sections': sections, 'remarks': tuple(content.get('remarks', ()))})


def _section(content: dict[str, Any]) -> Section:
    columns = tuple(str(column) for column in content['columns'])
    rows = tuple(
        Row(
            **row
            | {
                'values': dict(zip(columns, row['values'], strict=True)),
                'resolution': tuple(row.get('resolution', ())),
                'slips': {str(column): slip for column, slip in row.get('slips', {}).items()},
            }
        )
        for row in content['rows']
    )
    return Section(**content | {'columns': columns, 'rows': rows, 'classes': tuple(content.get('classes', ()))})
