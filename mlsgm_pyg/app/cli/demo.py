"""A page in the browser: drop a picture and see its labels, boxes, activation maps and assignment graph.

mlsgm demo RUN                    then open the address that it prints
mlsgm demo RUN --examples DIR     with pictures to click on

Gamma (which classes become instances) and the threshold (which labels count as found) change while you look. Only this
machine reaches the page unless --host says otherwise, and only under the address listened on, as localhost, or under a
name given by --allow-host. What is dropped lies in a temporary folder until it is read; no other file is read but the
examples, nothing is written elsewhere, and nothing is fetched from elsewhere.
"""

from __future__ import annotations

import argparse
import re
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from mlsgm_pyg.app.common import cli
from mlsgm_pyg.app.prediction.inputs import find_model
from mlsgm_pyg.app.web.own_folder import own_folder

PORT = 7860
MAX_MB = 50
MISSING = "the demo page needs gradio, which is not installed: 'make install EXTRAS=demo', or pip install gradio"
ALLOW = 'another name of this machine that browsers may use, such as that of a proxy; may be given several times'


def host(text: str) -> str:
    """A name or an address, without scheme and port."""
    if not re.fullmatch(r'[\w.-]+|\[?([0-9a-fA-F.]*:){2,7}[0-9a-fA-F.]*\]?', text, re.ASCII):
        raise argparse.ArgumentTypeError(f"must be a name or an address, without scheme and port (got '{text}')")
    return text


def parse(argv: list[str]) -> argparse.Namespace:
    parser = cli.parser('mlsgm demo', __doc__)
    add = parser.add_argument
    add('checkpoint', type=Path, metavar='RUN', help='a run, checkpoint, exported file, or hub:OWNER/NAME')
    add('--host', default='127.0.0.1', help='address to listen on; 0.0.0.0 lets others in (default: %(default)s)')
    add('--port', type=int, default=PORT, metavar='N', help='0 takes a free one (default: %(default)s)')
    add('--allow-host', action='append', default=[], type=host, metavar='NAME', help=ALLOW)
    add('--max-mb', type=float, default=MAX_MB, metavar='N', help='refuse larger files (default: %(default)s)')
    add('--max-pixels', type=int, metavar='N', help='refuse larger pictures, unread (default: 120 million)')
    add('--examples', type=Path, metavar='DIR', help='a folder with pictures to click on')
    args = parser.parse_args(argv)
    for name, least, most in (('port', 0, 65535), ('max_mb', 0.001, 100_000), ('max_pixels', 1, None)):
        value = getattr(args, name)
        if value is not None and (value < least or (most is not None and value > most)):
            wanted = f'at least {least}' if most is None else f'between {least} and {most}'
            parser.error(f'--{name.replace("_", "-")} must be {wanted} (got {value})')
    return args


@cli.door()
def main(argv: list[str]) -> int:
    """Runs the command line until it is interrupted; returns the exit status."""
    args = parse(argv)
    if find_spec('gradio') is None:
        raise ImportError(MISSING)
    args.checkpoint = find_model(args.checkpoint)
    with suppress(KeyboardInterrupt), own_folder() as folder:
        from mlsgm_pyg.app.web.server import run  # Gradio and torch take seconds.

        run(args, folder)
    return 0
