"""Does it keep its promise? The rows for people beside their baseline and their best peer, in every regime.

python -m experiments.promise RUN_OR_FOLDER ...     results/promise.json and the README's table, of these runs

A regime is a row under a task or on a data set, found by the names of runs (REGIMES); what was not run is left out and
named. Gains are over the seeds that both have, with a paired bootstrap over photographs (few-shot:
Student's t over draws).
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

from experiments.novel.results import FEW_SHOT, FewShot, read_few_shot
from experiments.paper import extracts
from experiments.summary import README, ROOT, by_name, write_promise
from mlsgm_pyg.app.common import cli
from mlsgm_pyg.app.results.bootstrap import Resamples
from mlsgm_pyg.app.results.groups import Group, walk

PEERS = ('add_gcn', 'mlp')
#: Regime -> the name of its runs, whether it has peers.
REGIMES = {
    'digits': ('digits', False),
    'coco18_100': ('photos', True),
    'coco18_50': ('photos_partial_0.5', True),
    'coco18_10': ('photos_partial_0.1', True),
    'few_shot_1': ('photos_few_shot', False),
    'few_shot_5': ('photos_few_shot', False),
    'finetuned': ('photos_finetune', False),
    'five_100': ('five', True),
    'five_10': ('five_partial_0.1', True),
}


def other(name: str, kind: str) -> str:
    """The name of a baseline's or a peer's runs beside these: photos_partial_0.5 -> photos_mlp_partial_0.5."""
    row, task, rest = name.partition('_partial_')
    return f'{row}_{kind}{task}{rest}'


def rows_of(groups: dict[str, Group], few_shot: FewShot | None) -> list[dict[str, Any]]:
    """A row of the table for every regime that was run, of finished runs by name and a few-shot experiment."""
    samples, out = Resamples(), []
    for regime, (name, has_peers) in REGIMES.items():
        if regime.startswith('few_shot'):
            out += [shots(regime, point, few_shot) for point in points(few_shot, name, regime)]
        elif shared_seeds(groups, name, other(name, 'baseline')):
            out.append(trained(regime, name, groups, samples, PEERS if has_peers else ()))
    return out


def points(out: FewShot | None, name: str, regime: str) -> list[dict[str, Any]]:
    """The draws of one number of shots, where they have both methods."""
    if out is None or out['name'] != name:
        return []
    there = [point for point in out['summary'] if regime == f'few_shot_{point["shots"]}']
    return [point for point in there if point['first'] == 'ml_sgm' and 'linear' in point['gains']]


def shared_seeds(groups: dict[str, Group], *names: str) -> list[int]:
    """The seeds that all of some rows have."""
    return sorted(set.intersection(*(set(groups[name].seeds if name in groups else ()) for name in names)))


def trained(
    regime: str, name: str, groups: dict[str, Group], samples: Resamples, peers: tuple[str, ...]
) -> dict[str, Any]:
    """One regime of runs."""
    ours, baseline = groups[name], groups[other(name, 'baseline')]
    gain = samples.gain(ours.results, baseline.results)
    seeds = gain['seeds']
    whole = [peer for peer in peers if set(seeds) <= set(shared_seeds(groups, other(name, peer)))]
    scores = {peer: mean(groups[other(name, peer)], seeds) for peer in whole}
    runs = [out for out in ours.results if out['seed'] in seeds]
    best = max(scores, key=scores.get, default=None)
    return {
        'regime': regime,
        'metric': 'mAP',
        'ours': mean(ours, seeds),
        'baseline': mean(baseline, seeds),
        'gain': gain['difference'],
        'low': gain['low'],
        'high': gain['high'],
        'peer': best,
        'peer_score': scores.get(best),
        'seeds': seeds,
        'command': extracts.portable(ours.results[0]['command'], 'command'),
        'scores': {
            kind: statistics.mean(run['mAP_by_score'][kind] for run in runs) for kind in runs[0]['mAP_by_score']
        },
    }


def mean(group: Group, seeds: list[int]) -> float:
    return statistics.mean(out['mAP'] for out in group.results if out['seed'] in seeds)


def shots(regime: str, point: dict[str, Any], out: dict[str, Any]) -> dict[str, Any]:
    """One regime of draws: ml_sgm against the linear layer on the same examples."""
    gain, methods = point['gains']['linear'], point['methods']
    return {
        'regime': regime,
        'metric': f'mAP of the novel classes, {gain["draws"]} draws',
        'ours': methods['ml_sgm']['mAP'],
        'baseline': methods['linear']['mAP'],
        'gain': gain['difference'],
        'low': gain['low'],
        'high': gain['high'],
        'peer': None,
        'peer_score': None,
        'seeds': [out['config']['seed']],
        'command': extracts.portable(out['command'], 'command'),
    }


@cli.door()
def main(argv: list[str]) -> int:
    parser = cli.parser('python -m experiments.promise', __doc__)
    parser.add_argument('runs', nargs='+', type=Path, help='run directories, or folders that hold some')
    parser.add_argument('--root', type=Path, default=ROOT, help=f'where {README} and results/ lie')
    args = parser.parse_args(argv)
    groups, notes = by_name(args.runs)
    experiments = walk(args.runs, notes, f'**/{FEW_SHOT}', lambda path: (path, read_few_shot(path)))
    drawn = {path: out for path, out in experiments if out['name'] == REGIMES['few_shot_1'][0]}
    for note in notes:
        print(note, file=sys.stderr)
    if len(drawn) > 1:
        raise ValueError(f'name one few-shot experiment (got {", ".join(map(str, drawn))})')
    rows = rows_of(groups, next(iter(drawn.values()), None))
    write_promise(args.root, rows)
    missing = [regime for regime in REGIMES if regime not in {row['regime'] for row in rows}]
    print(json.dumps(rows, indent=1))
    if missing:
        print(f'not run: {", ".join(missing)}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
