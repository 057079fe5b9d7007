"""Zero-shot results on the terminal, and the names of the methods that are compared."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

RULE = 'nearest_label'  # What the others are compared with.
METHODS = {
    'ml_sgm': 'ML-SGM',
    'ml_sgm_maps': 'ML-SGM, class maps of the nearest labels',
    RULE: 'score of the nearest label',
    'nearest_labels': 'weighted scores of the nearest labels',
    'all_labels': 'trained on all labels',
}


def show(out: dict[str, Any], console: Console | None = None) -> None:
    """Prints every method's mAP with its spread and gain, and the AP of every unseen label."""
    console = console or Console()
    console = console if console.is_terminal else Console(width=140, file=console.file)
    unseen, seen = out['classes']['unseen'], out['classes']['seen']
    title = (
        f'{out["name"]}: {len(unseen)} labels never trained beside {len(seen)} trained ones ({out["evaluated_on"]}, '
        f'{out["images"]} images), mean ± deviation over seeds {", ".join(map(str, out["seeds"]))}'
    )
    table = Table('', 'unseen mAP', 'seen mAP', 'harmonic mean', 'unseen, over the nearest label', title=title)
    classes = Table('AP', *unseen)
    for method, found in out['methods'].items():
        cells = [spread_text(found[part]) for part in ('unseen', 'seen', 'harmonic')]
        table.add_row(METHODS[method], *cells, gain_text(out['gains'].get(method)))
        classes.add_row(METHODS[method], *(f'{found["AP"][name]:.1f}' for name in unseen))
    table.add_row('chance', *(f'{out["chance"][part]:.2f}' for part in ('unseen', 'seen')), '', '')
    classes.add_row('chance', *(f'{out["chance"]["AP"][name]:.1f}' for name in unseen))
    console.print(table)
    console.print(classes)
    for method, why in out.get('without_gain', {}).items():
        console.print(f'{METHODS[method]}: no gain, as {why}', highlight=False)
    for name, near in out['nearest'].items():
        console.print(
            f'{name}: {", ".join(f"{other} {weight:.2f}" for other, weight in near.items())}', highlight=False
        )


def spread_text(found: dict[str, Any]) -> str:
    """Mean and, of several seeds, their deviation."""
    return f'{found["mAP"]:.2f}' + (f' ± {found["std"]:.2f}' if len(found['values']) > 1 else '')


def gain_text(found: dict[str, Any] | None) -> str:
    """A difference with its interval."""
    return f'{found["difference"]:+.2f} [{found["low"]:+.2f}, {found["high"]:+.2f}]' if found else ''
