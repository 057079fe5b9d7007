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

from experiments.novel import shot_tables
from experiments.plan import check_task, with_task
from mlsgm_pyg.app.common import cli, machine
from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.common.files import read_json, write_json
from mlsgm_pyg.app.config import load as configs
from mlsgm_pyg.app.config.options import STAGE_TWO, WHERE


@cli.door('the same command goes on')
def main(argv: list[str]) -> int:
    parser = cli.parser('python -m experiments.few_shot', __doc__, f'{WHERE}, TaskConfig')
    parser.add_argument('words', nargs='+', metavar='NAME | key=value', help='a row and options')
    parser.add_argument('--again', action='store_true', help='train once more: stage one and the named draws')
    parser.add_argument(
        '--save', action='store_true', help="keep each draw's model of the first method as a checkpoint"
    )
    args = parser.parse_args(argv)
    words = with_task(args.words)
    config = configs.load(words[0], words[1:])
    path = run(config, words, cli.typed('python -m experiments.few_shot', argv), args.again, args.save)
    if path is not None:  # Processes beside the first have nothing to print.
        out = read_json(path)
        for table in (shot_tables.few_shot(out), shot_tables.few_shot_classes(out)):
            table.print()
        print(path)
    return 0


def run(
    config: DictConfig, words: list[str], command: str = '', again: bool = False, save: bool = False
) -> Path | None:
    """Both stages, of a config and the words that it came from; returns where few_shot.json lies, which names the
    command."""
    from experiments.novel import draws
    from experiments.novel.stage_one import stage_one_of

    check_task(config, 'few-shot')
    if save and config.task.methods[0] == 'linear':
        got = ','.join(config.task.methods)
        raise ConfigError(f'--save keeps models of ml_sgm or scratch: name one first (got task.methods={got})')
    path, stage_one = stage_one_of(config, words, again)
    if not stage_one:
        return None
    learner = draws.build_learner(config, path)
    learner.maps.fill_test()
    folder = Path(config.runs_dir) / config.name / f'few_shot-{fingerprint(config, path)}'
    folder.mkdir(parents=True, exist_ok=True)
    done, by = _done(folder), {'command': command, 'commit': machine.commit()}
    for number, index in itertools.product(config.task.shots, range(config.task.draws)):
        key = draws.key(number, index)
        there = _without(done.get(key), config.task.methods) if again else done.get(key)
        made = draws.draw(config, learner, number, index, there, folder if save else None)
        if made != there:
            earlier = there['by'] if there and there.get('by') and there['methods'] else []
            done[key] = made | {'by': [*(one for one in earlier if one != by), by]}
            write_json(folder / 'draws.json', done)
            print(f'{key}: {draws.line(made)}', flush=True)
    out = draws.summarise(config, done, learner) | {'stage_one': stage_one}
    out['made_by'] = list({json.dumps(one): one for made in out['draws'] for one in made.get('by', ())}.values())
    out |= machine.environment(learner.maps.device) | {'command': command, 'config': configs.plain(config)}
    write_json(folder / 'few_shot.json', out)
    return folder / 'few_shot.json'


def fingerprint(config: DictConfig, path: Path) -> str:
    """Eight hex digits of all that a draw depends on: stage one's options and weights, and stage two's options."""
    from mlsgm_pyg import checkpoint

    own = {key: value for key, value in configs.plain(config)['task'].items() if key in STAGE_TWO}
    for key in ('base', 'shots', 'draws', 'methods'):  # Which draws there are, not how they come out.
        del own[key]
    for key, told in (('negatives', own['negatives']), ('discriminant', config.model.evidence)):
        if not told:
            del own[key]  # Draws of before there was the option are still there.
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
