"""Figure 2: its sizes are the model's, and the committed picture is what the code draws."""

import html
import re
from pathlib import Path

import matplotlib
import pytest
from PIL import Image

from experiments import figure
from experiments.figures import sizes
from mlsgm_pyg.app.config import load as configs

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / 'docs'


def texts(path):
    """What is written in an SVG picture, a comment a line of text."""
    return re.findall(r'<!-- (.*?) -->', html.unescape(path.read_text()), flags=re.DOTALL)


def test_sizes_are_those_of_the_papers_table():
    config = configs.load('voc2007', ['model.prune_last=false'])
    found = sizes.of_config(config, 20, 300)
    parts = found.parameters  # Table VIII, part by part; see DESIGN.
    assert parts['backbone'] == 42_500_160 and parts['csac'] == 20_500 and parts['encoder'] == 2_333_952
    assert parts['blocks'] == 12_762_368 == parts['blocks.0'] + parts['blocks.1'] and parts['decoder'] == 33_281
    assert parts['reduce'] == 2_098_176
    assert found.feature == (2048, 14, 14) and found.channels == 1024 and found.blocks == (512, 256)


def test_labels_and_words_of_rows_and_runs(trained):
    assert [sizes.of_words(words)[4:6] for words in (['coco'], ['voc2007', 'semantics.source=kumo'], ['digits'])] == [
        (80, 300), (20, 50), (10, 10)
    ]  # fmt: skip
    found = sizes.of_words([trained['folder']])
    assert found.labels == 10 and found.image_size == 32 and found.channels == 16 and found.blocks == (8, 8)
    assert sum(found.parameters[part] for part in sizes.PARTS) == trained['parameters']['all']


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['coc'], "unknown experiment 'coc': did you mean 'coco'?"),
        (['digits_baseline'], 'the picture is of the architecture of ml_sgm (got model.name=baseline)'),
        (['coco', 'voc2007'], 'the architecture is of one row or run directory (got coco voc2007)'),
        (['coco18', 'data.root=nowhere'], 'the number of labels is in the data set, which is not there ('),
    ],
)
def test_errors(words, message, tmp_path, capsys):
    assert figure.main(['2', *words, '--out', str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith(f'error: {message}')


def test_the_committed_picture_is_what_the_code_draws(tmp_path):
    assert figure.main(['2', '--out', str(tmp_path)]) == 0
    drawn, kept = tmp_path / 'architecture.svg', DOCS / 'architecture.svg'
    assert texts(drawn) == texts(kept), 'python -m experiments.figure 2 --out docs'
    for path in (kept, DOCS / 'architecture.png'):
        assert path.stat().st_size < 200_000
    made_with = re.search(r'^matplotlib==(.+)$', (ROOT / 'constraints.txt').read_text(), flags=re.MULTILINE)[1]
    if matplotlib.__version__ == made_with:  # Another version may place glyphs otherwise.
        assert drawn.read_bytes() == kept.read_bytes(), 'python -m experiments.figure 2 --out docs'
    with Image.open(DOCS / 'architecture.png') as picture:
        assert picture.size == (1440, 817)


def test_the_picture_says_the_sizes_of_its_row(tmp_path):
    assert figure.main(['2', 'digits', 'model.block_channels=8,16,32', '--out', str(tmp_path)]) == 0
    written = ' '.join(texts(tmp_path / 'architecture.svg'))
    for told in ('ResNet-18', '3 × 96 × 96', 'score > γ = 0.4', 'at most 6', 'kNN, k = 3', '10 labels', 'Block 3'):
        assert told in written
    assert re.findall(r'(\d+) → (\d+)(?! →)', written)[:3] == [('128', '8'), ('8', '16'), ('16', '32')]
