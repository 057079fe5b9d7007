"""What are fitted thresholds and temperature worth? Figures on the images that a run was evaluated on.

python -m experiments.decisions RUN... [--out FILE]     RUN: the folders of runs with a data.tune

The scores of those images are a run's fit.npz; of an older run they are computed from its checkpoint. A class counts
alone in what --min-precision 0.9 reached if at least 30 evaluated images show it, else in one line with the others.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mlsgm_pyg import decisions
from mlsgm_pyg.app.common import cli
from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.common.files import write_json
from mlsgm_pyg.app.common.tables import Table
from mlsgm_pyg.app.data.feature_store import FeatureDataset, FeatureStores
from mlsgm_pyg.app.data.parts import build_parts
from mlsgm_pyg.app.results import decided
from mlsgm_pyg.app.results.run import Run
from mlsgm_pyg.decisions import Decisions, probabilities

PRECISION, LEAST, STEP = 0.9, 30, 32
REST = 'the rest together'


def fit_scores(run: Run) -> dict[str, np.ndarray]:
    """The reported score of the images that a run's thresholds are fitted on, and their labels."""
    if run.fit_scores is not None:
        return run.fit_scores
    if not run.config.data.tune:
        raise ConfigError(f"'{run.folder}' kept no images to fit thresholds on: it was trained with data.tune=0")
    config, model = run.config, run.model
    part = build_parts(config.data, config.task, tuned=True)[0]
    view, where = config.data.test_view, (config.data.image_size, config.features.dir, config.features.engine)
    stores = FeatureStores(model.backbone, *where, [(part.source, part.rows, view)])
    stores.fill(part.source, part.rows, [view], config.data.num_workers, config.data.on_error)
    data = FeatureDataset([stores.open(part.source, view)], part.rows, part.y)
    with torch.no_grad(), model.fixed_labels():
        batches = [data.__getitems__([*range(len(data))][i : i + STEP]) for i in range(0, len(data), STEP)]
        logits = torch.cat([model.head(batch['feature'].float()).logits for batch in batches])
    return {run.result['score']: logits.double().numpy(), 'y': torch.cat([batch['y'] for batch in batches]).numpy()}


def reached(run: Run, found: Decisions) -> dict[str, dict[str, Any]]:
    """Of each class, and of the rare ones together: what is kept for a precision of 0.9, how much is right."""
    kept = probabilities(run.logits, found.temperature) >= found.thresholds(run.class_names, PRECISION)
    kept, present = kept & (run.y >= 0), run.y == 1
    counts = np.stack([present.sum(0), kept.sum(0), (kept & present).sum(0)])
    is_rare, out = counts[0] < LEAST, {}
    columns = {name: counts[:, [c]] for c, name in enumerate(run.class_names) if not is_rare[c]}
    for name, column in (columns | {REST: counts[:, is_rare], 'all': counts}).items():
        positives, number, right = (int(value) for value in column.sum(1))
        precision = 100 * right / number if number else None
        recall = 100 * right / positives if positives else None
        out[name] = {'positives': positives, 'kept': number, 'precision': precision, 'recall': recall}
    return out


def figures(run: Run) -> dict[str, Any]:
    """Everything of one run."""
    on = fit_scores(run)
    found = decisions.fit(on[run.result['score']], on['y'], run.class_names)
    half = {key: run.result['metrics'][key] for key in ('CF1', 'OF1')}
    told = decided.figures(found, run.scores, run.result['score'])
    return {'name': run.name, 'seed': run.seed, 'half': half, 'fitted': told, 'reached': reached(run, found)}


def tables(runs: list[dict[str, Any]]) -> list[Table]:
    columns = ('run', 'CF1 at 0.5', 'fitted', 'OF1 at 0.5', 'fitted', 'ECE', 'calibrated', 'temperature')
    rows = []
    for one in runs:
        half, told = one['half'], one['fitted']
        both = [f'{side[key]:.1f}' for key in half for side in (half, told['metrics'])]
        error = [f'{told["ece"][key]:.4f}' for key in ('before', 'after')]
        rows.append([f'{one["name"]}, seed {one["seed"]}', *both, *error, f'{told["temperature"]:.2f}'])
    sums = Table('Fitted thresholds and temperature', columns, rows)
    names = [f'{one["name"]} {one["seed"]}' for one in runs]
    by_class = Table(f'What --min-precision {PRECISION} reached, and of how many kept labels', ('class', *names))
    for name in dict.fromkeys(name for one in runs for name in one['reached']):
        cells = (one['reached'].get(name) or {'precision': None, 'kept': 0} for one in runs)
        shown = [f'{x["precision"]:.1f} of {x["kept"]}' if x['kept'] else 'none kept' for x in cells]
        by_class.rows.append([name, *shown])
    return [sums, by_class]


@cli.door()
def main(argv: list[str]) -> int:
    parser = cli.parser('python -m experiments.decisions', __doc__)
    parser.add_argument('runs', nargs='+', type=Path, metavar='RUN', help='folders of finished runs')
    parser.add_argument('--out', type=Path, default=Path('results/decisions.json'), help='(default: %(default)s)')
    args = parser.parse_args(argv)
    out = [figures(Run.read(folder)) for folder in args.runs]
    for table in tables(out):
        table.print()
    write_json(args.out, out)
    return 0


if __name__ == '__main__':
    sys.exit(main())
