"""A tiny run of few labels, or of none."""

import numpy as np
import pytest

from mlsgm_pyg.datasets import Digits


@pytest.fixture
def words(tmp_path):
    """Word vectors of the digits' names."""
    path = tmp_path / 'words.npz'
    names = Digits('train', num_images=1, size=32).class_names
    np.savez(path, names=names, vectors=np.random.default_rng(0).normal(size=(len(names), 6)).astype(np.float32))
    return f'semantics.source={path}'


@pytest.fixture
def made(request, tiny, frozen, words):
    """Makes the config of a run with the file's OPTIONS, and the words that make it."""
    options = request.module.OPTIONS

    def make(*more):
        config = tiny(*options, *frozen, words, *more)
        return config, ['digits', *options, *frozen, words, *more]

    return make
