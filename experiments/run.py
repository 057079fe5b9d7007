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

from experiments import jobs
from experiments.common import cli
from experiments.common.errors import ConfigError
from experiments.config import load as configs
from experiments.config.options import WHERE
from experiments.config.words import words_of

DEFAULT_ROWS = ('digits', 'digits_baseline')


def parse(argv: list[str]) -> argparse.Namespace:
    parser = cli.parser('experiments.run', __doc__, WHERE)
    parser.add_argument('words', nargs='*', metavar='NAME | key=value', help='rows (see --list) and options')
    parser.add_argument('--list', action='store_true', help='list the rows')
    parser.add_argument('--show', action='store_true', help='print the resolved config and stop')
    parser.add_argument('--resume', metavar='RUN', type=Path, help='continue the run in this directory')
    parser.add_argument('--again', action='store_true', help='train finished runs once more')
    parser.add_argument('--jobs', type=int, metavar='N', help='so many runs at a time (default: 1; without rows 2)')
    args = parser.parse_args(argv)
    if args.jobs is None:  # Of digits and its baseline, two runs of a thread each are the quicker.
        args.jobs = min(2, os.cpu_count() or 1) if not any('=' not in word for word in args.words) else 1
    cli.check_least(parser, args, jobs=1)
    return args


@cli.door('the same command goes on')
def main(argv: list[str]) -> int:
    args = parse(argv)
    if args.list:
        return _list()
    planned = [_resumed(args)] if args.resume else configurations(args.words)
    if args.show:
        print('\n'.join(OmegaConf.to_yaml(config) for config in planned))
        return 0
    words = [*words_of(configs.plain(planned[0])), f'seed={planned[0].seed}'] if args.resume else argv
    try:
        if args.jobs > 1 and len(planned) > 1:
            jobs.train_all([(config, _alone(config, args.words)) for config in planned], args.jobs, args.again)
            args.again = False
        return _train(planned, args.again, cli.typed('experiments.run', words), args.resume)
    except SystemExit as stop:  # A signal ended a run, which said so.
        return stop.code


def _alone(config: Any, words: list[str]) -> str:
    """The command of one run among several."""
    options = [word for word in words if '=' in word and not word.startswith(('seeds=', 'seed='))]
    return cli.typed('experiments.run', [config.row, *options, f'seed={config.seed}'])


def _list() -> int:
    rows = configs.rows()
    width = max(map(len, rows))
    for name, about in rows.items():
        print(f'{name:{width}}  {about}')
    return 0


def configurations(words: list[str]) -> list[Any]:
    """The config of every run that some rows and options ask for: rows in their order, each with its seeds."""
    names = [word for word in words if '=' not in word] or list(DEFAULT_ROWS)
    overrides = [word for word in words if '=' in word]
    if len(set(names)) < len(names):
        raise ConfigError(f'a row is named twice (got {" ".join(names)})')
    if len(names) > 1 and any(word.startswith('name=') for word in overrides):
        raise ConfigError(f"'name' is for one row: give each its own (got {' '.join(names)})")
    dotted = [name for name in names if '.' in name and not name.endswith('.yaml')]
    if dotted:
        raise ConfigError(f"an option is written key=value (got '{dotted[0]}')")
    out = []
    for name in names:
        config = configs.load(name, overrides)
        if len(set(config.seeds)) < len(config.seeds):
            raise ConfigError(f'each seed counts once (got seeds={",".join(map(str, config.seeds))})')
        for seed in config.seeds or [config.seed]:
            out.append(OmegaConf.merge(config, {'seed': seed, 'seeds': []}))
    return out


def _run_directory(folder: Path) -> Path:
    """The folder itself, or the only run directory in it."""
    if (folder / 'config.yaml').is_file():
        return folder
    found = sorted(path.parent for path in folder.glob('*/config.yaml'))
    if len(found) > 1:
        raise ConfigError(f"'{folder}' holds several runs, --resume takes one: {', '.join(map(str, found))}")
    if not found:
        raise ConfigError(f"'{folder}' is not a run directory: it has no config.yaml")
    return found[0]


def _resumed(args: argparse.Namespace) -> Any:
    if args.words:
        raise ConfigError(f'a resumed run keeps its own options (got {" ".join(args.words)})')
    args.resume = _run_directory(args.resume)
    path = args.resume / 'config.yaml'
    config = configs.from_file(path)
    if not config.row:  # Defaults would take the place of all that is missing.
        raise ConfigError(f"'{path}' is not what a run leaves: it names no 'row'")
    return config


def _train(configurations: list[Any], again: bool, command: str, folder: Path | None) -> int:
    from experiments import result, train  # Lightning and torch take seconds: after the words were understood.

    groups: dict[str, list[dict[str, Any]]] = {}
    for config in configurations:
        out = train.run(config, again, command, folder)
        if out:  # Processes beside the first have nothing to print.
            result.show(out)
            groups.setdefault(config.name, []).append(out)
    if len(configurations) > 1 and groups:
        found = result.compare(groups)
        for line in result.in_words(groups, found['comparisons']):
            print(line)
    return 0


if __name__ == '__main__':
    sys.exit(main())
