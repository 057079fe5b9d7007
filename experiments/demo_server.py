"""Serves the demo page: on one address, from one temporary folder, with bounds on what comes in."""

from __future__ import annotations

import argparse
import errno
import logging
import socket
import sys
from pathlib import Path
from typing import Any

import torch
from PIL import Image

import mlsgm_pyg
from experiments import inputs
from experiments.config import ConfigError
from experiments.viewer import Viewer
from mlsgm_pyg.datasets import MAX_PIXELS, ImageError, read_picture

SLACK = 1_000_000  # Bytes of a request beside the picture.
EXAMPLES = 18  # So many pictures of a folder are offered.
SMALL = 240  # Their longer side, in pixels.
LOCAL = ('127.0.0.1', 'localhost', '::1')
POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:"  # The browser asks no other host for anything.


def run(args: argparse.Namespace, folder: Path) -> None:
    """Loads the model and serves the page until it is interrupted.

    Args:
        args (argparse.Namespace): The command's words.
        folder (Path): From :func:`experiments.own_folder.own_folder`.

    Raises:
        ConfigError, ValueError: If the checkpoint or the folder of examples does not fit.
        OSError: If the address is taken, or there is no room in the folder.
    """
    try:
        model = mlsgm_pyg.load(args.checkpoint, 'cuda' if torch.cuda.is_available() else 'cpu')
    except FileNotFoundError as error:
        raise ConfigError(f"there is no checkpoint '{args.checkpoint}'") from error
    listener = listen(args.host, args.port)
    with listener, Viewer(model, args.max_pixels or MAX_PIXELS) as viewer:
        Image.MAX_IMAGE_PIXELS = viewer.max_pixels  # It also guards what a file holds inside.
        examples = small_copies(args.examples, folder, viewer.max_pixels) if args.examples else []
        import uvicorn

        app = application(viewer, str(args.checkpoint), folder, examples, round(args.max_mb * 1e6))
        host, port = listener.getsockname()[:2]
        address = f'http://[{host}]:{port}' if ':' in host else f'http://{host}:{port}'
        print(f'{address}   (Ctrl+C ends it)', flush=True)
        if args.host not in LOCAL:
            print('everyone who reaches this machine can use the page', file=sys.stderr, flush=True)
        config = uvicorn.Config(app, log_level='error', timeout_graceful_shutdown=1)
        uvicorn.Server(config).run(sockets=[listener])


def listen(host: str, port: int) -> socket.socket:
    """A socket on an address, before anything slow is done.

    Raises:
        OSError: If the address is taken, or not of this machine; names it.
    """
    try:
        family = socket.getaddrinfo(host, port)[0][0]
        return socket.create_server((host, port), family=family)
    except (OSError, UnicodeError) as error:
        number, reason = getattr(error, 'errno', None), getattr(error, 'strerror', None)
        hint = ' (another --port, or 0 for a free one)' if number == errno.EADDRINUSE else ''
        raise OSError(
            number or errno.EINVAL, f'{(reason or str(error)).split(" (while")[0]}{hint}', f'{host}:{port}'
        ) from error


def small_copies(folder: Path, own: Path, max_pixels: int) -> list[tuple[Path, Path]]:
    """The first pictures of a folder that can be read, each with a small copy.

    Raises:
        ConfigError: If there is none.
    """
    out = []
    (own / 'examples').mkdir()
    for file in inputs.find([str(folder)]) if folder.is_dir() else []:
        if len(out) == EXAMPLES:
            break
        try:
            image = read_picture(file, max_pixels=max_pixels).image
        except ImageError as error:
            print(f"'{file}' is no example: {error.reason}", file=sys.stderr)
            continue
        image.thumbnail((SMALL, SMALL))
        small = own / 'examples' / f'{len(out)}.jpg'
        image.save(small, 'JPEG')
        out.append((Path(file).absolute(), small))
    if not out:
        raise ConfigError(f"--examples must be a folder with a picture that can be read (got '{folder}')")
    return out


def application(viewer: Viewer, name: str, folder: Path, examples: list[tuple[Path, Path]], max_bytes: int) -> Any:
    """The ASGI application.

    Args:
        viewer (Viewer): The model.
        name (str): The checkpoint.
        folder (Path): The page's own.
        examples (list[tuple[Path, Path]]): From :func:`small_copies`.
        max_bytes (int): Larger uploads are refused.
    """
    import gradio as gr
    from fastapi import FastAPI
    from starlette.middleware import Middleware

    from experiments.demo_page import FONTS, STYLE, build

    logging.getLogger('httpx').setLevel(logging.WARNING)
    gr.set_static_paths([folder / 'examples'])
    about = f'{name}: {type(viewer.model).__name__}, {len(viewer.model.class_names)} labels'
    page = build(viewer, about, examples)
    return gr.mount_gradio_app(
        FastAPI(openapi_url=None),
        page,
        path='/',
        app_kwargs={'middleware': [Middleware(Guard, max_bytes + SLACK, folder / 'uploads')], 'openapi_url': None},
        max_file_size=max_bytes,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        mcp_server=False,
        show_error=True,
        theme=gr.themes.Default(font=FONTS[0], font_mono=FONTS[1]),
        css_paths=STYLE,
    )


class Guard:
    """Bounds every request, keeps the browser from asking other hosts, and says in one line that a disk is full.

    Args:
        app: The ASGI application behind it.
        max_bytes (int): Of a request's body.
        uploads (Path): Where uploads lie; what is there when the disk is full is removed.
    """

    def __init__(self, app: Any, max_bytes: int, uploads: Path):
        self.app, self.max_bytes, self.uploads = app, max_bytes, uploads

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope['type'] != 'http':
            return await self.app(scope, receive, send)
        taken, started = 0, False

        async def bounded() -> dict[str, Any]:
            nonlocal taken
            message = await receive()
            taken += len(message.get('body', b''))
            if taken > self.max_bytes:
                raise TooMuch(f'a request may have {self.max_bytes:,} bytes')
            return message

        async def marked(message: dict[str, Any]) -> None:
            nonlocal started
            if message['type'] == 'http.response.start':
                started = True
                message['headers'] = [*message['headers'], (b'content-security-policy', POLICY.encode())]
            await send(message)

        try:
            await self.app(scope, bounded, marked)
        except TooMuch as error:
            await _answer(send, 413, str(error), started)
        except OSError as error:
            from experiments.demo_page import sweep

            sweep(self.uploads, 0)
            told = f'the picture could not be taken in: {error.strerror or error}'
            print(f'error: {told}', file=sys.stderr, flush=True)
            await _answer(send, 507, told, started)


class TooMuch(Exception):
    """A request is larger than allowed."""


async def _answer(send: Any, status: int, text: str, started: bool) -> None:
    if not started:
        headers = [(b'content-type', b'text/plain; charset=utf-8')]
        await send({'type': 'http.response.start', 'status': status, 'headers': headers})
        await send({'type': 'http.response.body', 'body': text.encode()})
