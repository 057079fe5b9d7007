"""Options on the command line, `NAME=VALUE`, shown (`--show`) and trained with."""

from __future__ import annotations

from collections.abc import Iterator

from tests.hostile.case import Case

VALUES = {
    'empty': '',
    'null': 'null',
    'list': '[1, 2]',
    'dict': '{a: 1}',
    '400 digits': '9' * 400,
    'not UTF-8': '\udced',
    'nan': 'nan',
    'minus': '-1',
}


def cases() -> Iterator[Case]:
    from omegaconf import OmegaConf

    from mlsgm_pyg.app.config import load as configs

    plain = OmegaConf.to_container(configs.load('digits', []))
    for section, inside in plain.items():
        for key in inside if isinstance(inside, dict) else [None]:
            name = f'{section}.{key}' if key else section
            for what, value in VALUES.items():
                words = ['mlsgm', 'train', '--row', 'digits', f'{name}={value}', '--show']
                yield Case(f'{name}: {what}', lambda stock, rng, words=words: words)
