"""`mlsgm predict x.onnx`: without torch and most other packages; and the verbs that need the checkpoint say so."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from mlsgm_pyg.app.cli import card, compare, export, predict, report
from mlsgm_pyg.tagger import Tagger
from tests.predictions import files, lines

pytest.importorskip('onnxruntime', reason='needs the extra export')
ROOT = Path(__file__).resolve().parents[3]
ALONE = """
import sys
KNOWN = {'mlsgm_pyg', 'numpy', 'PIL', 'onnxruntime', 'rich', 'markdown_it', 'mdurl', 'pygments'}
class Refuse:
    def find_spec(self, name, *args):
        if name.partition('.')[0] not in KNOWN | sys.stdlib_module_names:
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)
sys.meta_path.insert(0, Refuse())
from mlsgm_pyg.app.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_with_four_packages(colours, pictures):
    """NumPy, Pillow, ONNX Runtime, rich; the same command goes on."""
    Path('broken.jpg').write_text('no image')
    words = [sys.executable, '-c', ALONE, 'predict', colours, 'my ü', 'broken.jpg', '--out', 'x.csv']
    how = {'env': os.environ | {'PYTHONPATH': str(ROOT)}, 'capture_output': True, 'text': True}
    run = subprocess.run(words, **how)
    assert (run.returncode, run.stderr) == (0, '') and '8 pictures, 8 now' in run.stdout, run.stderr
    assert files('x.jsonl') == [*(f'my ü/{i} é.png' for i in range(6)), 'my ü/sub/6 é.png', 'broken.jpg']
    want = Tagger(colours)(files('x.jsonl'))
    for i, found in enumerate(lines('x.jsonl')[:-1]):
        assert [one['label'] for one in found['labels']] == want['labels'][i]
        assert [one['probability'] for one in found['labels']] == pytest.approx(want['probabilities'][i], abs=1e-6)
        assert [one['box'] for one in found['labels']] == [pytest.approx(box, abs=0.01) for box in want['boxes'][i]]
        assert [one['label'] for one in found['instances']] == [one['label'] for one in want['instances'][i]]
    again = subprocess.run(words, **how)
    assert again.returncode == 0 and '8 of 8 pictures are done already' in again.stderr


def test_boxes_are_drawn_without_heat(call, colours, pictures):
    assert call('my ü', '--draw', 'drawn', checkpoint=colours)[0] == 0
    (drawn,) = Path('drawn').glob('0 é-*.jpg')
    with Image.open(drawn) as image:
        assert image.width > 320 and sorted(image.getcolors(1 << 20))[-1][1] == (255, 255, 255)


def test_options_that_are_fixed(call, colours, pictures):
    for word, value in [('view', 'paper'), ('labels', 'a,b'), ('precision', '16')]:
        told = f"error: '{colours}' is an exported file, whose {word} cannot be chosen any more\n"
        assert call('my ü', f'--{word}', value, checkpoint=colours) == (2, '', told)


def test_what_needs_the_checkpoint(colours, capsys):
    told = f"error: '{colours}' is an exported file: this needs the run, or the checkpoint, that it was made of\n"
    for verb, words in [(card, []), (report, []), (export, ['--format', 'onnx'])]:
        assert verb.main([colours, *words]) == 2
        assert capsys.readouterr().err == told
    for main, words in [(compare.main, [colours]), (predict.main, ['no.onnx', 'x.jpg'])]:
        assert main(words) == 2
        assert capsys.readouterr().err.count('\n') == 1
