"""Runs rows at several values of an option: a table, a curve and their average.

python -m experiments.sweep NAME ... task=partial task.known=0.1,0.5,0.9 [key=value ...]   partial labels (Table V)
python -m experiments.sweep NAME ... model.gamma=0.1,0.2,0.3 seeds=0,1,2 [key=value ...]   any option, several seeds

An option with commas takes each of its values in turn, several such options every combination, or with --together
first with first, second with second. Lists are written in brackets: 'model.block_channels=[256],[256,256]'. Finished
runs are read, unfinished ones go on; --jobs 2 makes two at a time. The first row is compared with each other row by a
paired bootstrap over images.
"""

from __future__ import annotations

import argparse
import itertools
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from experiments import jobs
from experiments import run as runs
from experiments.common import cli
from experiments.common.errors import ConfigError
from experiments.common.files import read_json, write_json
from experiments.config import load as configs
from experiments.config.options import STAGE_TWO, WHERE, is_list


def parse(argv: list[str]) -> argparse.Namespace:
    parser = cli.parser('experiments.sweep', __doc__, WHERE)
    parser.add_argument('words', nargs='+', metavar='NAME | key=value', help='rows and options, one with commas')
    parser.add_argument('--commands', action='store_true', help='print the command of every run and stop')
    parser.add_argument('--all-seeds', action='store_true', help='count finished runs of other seeds, too')
    parser.add_argument('--again', action='store_true', help='train finished runs once more')
    parser.add_argument('--together', action='store_true', help='several options change together, no combinations')
    parser.add_argument('--jobs', type=int, default=1, metavar='N', help='so many runs at a time (default: 1)')
    args = parser.parse_args(argv)
    cli.check_least(parser, args, jobs=1)
    return args


@cli.door('the same command goes on')
def main(argv: list[str]) -> int:
    args = parse(argv)
    planned = plan(args.words, args.together)
    if args.commands:
        print('\n'.join(dict.fromkeys(command for *_, command in planned)))
        return 0
    return _sweep(planned, list(grid(args.words)[1]), args, cli.typed('experiments.sweep', argv))


def grid(words: list[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Splits words into those that stay and option -> its values.

    Raises:
        ConfigError: If no option has several values, or one has the same twice.
    """
    rest, swept = [], {}
    for word in words:
        key, _, value = word.partition('=')
        values = parts(value)
        bracketed = [part.startswith('[') for part in values]
        if len(values) == 1 or (is_list(key) and not any(bracketed)):
            rest.append(word)
            continue
        if key == 'seed':
            raise ConfigError(f'several seeds are written seeds={value} (got {word})')
        if any(bracketed) and not all(bracketed):
            raise ConfigError(f'several lists stand in brackets each, such as [8],[8,8] (got {word})')
        swept[key] = values
        if len(set(swept[key])) < len(swept[key]) or '' in swept[key]:
            raise ConfigError(f"'{key}' takes several values, each once (got {value})")
    if not swept:
        raise ConfigError(
            f'a sweep needs an option with several values, such as task.known=0.1,0.5,0.9 (got {" ".join(words)})'
        )
    return rest, swept


def parts(value: str) -> list[str]:
    """What stands between the commas that are outside of brackets."""
    return [part.strip() for part in re.split(r',(?![^\[]*\])', value)]


def plan(words: list[str], together: bool = False) -> list[tuple[dict[str, Any], Any, str]]:
    """Every run: the values of the swept options, its config, and the command that makes the same run alone.

    One seed goes through all values before the next begins, so that the first curve is there early. Runs are called as
    :mod:`experiments.run` calls them; where a value is not the row's own, and not the task's, it follows the name.

    Args:
        words (list[str]): Rows and options.
        together (bool): Whether the swept options change together instead of in all combinations.
            (default: :obj:`False`)

    Raises:
        ConfigError: If they cannot be run, or two of them are the same run.
    """
    rest, swept = grid(words)
    if any(word.startswith('name=') for word in rest):
        raise ConfigError("'name' is for one run: a sweep names its runs itself")
    out = []
    usual_of: dict[tuple[str, ...], dict[str, str]] = {}
    for combination in _combinations(swept, together):
        chosen = [f'{key}={value}' for key, value in zip(swept, combination)]
        others = [option.partition('=')[0::2] for option in chosen if not _of_task(option)]
        suffix = ''.join(f'_{key.rsplit(".", 1)[-1]}_{value.strip("[]")}' for key, value in others)
        task = tuple(filter(_of_task, chosen))
        if others and task not in usual_of:
            usual_of[task] = _fingerprints([*rest, *task])
        for config in runs.configurations([*rest, *chosen]):
            extra = []
            if others and configs.fingerprint(config) != usual_of[task][config.row]:
                config.name = re.sub(r'[^\w.+-]+', '-', config.name + suffix)
                extra = [f'name={config.name}']
            values = {key: value_of(config, 'task.name' if key == 'task' else key) for key in swept}
            options = [word for word in rest if '=' in word and not word.startswith(('seed=', 'seeds='))]
            alone = [config.row, *options, *chosen, *extra, f'seed={config.seed}']
            out.append((values, config, cli.typed('experiments.run', alone)))
    _refuse_same_runs(out)
    return sorted(out, key=lambda one: one[1].seed)  # Stable: values and rows stay in their order.


def _combinations(swept: dict[str, list[str]], together: bool) -> Iterator[tuple[str, ...]]:
    if not together:
        return itertools.product(*swept.values())
    numbers = {key: len(values) for key, values in swept.items()}
    if len(set(numbers.values())) > 1:
        told = ', '.join(f'{number} of {key}' for key, number in numbers.items())
        raise ConfigError(f'options that change together take as many values each (got {told})')
    return zip(*swept.values())


def value_of(config: Any, key: str) -> Any:
    """An option's value; a list as it is written."""
    value = OmegaConf.select(config, key)
    return f'[{",".join(map(str, value))}]' if OmegaConf.is_list(value) else value


def _refuse_same_runs(planned: list[tuple[dict[str, Any], Any, str]]) -> None:
    """Two points that are one run would be shown as two measurements."""
    seen: dict[tuple, dict[str, Any]] = {}
    for values, config, _ in planned:
        there = seen.setdefault((config.row, config.seed, configs.fingerprint(config)), values)
        if there is values:
            continue
        differ = {key: (there[key], value) for key, value in values.items() if there[key] != value} or values
        key = next(iter(differ))
        told = f'{key}={there[key]} and {key}={values[key]} are the same run of {config.row}'
        second = key.partition('.')[2] in STAGE_TWO and key.startswith('task.')
        hint = ': it belongs to stage two, python -m experiments.few_shot with one value at a time' if second else ''
        raise ConfigError(f"a sweep over '{key}' has nothing to compare, {told}{hint}")


def _fingerprints(words: list[str]) -> dict[str, str]:
    return {config.row: configs.fingerprint(config) for config in runs.configurations(words)}


def _of_task(option: str) -> bool:
    return option.startswith(('task=', 'task.'))


def _sweep(planned: list, swept: list[str], args: argparse.Namespace, command: str) -> int:
    from experiments import curve, train  # Lightning and torch take seconds: after the words were understood.

    again = args.again
    if args.jobs > 1:
        jobs.train_all([(config, alone) for _, config, alone in planned], args.jobs, again)
        again = False
    points: dict[tuple, dict[str, list[dict[str, Any]]]] = {}
    for number, (values, config, alone) in enumerate(planned, 1):
        print(f'{number}/{len(planned)}: {alone}', flush=True)
        out = train.run(config, again, alone)
        if not out:  # Processes beside the first have nothing to print.
            continue
        outs = points.setdefault(tuple(values.items()), {}).setdefault(config.row, [])
        outs.append(out | {'folder': str(train.run_dir(config))})
        print(f'{config.name}, seed {config.seed}: {out["mAP"]:.2f} mAP', flush=True)
    if not points:
        return 0
    if args.all_seeds:
        for groups in points.values():
            for outs in groups.values():
                outs += other_seeds(outs)
                outs.sort(key=lambda out: out['seed'])
    summary = curve.summarise(swept, points) | {'command': command, 'together': args.together}
    first = planned[0][1]
    path = Path(first.runs_dir) / 'sweeps' / curve.file_name(first.row, swept, [config for _, config, _ in planned])
    write_json(path, summary)
    curve.draw(summary, path.with_suffix('.png'))
    curve.show(summary)
    print(f'{path}\n{path.with_suffix(".png")}')
    return 0


def other_seeds(outs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Finished runs beside some runs' directories that differ from them in their seed alone."""
    here = Path(outs[0]['folder'])
    known, options = {out['seed'] for out in outs}, here.name.split('-', 1)[1]
    found = sorted(here.parent.glob(f'seed*-{options}/result.json'))
    others = [read_json(path) | {'folder': str(path.parent)} for path in found]
    return [out for out in others if out['seed'] not in known]


if __name__ == '__main__':
    sys.exit(main())
