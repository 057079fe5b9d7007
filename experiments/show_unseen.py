"""Zero-shot results on the terminal, and the names of the methods that are compared."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from experiments.common.text import interval, mean_sd, spread

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
        cells = [spread(mean_sd(found[part]['values'])) for part in ('unseen', 'seen', 'harmonic')]
        table.add_row(METHODS[method], *cells, interval(out['gains'].get(method)))
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
