"""Few-shot recognition (Table VI): novel classes from a few examples, after stage one on the base classes.

python -m experiments.few_shot coco18_few_shot data.root=PATH                  both stages, 1 and 5 shots, ten draws
python -m experiments.few_shot NAME task.novel=bus,dog task.shots=5 [key=value ...]    any row, any classes of its data
python -m experiments.few_shot NAME task.base=RUN/last.ckpt [key=value ...]    stage two from this checkpoint

Stage one is what `python -m experiments.run` trains on the row with task=few_shot; a finished one is read. Stage two
draws K examples of every novel class, trains each of task.methods on them, and evaluates the novel classes on all test
images. Finished draws are kept: a killed command goes on, and more draws or shots add to those there are.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import sys
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from experiments import config as configs
from experiments.common import cli, machine
from experiments.common.errors import ConfigError
from experiments.common.files import read_json, write_json
from experiments.options import STAGE_TWO, WHERE, ZERO_SHOT, Config


@cli.door('the same command goes on')
def main(argv: list[str]) -> int:
    parser = cli.parser('experiments.few_shot', __doc__, f'{WHERE}, TaskConfig')
    parser.add_argument('words', nargs='+', metavar='NAME | key=value', help='a row and options')
    parser.add_argument('--again', action='store_true', help='train once more: stage one and the named draws')
    parser.add_argument(
        '--save', action='store_true', help="keep each draw's model of the first method as a checkpoint"
    )
    args = parser.parse_args(argv)
    words = with_task(args.words)
    config = configs.load(words[0], words[1:])
    from experiments import shots  # torch takes seconds: after the words were understood.

    path = run(config, words, cli.typed('experiments.few_shot', argv), args.again, args.save)
    if path is not None:  # Processes beside the first have nothing to print.
        shots.show(read_json(path))
        print(path)
    return 0


def with_task(words: list[str], kind: str = 'few-shot') -> list[str]:
    """The row and the options, with task=few_shot where neither says so."""
    names, options = [word for word in words if '=' not in word], [word for word in words if '=' in word]
    if len(names) != 1:
        raise ConfigError(f'a {kind} command is for one row (got {" ".join(names) or "none"})')
    if any(option.startswith('seeds=') for option in options):
        raise ConfigError('stage one is one run: give it one seed=N (got seeds)')
    named = any(option.startswith(('task=', 'task.name=')) for option in options)
    if not named and configs.load(names[0]).task.name != 'few_shot':
        options = ['task=few_shot', *options]
    return [*names, *options]


def run(
    config: DictConfig, words: list[str], command: str = '', again: bool = False, save: bool = False
) -> Path | None:
    """Both stages; returns where few_shot.json lies.

    Args:
        config (DictConfig): The whole config.
        words (list[str]): The row and options that it came from.
        command (str): The command that few_shot.json names. (default: :obj:`''`)
        again (bool): Start over whatever is there. (default: :obj:`False`)
        save (bool): Keep the models of the first method. (default: :obj:`False`)
    """
    from experiments import shots

    if config.task.name != 'few_shot' or config.model.name != 'ml_sgm':
        what = f'task={config.task.name}, model.name={config.model.name}'
        raise ConfigError(f'few-shot needs task=few_shot and model.name=ml_sgm (got {what})')
    if save and config.task.methods[0] == 'linear':
        got = ','.join(config.task.methods)
        raise ConfigError(f'--save keeps models of ml_sgm or scratch: name one first (got task.methods={got})')
    path, stage_one = stage_one_of(config, words, again)
    if not stage_one:
        return None
    learner = shots.build_learner(config, path)
    learner.maps.fill_test()
    folder = Path(config.runs_dir) / config.name / f'few_shot-{fingerprint(config, path)}'
    folder.mkdir(parents=True, exist_ok=True)
    done, by = _done(folder), {'command': command, 'commit': machine.commit()}
    for number, index in itertools.product(config.task.shots, range(config.task.draws)):
        key = shots.key(number, index)
        there = _without(done.get(key), config.task.methods) if again else done.get(key)
        made = shots.draw(config, learner, number, index, there, folder if save else None)
        if made != there:
            earlier = there['by'] if there and there.get('by') and there['methods'] else []
            done[key] = made | {'by': [*(one for one in earlier if one != by), by]}
            write_json(folder / 'draws.json', done)
            print(f'{key}: {shots.line(made)}', flush=True)
    out = shots.summarise(config, done, learner) | {'stage_one': stage_one}
    out['made_by'] = list({json.dumps(one): one for made in out['draws'] for one in made.get('by', ())}.values())
    out |= machine.environment(learner.maps.device) | {'command': command, 'config': configs.plain(config)}
    write_json(folder / 'few_shot.json', out)
    return folder / 'few_shot.json'


def stage_one_of(config: DictConfig, words: list[str], again: bool) -> tuple[Path, dict[str, Any]]:
    """The checkpoint of stage one, and what is told of it (nothing in processes beside the first)."""
    from experiments import train
    from experiments.module import LOSS_OPTIONS

    if config.task.base:
        path = Path(config.task.base)
        return path, {'checkpoint': '/'.join(path.parts[-3:])}
    config, not_its_own = config.copy(), [f'task.{key}=' for key in (*STAGE_TWO, *ZERO_SHOT)]
    if config.loss.name != 'asymmetric_focal':  # What is stage two's must not train stage one once more.
        for key in LOSS_OPTIONS['asymmetric_focal']:
            config.loss[key] = getattr(Config().loss, key)
            not_its_own.append(f'loss.{key}=')
    options = [word for word in words[1:] if not word.startswith(tuple(not_its_own))]
    command = cli.typed('experiments.run', [words[0], *options])
    print(f'Stage one, the base classes: {command}', flush=True)
    out = train.run(config, again, command)
    path = train.run_dir(config) / ('best.ckpt' if config.select == 'best' else 'last.ckpt')
    if not out:
        return path, {}
    told = {'checkpoint': '/'.join(path.parts[-3:]), 'command': out['command'], 'mAP': out['mAP']}
    return path, told | {'score': out['score'], 'seconds': out['seconds']['total']}


def fingerprint(config: DictConfig, path: Path) -> str:
    """Eight hex digits of all that a draw depends on: stage one's options and weights, and stage two's options."""
    from mlsgm_pyg import checkpoint

    own = {key: value for key, value in configs.plain(config)['task'].items() if key in STAGE_TWO}
    for key in ('base', 'shots', 'draws', 'methods'):  # Which draws there are, not how they come out.
        del own[key]
    if not own['negatives']:
        del own['negatives']  # Draws of before there was the option are still there.
    weights = hashlib.sha256()
    for name, value in sorted(checkpoint.read(path)['state_dict'].items()):  # Not the file: it holds times, too.
        weights.update(name.encode())
        weights.update(value.cpu().contiguous().numpy().tobytes())
    told = json.dumps([configs.fingerprint(config), config.seed, own, weights.hexdigest()], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:8]


def _without(made: dict[str, Any] | None, methods: list[str]) -> dict[str, Any] | None:
    """A draw without what some methods came to."""
    if made is None:
        return None
    return made | {'methods': {name: found for name, found in made['methods'].items() if name not in methods}}


def _done(folder: Path) -> dict[str, Any]:
    path = folder / 'draws.json'
    return read_json(path) if path.is_file() else {}


if __name__ == '__main__':
    sys.exit(main())
