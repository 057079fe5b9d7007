"""Prints the model card of a checkpoint: what it learned from, how well, licences, use and limits.

mlsgm card RUN               for reading
mlsgm card RUN --markdown    as Markdown, for instance into a README
mlsgm card RUN --push OWNER/NAME [--exported x.onnx]
                             uploads them to a model hub, where `mlsgm predict hub:OWNER/NAME` finds them; the
                             environment says which hub (HF_ENDPOINT), and who you are (HF_TOKEN)
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
    parser.add_argument('--push', metavar='OWNER/NAME', help='upload checkpoint and card to a model hub')
    parser.add_argument('--exported', type=Path, metavar='FILE', help='with --push: its ONNX file, too')
    args = parser.parse_args(argv)
    if args.exported and (not args.push or args.exported.suffix != '.onnx' or not args.exported.is_file()):
        parser.error(f"--exported takes an ONNX file that is there, with --push (got '{args.exported}')")
    path = find_checkpoint(args.checkpoint)
    if args.push:
        from mlsgm_pyg.app.results.push import push

        print(push(path, args.push, args.exported))
        return 0
    from mlsgm_pyg.app.results import model_card  # torch takes seconds: after the words were understood.

    text = model_card.page(model_card.read(path))
    if args.markdown:
        print(text, end='')
    else:
        from rich.markdown import Markdown

        terminal().print(Markdown(text))
    return 0
