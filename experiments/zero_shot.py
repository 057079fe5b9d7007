"""Zero-shot recognition: labels that were never trained, scored together with those that were.

python -m experiments.zero_shot coco18_few_shot data.root=PATH seeds=0,1,2          stage one of every seed, then this
python -m experiments.zero_shot NAME task.novel=bus,dog [key=value ...]             any row, any classes of its data
python -m experiments.zero_shot NAME task.base=RUN/last.ckpt [key=value ...]        of this checkpoint
python -m experiments.zero_shot NAME ... --full runs/coco18                         beside models trained on all labels

Stage one is few-shot's: what `python -m experiments.run` trains on the row with task=few_shot, which never sees a novel
label; finished ones are read. Novel classes are then scored by their word vectors alone (MLSGM.with_labels), beside the
base classes, on all test images, and compared with chance, with the scores of the nearest trained labels by word, and
with finished runs of the same options on all labels. Options are to be chosen on other classes than those that are
reported: `task.novel` holds both, `task.unseen` those to choose by, and `data.dev=0.1` the images.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from experiments.novel import shot_tables
from experiments.plan import check_task, seeds_of, with_task
from mlsgm_pyg.app.common import cli, machine
from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.common.files import read_json, write_json
from mlsgm_pyg.app.config import load as configs
from mlsgm_pyg.app.config.options import WHERE, ZERO_SHOT


@cli.door('the same command goes on')
def main(argv: list[str]) -> int:
    parser = cli.parser('python -m experiments.zero_shot', __doc__, f'{WHERE}, TaskConfig')
    parser.add_argument('words', nargs='+', metavar='NAME | key=value', help='a row and options')
    parser.add_argument('--again', action='store_true', help='train stage one once more')
    parser.add_argument(
        '--full',
        type=Path,
        nargs='+',
        default=[],
        metavar='FOLDER',
        help='of runs on all labels, one a seed (default: those of the same options)',
    )
    args = parser.parse_args(argv)
    seeds = [word for word in args.words if word.startswith('seeds=')]
    words = [*with_task([word for word in args.words if word not in seeds], 'zero-shot'), *seeds]
    config = configs.load(words[0], words[1:])
    path = run(config, words, cli.typed('python -m experiments.zero_shot', argv), args.again, args.full)
    if path is not None:  # Processes beside the first have nothing to print.
        out = read_json(path)
        for table in (shot_tables.zero_shot(out), shot_tables.zero_shot_classes(out)):
            table.print()
        print(path)
    return 0


def run(
    config: DictConfig, words: list[str], command: str = '', again: bool = False, full: Sequence[Path] = ()
) -> Path | None:
    """Stage one of every seed and the evaluation, of a config and the words that it came from; returns where
    zero_shot.json lies, which names the command. Runs on all labels are in some folders, or those of the same options
    in runs_dir."""
    from experiments.novel import zero_shot_scores
    from experiments.novel.stage_one import stage_one_of

    check_task(config, 'zero-shot')
    seeds = seeds_of(config)
    if config.task.base and len(seeds) > 1:
        raise ConfigError(f'task.base is one checkpoint: it has one seed (got {len(seeds)})')
    options = [word for word in words[1:] if not word.startswith(('seed=', 'seeds='))]
    stage_one, found = [], []
    for seed in seeds:
        one = OmegaConf.merge(config, {'seed': seed, 'seeds': []})
        path, told = stage_one_of(one, [words[0], *options, f'seed={seed}'], again)
        if not told:
            return None
        stage_one.append({'seed': seed} | told)
        found.append(zero_shot_scores.evaluate(one, path))
    out = zero_shot_scores.summarise(config, seeds, found, zero_shot_scores.full_runs(config, seeds, found, full))
    out |= {'stage_one': stage_one} | machine.environment(found[0].device)
    out |= {'command': command, 'config': configs.plain(config)}
    folder = Path(config.runs_dir) / config.name / f'zero_shot-{fingerprint(config, seeds)}'
    write_json(folder / 'zero_shot.json', out)
    return folder / 'zero_shot.json'


def fingerprint(config: DictConfig, seeds: list[int]) -> str:
    """Eight hex digits of all that the evaluation depends on: stage one's options and seeds, and its own options."""
    own = {key: value for key, value in configs.plain(config)['task'].items() if key in (*ZERO_SHOT, 'base')}
    told = json.dumps([configs.fingerprint(config), seeds, own], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:8]


if __name__ == '__main__':
    sys.exit(main())
