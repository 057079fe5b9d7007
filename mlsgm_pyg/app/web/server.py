"""Serves the demo page: on one address, from one temporary folder, behind a door."""

from __future__ import annotations

import argparse
import asyncio
import errno
import logging
import socket
import sys
from pathlib import Path

import gradio as gr
import torch
import uvicorn
from fastapi import FastAPI
from PIL import Image

from mlsgm_pyg.app.common.errors import ConfigError
from mlsgm_pyg.app.common.text import counted
from mlsgm_pyg.app.prediction.inputs import Inputs
from mlsgm_pyg.app.web.door import Door, Step
from mlsgm_pyg.app.web.hosts import LOCAL, Hosts
from mlsgm_pyg.app.web.page import FONTS, STYLE, build
from mlsgm_pyg.app.web.uploads import Uploads
from mlsgm_pyg.app.web.viewer import Viewer
from mlsgm_pyg.datasets import MAX_PIXELS, ImageError, read_picture
from mlsgm_pyg.exported import is_exported

EXAMPLES = 18  # So many pictures of a folder are offered.
HINTS = {'block_info_text_color': '#52525b', 'block_info_text_color_dark': '#c4c4cc'}  # Dark enough to be read.
SMALL = 240  # Their longer side, in pixels.


def run(args: argparse.Namespace, folder: Path) -> None:
    """Loads the model and serves the page, from :func:`mlsgm_pyg.app.web.own_folder.own_folder`, until it is
    interrupted."""
    device = 'cuda' if torch.cuda.is_available() and not is_exported(args.checkpoint) else 'cpu'
    model = Viewer(args.checkpoint, args.max_pixels or MAX_PIXELS, device)
    listener = listen(args.host, args.port)
    with listener, model as viewer:
        Image.MAX_IMAGE_PIXELS = viewer.max_pixels  # It also guards what a file holds inside.
        examples = small_copies(args.examples, folder, viewer.max_pixels) if args.examples else []
        uploads = Uploads(folder / 'uploads', round(args.max_mb * 1e6))
        app = application(viewer, str(args.checkpoint), examples, uploads, Hosts(args.host, args.allow_host))
        host, port = listener.getsockname()[:2]
        address = f'http://[{host}]:{port}' if ':' in host else f'http://{host}:{port}'
        print(f'{address}   (Ctrl+C ends it)', flush=True)
        if args.host not in LOCAL:
            print('everyone who reaches this machine can use the page', file=sys.stderr, flush=True)
        config = uvicorn.Config(app, log_level='error', timeout_graceful_shutdown=1)
        logging.getLogger('uvicorn.error').addFilter(_is_news)
        uvicorn.Server(config).run(sockets=[listener])


def listen(host: str, port: int) -> socket.socket:
    """A socket on an address, before the model is loaded; an error names the address that is taken, or not of this
    machine."""
    try:
        family = socket.getaddrinfo(host, port)[0][0]
        return socket.create_server((host, port), family=family)
    except (OSError, UnicodeError) as error:
        is_taken = getattr(error, 'errno', None) == errno.EADDRINUSE
        reason = (getattr(error, 'strerror', None) or str(error)).split(' (while')[0]
        hint = ' (another --port, or 0 for a free one)' if is_taken else ''
        raise ConfigError(f"cannot go on with '{host}:{port}': {reason}{hint}") from error


def small_copies(folder: Path, own: Path, max_pixels: int) -> list[tuple[Path, Path]]:
    """Pictures from all over a folder that can be read, each with a small copy; there must be one."""
    out, files = [], list(Inputs([str(folder)])) if folder.is_dir() else []
    number = min(EXAMPLES, len(files))
    spread = [files[i * len(files) // number] for i in range(number)]
    (own / 'examples').mkdir()
    for file in dict.fromkeys(spread + files):
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


def application(viewer: Viewer, name: str, examples: list[tuple[Path, Path]], uploads: Uploads, hosts: Hosts) -> Door:
    """The ASGI application, for the name of a checkpoint. Uploads lie in the folder that Gradio was told to use before
    it was imported."""
    for library in ('httpx', 'python_multipart'):  # They tell of each request, and of each form that is none.
        logging.getLogger(library).setLevel(logging.ERROR)
    small = [str(path) for _, path in examples]
    gr.set_static_paths(small)
    about = f'{name}: {viewer.engine.name}, {counted(len(viewer.engine.class_names), "label")}'
    about += '; an exported file has no activation maps and no graph' if is_exported(name) else ''
    page = build(viewer, about, examples, uploads)
    app = gr.mount_gradio_app(
        FastAPI(openapi_url=None),
        page,
        path='/',
        app_kwargs={'openapi_url': None},
        max_file_size=uploads.max_bytes,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        mcp_server=False,
        show_error=True,
        theme=gr.themes.Default(font=FONTS[0], font_mono=FONTS[1]).set(**HINTS),
        css_paths=STYLE,
    )
    page.has_launched = True  # Without it, Gradio takes any path of the machine; behind the door, it is asked for none.
    steps = {number: Step(fn.fn.__name__, fn.targets[0][0]) for number, fn in page.fns.items()}
    return Door(app, hosts, uploads, steps, small, page._queue.pending_messages_per_session)


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a line of the server's is about more than open pages that the end cuts off."""
    is_cut_off = bool(record.exc_info) and isinstance(record.exc_info[1], asyncio.CancelledError)
    return not is_cut_off and 'graceful shutdown exceeded' not in record.getMessage()
