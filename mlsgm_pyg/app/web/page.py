"""The demo page itself: where things stand, and what happens when a picture is dropped or a slider moved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from mlsgm_pyg.app.common.markup import tag
from mlsgm_pyg.app.web.uploads import Uploads
from mlsgm_pyg.app.web.viewer import Viewer
from mlsgm_pyg.app.web.views import Shown, drop, show

TITLE = 'What is in a picture?'
WAITING = 32  # So many steps may wait for the model.
SESSIONS = 16  # So many visitors' pictures are kept in memory.
FONTS = ['system-ui', 'sans-serif'], ['ui-monospace', 'monospace']  # Of the visitor's machine: none is fetched.
STYLE = Path(__file__).parent / 'assets' / 'demo.css'


def build(viewer: Viewer, about: str, examples: list[tuple[Path, Path]], uploads: Uploads) -> gr.Blocks:
    """Makes the page of a model and what it says of it, with pictures to click on (each with a small copy of it)."""
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True) as page:
        gr.HTML(tag('h1', TITLE) + tag('p', about), padding=False)
        seen = gr.State(None)
        with gr.Row(elem_id='stage'):
            with gr.Column(scale=1, min_width=280):
                file = gr.File(label='A picture', show_label=False, file_count='single', height=120, elem_id='picture')
                status = gr.HTML(elem_id='status', padding=False)
                gamma = gr.Slider(
                    0,
                    1,
                    0 if viewer.gamma is None else viewer.gamma,
                    step=0.01,
                    label='Gamma',
                    info='A class becomes an instance where its activation is above this.',
                    visible=viewer.gamma is not None,
                    elem_id='gamma',
                )
                threshold = gr.Slider(
                    0,
                    1,
                    0 if viewer.is_fitted else 0.5,
                    step=0.01,
                    label='Threshold',
                    info='A label counts as found from this probability on'
                    + ('; 0: from its own, fitted in training.' if viewer.is_fitted else '.'),
                    elem_id='threshold',
                )
                labels = gr.HTML(elem_id='labels', padding=False)
            with gr.Column(scale=3, min_width=320):
                figures = gr.HTML(elem_id='figures', padding=False)
                gallery = gr.Gallery(
                    [str(small) for _, small in examples],
                    label='Examples',
                    show_label=False,
                    columns=6,
                    height='auto',
                    allow_preview=False,
                    buttons=[],
                    visible=bool(examples),
                    elem_id='examples',
                )
        told = [seen, status, labels, figures]
        how = {'show_progress': 'hidden', 'api_visibility': 'private'}

        def uploaded(path: str, before: Any, gamma: float, threshold: float) -> tuple:
            with uploads.taken(Path(path).parent.name) as found:  # Nothing else of the path counts.
                return None, *_told(drop(viewer, found, before, gamma, threshold))

        def clicked(event: gr.SelectData, before: Any, gamma: float, threshold: float) -> tuple:
            return _told(drop(viewer, examples[event.index][0], before, gamma, threshold))

        def moved(seen: Any, gamma: float, threshold: float) -> tuple:
            return _told(show(viewer, seen, gamma, threshold))

        file.upload(uploaded, [file, seen, gamma, threshold], [file, *told], **how)
        gallery.select(clicked, [seen, gamma, threshold], told, **how)
        for slider in (gamma, threshold):
            slider.change(moved, [seen, gamma, threshold], told, trigger_mode='always_last', **how)
    page.state_session_capacity = SESSIONS
    return page.queue(max_size=WAITING)


def _told(shown: Shown) -> tuple:
    return tuple(gr.skip() if value is None else value for value in shown)
