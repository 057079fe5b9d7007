"""Few-shot and zero-shot experiments in tables."""

from __future__ import annotations

from typing import Any

from mlsgm_pyg.app.common.tables import Table
from mlsgm_pyg.app.common.text import decimal, interval, mean_sd, spread

RULE = 'nearest_label'  # What the others are compared with.
METHODS = {
    'ml_sgm': 'ML-SGM',
    'ml_sgm_maps': 'ML-SGM, class maps of the nearest labels',
    RULE: 'score of the nearest label',
    'nearest_labels': 'weighted scores of the nearest labels',
    'all_labels': 'trained on all labels',
}


def few_shot(out: dict[str, Any]) -> Table:
    """A line for each number of examples: every method's mean and spread over draws, and the paired differences."""
    methods = list(dict.fromkeys(method for point in out['summary'] for method in point['methods']))
    first = out['first']
    others = [method for method in methods if method != first]
    gains = [f'`{first}` - `{method}` [95 % interval]' for method in others]
    title = f'{out["name"]}: mAP of the novel classes ({out["evaluated_on"]}), mean ± deviation over draws'
    table = Table(title, ['examples', *(f'`{method}`' for method in methods), *gains])
    for point in out['summary']:
        cells = [_over_draws(point['methods'].get(method)) for method in methods]
        found = point['gains'] if next(iter(point['methods'])) == first else {}
        table.rows.append([str(point['shots']), *cells, *(_paired(found.get(other)) for other in others)])
    return table


def few_shot_classes(out: dict[str, Any]) -> Table:
    """The mean AP of every novel class."""
    found = {f'{method}, {point["shots"]}': one for point in out['summary'] for method, one in point['methods'].items()}
    rows = [[name, *(decimal(one['AP'][name]) for one in found.values())] for name in out['classes']['novel']]
    return Table('AP', ['novel class', *found], rows)


def zero_shot(out: dict[str, Any]) -> Table:
    """A line for each method, its mAP with spread and gain, and one for chance."""
    unseen, seen = out['classes']['unseen'], out['classes']['seen']
    title = (
        f'{out["name"]}: {len(unseen)} labels never trained beside {len(seen)} trained ones ({out["evaluated_on"]}), '
        f'mean ± deviation over seeds {", ".join(map(str, out["seeds"]))}, gains over the nearest label'
    )
    columns = ['scores of the unseen labels', 'unseen, mAP', 'seen, mAP', 'harmonic mean']
    columns += ['unseen, over the score of the nearest label [95 % interval]']
    table = Table(title, columns)
    for method, found in out['methods'].items():
        cells = [spread(mean_sd(found[part]['values'])) for part in ('unseen', 'seen', 'harmonic')]
        table.rows.append([METHODS[method], *cells, interval(out['gains'].get(method))])
    table.rows.append(['chance', *(f'{out["chance"][part]:.2f}' for part in ('unseen', 'seen')), '', ''])
    table.notes += [f'{METHODS[method]}: no gain, as {why}' for method, why in out.get('without_gain', {}).items()]
    return table


def zero_shot_classes(out: dict[str, Any]) -> Table:
    """The AP of every unseen label."""
    unseen = out['classes']['unseen']
    found = {METHODS[method]: found['AP'] for method, found in out['methods'].items()} | {'chance': out['chance']['AP']}
    rows = [[method, *(decimal(aps[name]) for name in unseen)] for method, aps in found.items()]
    notes = [f'{name}: {weights(near)}' for name, near in out['nearest'].items()]
    return Table(f'Of {out["images"]} images', ['AP', *unseen], rows, notes)


def weights(near: dict[str, float]) -> str:
    """The nearest labels of an unseen one, and how much each counts."""
    return ', '.join(f'{name} {weight:.2f}' for name, weight in near.items())


def _over_draws(found: dict[str, Any] | None) -> str:
    """Mean, deviation and number of draws; nothing where there is none."""
    return f'{spread((found["mAP"], found["std"]))} ({len(found["values"])})' if found else ''


def _paired(found: dict[str, Any] | None) -> str:
    """A paired difference with its interval and in how many draws the first was ahead; nothing where there is none."""
    return f'{interval(found)}, ahead in {found["ahead"]} of {found["draws"]}' if found else ''
