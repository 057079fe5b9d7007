"""Trains and evaluates rows of the paper's tables.

python -m experiments.run                                   digits: ML-SGM and its baseline, side by side
python -m experiments.run NAME [key=value ...]              one row; seeds=0,1,2 runs three seeds
python -m experiments.run NAME NAME ... [key=value ...]     several rows, compared with a paired bootstrap
python -m experiments.run NAME NAME seeds=0,1,2 --jobs 2    so many runs at a time, the cores and GPUs shared out
python -m experiments.run --resume RUN                      a killed run goes on from its last finished epoch
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from experiments import processes
from experiments.plan import alone, configurations
from mlsgm_pyg.app.common import cli
from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.common.text import shown
from mlsgm_pyg.app.config import load as configs
from mlsgm_pyg.app.config.options import WHERE
from mlsgm_pyg.app.config.words import words_of
from mlsgm_pyg.app.results.groups import find_one


def parse(argv: list[str]) -> argparse.Namespace:
    parser = cli.parser('python -m experiments.run', __doc__, WHERE)
    parser.add_argument('words', nargs='*', metavar='NAME | key=value', help='rows (see --list) and options')
    parser.add_argument('--list', action='store_true', help='list the rows')
    parser.add_argument('--show', action='store_true', help='print the resolved config and stop')
    parser.add_argument('--resume', metavar='RUN', type=Path, help='continue the run in this directory')
    parser.add_argument('--again', action='store_true', help='train finished runs once more')
    parser.add_argument('--jobs', type=int, metavar='N', help='so many runs at a time (default: 1; without rows 2)')
    args = parser.parse_intermixed_args(argv)
    if args.jobs is None:  # Of digits and its baseline, two runs of a thread each are the quicker.
        args.jobs = min(2, os.cpu_count() or 1) if not any('=' not in word for word in args.words) else 1
    cli.check_least(parser, args, jobs=1)
    return args


@cli.door('the same command goes on')
def main(argv: list[str]) -> int:
    args = parse(argv)
    if args.list:
        return _list()
    folder, words, again = None, argv, args.again
    if args.resume:
        folder, config = _resumed(args.resume, args.words)
        planned, words = [config], [*words_of(configs.plain(config)), f'seed={config.seed}']
    else:
        planned = configurations(args.words)
    if args.show:
        print(shown('\n'.join(OmegaConf.to_yaml(config) for config in planned)))
        return 0
    try:
        if args.jobs > 1 and len(planned) > 1:
            processes.train_all([(config, alone(config, args.words)) for config in planned], args.jobs, again)
            again = False  # They were, this very moment.
        return _train(planned, again, cli.typed('python -m experiments.run', words), folder)
    except SystemExit as stop:  # A signal ended a run, which said so.
        return stop.code


def _list() -> int:
    rows = configs.rows()
    width = max(map(len, rows))
    for name, about in rows.items():
        print(shown(f'{name:{width}}  {about}'))
    return 0


def _resumed(folder: Path, words: list[str]) -> tuple[Path, Any]:
    """The directory of a run that goes on, and its config."""
    if words:
        raise ConfigError(f'a resumed run keeps its own options (got {" ".join(words)})')
    folder = find_one(folder, 'config.yaml', '--resume takes one')
    path = folder / 'config.yaml'
    config = configs.from_file(path)
    if not config.row:  # Defaults would take the place of all that is missing.
        raise ConfigError(f"'{path}' is not what a run leaves: it names no 'row'")
    try:
        configs.load(config.row)
    except ConfigError as error:
        raise ConfigError(f"'{path}' names a row that is not there: {error}") from error
    return folder, config


def _train(configurations: list[Any], again: bool, command: str, folder: Path | None) -> int:
    # Lightning and torch take seconds: after the words were understood.
    from experiments.paper import side_by_side
    from experiments.paper.match import note_rows
    from mlsgm_pyg.app.results import run_tables
    from mlsgm_pyg.app.training import train

    groups: dict[str, list[dict[str, Any]]] = {}
    for config in configurations:
        out = train.run(config, again, command, folder)
        if out:  # Processes beside the first have nothing to print.
            note_rows(Path(out['folder']))
            run_tables.show(out)
            groups.setdefault(config.name, []).append(out)
    if len(configurations) > 1 and groups:
        print('\n'.join(side_by_side.in_words(groups, side_by_side.compare(groups))))
    return 0


if __name__ == '__main__':
    sys.exit(main())
