"""Prints the model card of a checkpoint: what it learned from, how well, licences, use and limits.

mlsgm card CHECKPOINT               for reading
mlsgm card CHECKPOINT --markdown    as Markdown, for instance into a README
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.markdown import Markdown

from mlsgm_pyg.app.common import cli
from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.common.files import check_checkpoint
from mlsgm_pyg.app.common.tables import Table, terminal
from mlsgm_pyg.app.common.text import counted

MOST_NAMES = 30  # So many classes are listed one by one.
TITLES = {'code': 'Code', 'backbone': 'Backbone', 'data': 'Data', 'word_vectors': 'Word vectors'}


@cli.door()
def main(argv: list[str]) -> int:
    parser = cli.parser('mlsgm card', __doc__)
    parser.add_argument('checkpoint', type=Path, metavar='CHECKPOINT')
    parser.add_argument('--markdown', action='store_true', help='print Markdown')
    args = parser.parse_args(argv)
    check_checkpoint(args.checkpoint)
    from mlsgm_pyg import checkpoint  # torch takes seconds: after the words were understood.

    card = checkpoint.read(args.checkpoint)[checkpoint.KEY]['card']
    if 'trained_on' not in card:
        raise ConfigError(f'{args.checkpoint} has no model card: it was written without one (train it once more)')
    text = page(card)
    if args.markdown:
        print(text, end='')
    else:
        terminal().print(Markdown(text))
    return 0


def page(card: dict[str, Any]) -> str:
    """A card as Markdown."""
    model, learned = card['model'], card['trained_on']
    classes = learned['positives']
    facts = [
        ('Model', f'`{model["name"]}` on `{model["backbone"]}`{" (frozen)" if model["frozen_backbone"] else ""}'),
        ('Parameters', f'{model["parameters"]:,}'),
        ('Trained on', f'{counted(learned["images"], "image")} of `{learned["data"]}`, part `{learned["split"]}`'),
        ('Labels known', f'{learned["labels"]["known"]:,} of {learned["labels"]["all"]:,}'),
        ('Task', f'{learned["task"]}, loss `{learned["loss"]}`, seed {learned["seed"]}'),
        ('Written', card.get('date', 'unknown')),
    ]
    parts = [
        f'# {card["name"]}',
        f'{card["use"]} It knows {counted(len(classes), "class", "classes")}.',
        Table('', ('', ''), facts).markdown(),
        '## Evaluation',
        *_evaluation(card.get('evaluation'), classes),
        '## Limits',
        '\n'.join(f'- {text}' for text in card['limits']),
        '## Licences',
        '\n'.join(f'- {TITLES.get(key, key)}: {text}' for key, text in card['licences'].items()),
        '## Made by',
        f'```bash\n{card["command"] or "unknown"}\n```',
        f'Commit {card["commit"] or "unknown"}; ' + ', '.join(f'{k} {v}' for k, v in card['versions'].items()) + '.',
    ]
    return '\n\n'.join(parts) + '\n'


def _evaluation(found: dict[str, Any] | None, classes: dict[str, int]) -> list[str]:
    if found is None:
        return ['None yet.']
    epoch = f', epoch {found["epoch"]}' if found['epoch'] else ''
    weight = f", {found['blend']:g} of it CSAC's" if 'blend' in found else ''
    images = counted(found['images'], 'image')
    told = f'{images}, part `{found["split"]}`{epoch}; `{found["score"]}` score{weight}; percent.'
    metrics = found['metrics']
    six = ('mAP', 'CP', 'CR', 'CF1', 'OP', 'OR', 'OF1')
    rows = [
        ('all labels', *(_number(metrics[key]) for key in six)),
        (f'top 3 ({found["top3"]})', '', *(_number(metrics[f'top3_{key}']) for key in six[1:])),
    ]
    out = [told, Table('', ('', *six), rows).markdown()]
    if len(classes) > MOST_NAMES:
        return [*out, f'AP of each of the {len(classes)} classes: in `model.card`.']
    by_class = [(name, f'{count:,}', _number(metrics['AP'].get(name))) for name, count in classes.items()]
    return [*out, Table('', ('class', 'images to train', f'AP ({found["ap"]})'), by_class).markdown()]


def _number(value: float | None) -> str:
    return '-' if value is None else f'{value:.2f}'
