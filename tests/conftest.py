"""What every test has: few threads, a fixed seed, and the real photographs where they lie beside the clone."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
COCO18 = ROOT.parent / 'shared' / 'data' / 'coco18'

torch.set_num_threads(min(2, torch.get_num_threads()))


@pytest.fixture(autouse=True)
def seed() -> None:
    """The same random numbers in every test, whichever tests ran before it."""
    random.seed(12345)  # PyG's fake data sets draw from it.
    torch.manual_seed(12345)
    np.random.seed(12345)  # noqa: NPY002


@pytest.fixture(scope='session')
def coco18() -> Path:
    """The folder of the 7,000 COCO photographs (`labels.csv`, `images/`)."""
    if not (COCO18 / 'labels.csv').is_file():
        pytest.skip('the coco18 photographs are not beside this clone (../shared/data/coco18/labels.csv)')
    return COCO18
