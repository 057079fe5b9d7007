"""The text of a survey."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from experiments.common.text import counted

LISTED = 10  # Names of a list that are printed; --json has them all.


def show(out: dict[str, Any], console: Console | None = None) -> None:
    """Prints a survey, see :func:`experiments.survey.survey`."""
    if console is None:
        console = Console()
        console = console if console.is_terminal else Console(width=120)
    drawn = ' (drawn by the seed: the file names none)' if out['splits_drawn'] else ''
    parts = ', '.join(f'{images} {name}' for name, images in out['splits'].items())
    say = _Printer(console)
    size = f'{counted(out["images"], "image")}, {counted(len(out["classes"]), "class", "classes")}'
    say(f'{out["root"]}: {size}; {parts}{drawn}')
    console.print(_counts(out))
    console.print(_histogram(out))
    if out['pairs']:
        console.print(_pairs(out))
    _sizes(out, say)
    say.items('Images that cannot be read', [f'{file}: {reason}' for file, reason in out['broken'].items()])
    say.items('Images that the label file does not list', out['not_listed'])
    same = out['same_content']
    across = sum(group['across_splits'] for group in same)
    differ = sum(group['labels_differ'] for group in same)
    about = f' ({across} in several splits, {differ} with different labels)' if same else ''
    say.items(f'Equal files under several names{about}', [' = '.join(group['files']) for group in same])
    say.items('One file name in several folders or capitals', [', '.join(group) for group in out['same_name']])
    for name, lacking in out['without_positive'].items():
        say.items(f'Classes without a positive in {name}, which mAP leaves out', lacking)
    say.items(f"Classes without a word vector in '{out['semantics']['source']}'", out['semantics']['without_vector'])
    for reason in out['stops']:
        say(f'Training would stop: {reason}')
    say(f'\nTo train, the images and vectors being as they are:\n{out["command"]}')


class _Printer:
    """Prints names of files and classes as they are."""

    def __init__(self, console: Console):
        self.console = console

    def __call__(self, line: str) -> None:
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def items(self, title: str, items: list[str]) -> None:
        """A list, cut where it is long."""
        self(f'{title}: {len(items) or "none"}')
        for item in items[:LISTED]:
            self(f'  {item}')
        if len(items) > LISTED:
            self(f'  ... and {len(items) - LISTED} more (--json FILE lists all)')


def _counts(out: dict[str, Any]) -> Table:
    unknown = any(cell['unknown'] for part in out['counts'].values() for cell in part.values())
    table = Table(title='Images with each class' + (' (and with unknown labels)' if unknown else ''))
    table.add_column('class')
    for name in out['splits']:
        table.add_column(name, justify='right')
        table.add_column('%', justify='right')
        if unknown:
            table.add_column('unknown', justify='right')
    for label in out['classes']:
        cells = []
        for name in out['splits']:
            cell = out['counts'][name][label]
            known = cell['present'] + cell['absent']
            share = f'{100 * cell["present"] / known:.1f}' if known else '-'
            cells += [str(cell['present']), share, *([str(cell['unknown'])] if unknown else [])]
        table.add_row(label, *cells)
    return table


def _histogram(out: dict[str, Any]) -> Table:
    numbers = sorted({int(number) for part in out['labels_per_image'].values() for number in part})
    table = Table('labels an image', *map(str, numbers), 'mean', title='Labels that are there, by image')
    for name, part in out['labels_per_image'].items():
        images = sum(part.values())
        mean = sum(int(number) * times for number, times in part.items()) / max(images, 1)
        table.add_row(name, *(str(part.get(str(number), 0)) for number in numbers), f'{mean:.2f}')
    return table


def _pairs(out: dict[str, Any]) -> Table:
    table = Table('a', 'b', 'images with both', 'P(b | a)', 'P(a | b)', 'lift', title='Classes that come together most')
    for pair in out['pairs']:
        given = f'{pair["second_given_first"]:.2f}', f'{pair["first_given_second"]:.2f}'
        table.add_row(*pair['classes'], str(pair['together']), *given, f'{pair["lift"]:.1f}')
    return table


def _sizes(out: dict[str, Any], say: _Printer) -> None:
    found = out['sizes']
    if not found:
        return
    for key in ('width', 'height', 'shorter side'):
        part = found[key]
        say(f'{key}: {part["smallest"]} to {part["largest"]} pixels, median {part["median"]:g}')
    for key in ('modes', 'formats'):
        say(f'{key}: ' + ', '.join(f'{name} {times}' for name, times in found[key].items()))
