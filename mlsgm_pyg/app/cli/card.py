"""Prints the model card of a checkpoint: what it learned from, how well, licences, use and limits.

mlsgm card RUN               for reading
mlsgm card RUN --markdown    as Markdown, for instance into a README
"""

from __future__ import annotations

from pathlib import Path

from mlsgm_pyg.app.common import cli
from mlsgm_pyg.app.common.tables import terminal
from mlsgm_pyg.app.results.groups import find_checkpoint


@cli.door()
def main(argv: list[str]) -> int:
    parser = cli.parser('mlsgm card', __doc__)
    parser.add_argument('checkpoint', type=Path, metavar='RUN', help='a run, a folder that holds one, or a checkpoint')
    parser.add_argument('--markdown', action='store_true', help='print Markdown')
    args = parser.parse_args(argv)
    path = find_checkpoint(args.checkpoint)
    from mlsgm_pyg.app.results import model_card  # torch takes seconds: after the words were understood.

    text = model_card.page(model_card.read(path))
    if args.markdown:
        print(text, end='')
    else:
        from rich.markdown import Markdown

        terminal().print(Markdown(text))
    return 0
