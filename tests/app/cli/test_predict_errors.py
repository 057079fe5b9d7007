"""Predicting: nothing hostile stops the command, nothing is lost, and errors are lines."""

import errno
import os
import pickle
import shutil
import signal
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import mlsgm_pyg
from mlsgm_pyg.app.cli import predict
from mlsgm_pyg.app.prediction import inputs, loop, tables
from tests.predictions import files, lines


def bomb(path):
    """A PNG that claims 20,000 x 20,000 pixels."""
    parts = [(b'IHDR', struct.pack('>IIBBBBB', 20000, 20000, 8, 2, 0, 0, 0)), (b'IDAT', zlib.compress(bytes(100)))]
    parts.append((b'IEND', b''))
    chunks = [struct.pack('>I', len(d)) + k + d + struct.pack('>I', zlib.crc32(k + d)) for k, d in parts]
    path.write_bytes(b'\x89PNG\r\n\x1a\n' + b''.join(chunks))


def test_hostile_pictures(call, pictures, monkeypatch):
    """What can be shown is, what cannot is listed with its reason, and the rest is done as ever."""
    shutil.rmtree(pictures / 'sub')
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    noise.save(pictures / 'truncated.jpg')
    whole = (pictures / 'truncated.jpg').read_bytes()
    (pictures / 'truncated.jpg').write_bytes(whole[:3000])
    (pictures / 'zero.jpg').touch()
    bomb(pictures / 'bomb.png')
    (pictures / 'text.jpg').write_text('renamed')
    (pictures / 'locked.jpg').write_bytes(whole)
    (pictures / 'folder.jpg').mkdir()
    Path('loop.jpg').symlink_to('loop.jpg')
    fine = ['1x1.png', 'cmyk.jpg', '16bit.png', 'animated.gif']
    Image.new('RGB', (1, 1)).save(pictures / fine[0])
    Image.new('CMYK', (20, 10)).save(pictures / fine[1])
    Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30) * 100).save(pictures / fine[2])
    Image.new('P', (9, 9)).save(pictures / fine[3], save_all=True, append_images=[Image.new('P', (9, 9), 1)] * 2)
    odd = os.fsdecode(b'my \xc3\xbc/\xff\n.jpg')
    Path(odd).write_bytes(whole)
    real = Image.open

    def opened(path, *args, **how):
        if 'locked' in str(path):  # A superuser may read everything.
            raise PermissionError(errno.EACCES, 'Permission denied', str(path))
        return real(path, *args, **how)

    monkeypatch.setattr(Image, 'open', opened)
    Path('one.txt').write_text('my ü/folder.jpg/x\n')
    status, out, _ = call('my ü', 'loop.jpg', 'one.txt', '--draw', 'drawn', '--out', 'x.csv')
    assert status == 0
    reasons = {Path(one['file']).name: one['error'] for one in lines('x.jsonl') if 'error' in one}
    assert reasons.pop('truncated.jpg').startswith('OSError: image file is truncated')
    assert reasons == {
        'zero.jpg': 'the file is empty',
        'bomb.png': '400,000,000 pixels are more than the 120,000,000 that are allowed',
        'text.jpg': 'not an image of a known format, or broken from its first bytes on',
        'locked.jpg': 'Permission denied',
        'loop.jpg': 'Too many levels of symbolic links',
        'x': 'No such file or directory',
    }
    good = [one for one in lines('x.jsonl') if 'error' not in one]
    assert len(good) == 11 and {*fine} <= {Path(one['file']).name for one in good} and odd in files('x.jsonl')
    sizes = {Path(one['file']).name: (one['width'], one['height']) for one in good}
    assert [sizes[name] for name in fine] == [(1, 1), (20, 10), (30, 20), (9, 9)]
    assert '7 of them could not be read' in out and 'text.jpg: not an image' in out
    assert len(list(Path('drawn').glob('*.jpg'))) == 11

    monkeypatch.setattr(Image, 'open', real)  # The owner unlocks it.
    status, out, _ = call('my ü', 'loop.jpg', 'one.txt', '--retry', '--out', 'x.csv')
    assert (
        status == 0 and '6 of them could not be read' in out and sorted(files('x.jsonl')) == sorted({*files('x.jsonl')})
    )
    assert len(files('x.jsonl')) == 18


def test_more_pixels_may_be_allowed(call, pictures):
    bomb(pictures / 'bomb.png')
    before = Image.MAX_IMAGE_PIXELS
    status, _, _ = call('my ü/bomb.png', 'my ü/0 é.png', '--max-pixels', 1000)
    reasons = [one['error'] for one in lines()]
    assert reasons[1] == '40 x 30 pixels are more than the 1,000 that are allowed'
    call('my ü/bomb.png', '--retry', '--max-pixels', 400_000_000)
    assert 'error' in lines()[-1] and 'allowed' not in lines()[-1]['error']  # It was read, and is broken.
    assert Image.MAX_IMAGE_PIXELS == before


def test_nothing_is_lost_when_the_disk_is_full(call, pictures, monkeypatch):
    real, calls = os.write, []

    def full(file, data):
        calls.append(data.startswith(b'{"file"'))
        if sum(calls) < 3:
            return real(file, data)
        if calls[-1]:
            return real(file, data[:50])  # What still fits.
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(os, 'write', full)
    status, _, err = call('my ü')
    assert status == 2 and len(files()) == 4
    assert "error: cannot go on with 'predictions.jsonl': No space left on device; what is done is kept" in err
    monkeypatch.setattr(os, 'write', real)
    assert call('my ü')[0] == 0 and len(files()) == len({*files()}) == 7


def test_a_full_disk_under_the_drawings(call, pictures, monkeypatch):
    def full(self, *args, **kwargs):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(Image.Image, 'save', full)
    status, _, err = call('my ü', '--draw', 'drawn')
    assert status == 2 and 'No space left on device' in err and files() == [] and list(Path('drawn').iterdir()) == []


class Code:
    def __reduce__(self):
        return os.mkdir, ('it was run',)


def test_hostile_checkpoints(call, pictures, checkpoint):
    def write(name, content):
        torch.save(content, name)
        return name

    about = torch.load(checkpoint, weights_only=True)['mlsgm_pyg']
    Path('text.ckpt').write_text('no checkpoint')
    Path('pickle.ckpt').write_bytes(pickle.dumps(Code()))
    Path('half.ckpt').write_bytes(checkpoint.read_bytes()[:5000])
    Path('folder.ckpt').mkdir()
    damaged = {'state_dict': {'x': 1}, 'mlsgm_pyg': about}
    unknown = {'state_dict': {}, 'mlsgm_pyg': about | {'model': {'name': 'resnext'}}}
    for name, told in [
        ('lost.ckpt', "there is no checkpoint 'lost.ckpt'"),
        ('text.ckpt', 'text.ckpt is not a readable checkpoint'),
        ('half.ckpt', 'half.ckpt is not a readable checkpoint'),
        ('folder.ckpt', "'folder.ckpt' is not the directory of a run: it has no result.json"),
        ('pickle.ckpt', 'pickle.ckpt is not a readable checkpoint'),
        (
            write('code.ckpt', {'state_dict': {}, 'mlsgm_pyg': Code()}),
            'it holds something else, and nothing of it was run',
        ),
        (write('foreign.ckpt', torch.nn.Linear(2, 2).state_dict()), 'foreign.ckpt is not a checkpoint of mlsgm_pyg'),
        (write('odd.ckpt', {'state_dict': {}, 'mlsgm_pyg': 3}), 'odd.ckpt has format version None'),
        (write('damaged.ckpt', damaged), "damaged.ckpt is damaged: 'state_dict' must hold tensors by name"),
        (
            write('unknown.ckpt', unknown),
            "a model that cannot be built: there is no model 'resnext'",
        ),
    ]:
        status, out, err = call('my ü', checkpoint=name)
        assert status == 2 and out == '' and err.startswith('error: ') and told in err, name
        assert err.count('\n') == 1, name
    assert not Path('it was run').exists() and not Path('predictions.jsonl').exists()


def test_errors_of_the_command_itself(call, pictures, capsys, monkeypatch):
    for words, told in [
        (['my ü/*.bmp'], "there is no picture in 'my ü/*.bmp'"),
        (['my ü', '--min-precision', '0.9'], "'min_precision' needs a model with fitted thresholds"),
        (['my ü', '--view', 'train'], "'view' must be one of resize"),
    ]:
        status, _, err = call(*words)
        assert status == 2 and told in err and err.count('\n') == 1, words
    for words, told in [
        (['--out', 'x.txt'], "--out must end in .jsonl, .csv, .parquet (got 'x.txt')"),
        (['--threshold', '0.5', '--min-precision', '0.9'], 'not allowed with argument --threshold'),
        (['--top-k', '0'], '--top-k must be at least 1 (got 0)'),
        (['--threshold', '2'], 'argument --threshold: must be from 0 to 1 (got 2)'),
        (['--min-precision', '90'], 'argument --min-precision: must be from 0.5 to 0.99 (got 90)'),
        (['--batch-size', '0'], '--batch-size must be at least 1 (got 0)'),
        (['--limit', '0'], '--limit must be at least 1 (got 0)'),
        (['--shards', 'a.tar', '--draw', 'd', '--again'], '--shards goes without PATH, --draw, --again: a part'),
    ]:
        with pytest.raises(SystemExit):
            predict.main(['x.ckpt', 'my ü', *words])
        assert told in capsys.readouterr().err
    monkeypatch.setattr(tables.importlib.util, 'find_spec', lambda name: None)
    status, _, err = call('my ü', '--out', 'x.parquet')
    assert status == 2 and "'x.parquet' needs pyarrow, which is not installed: pip install pyarrow" in err


def test_what_is_mistyped_is_told_before_the_model_is_loaded(call, pictures, monkeypatch):
    monkeypatch.setattr(mlsgm_pyg, 'load', lambda path: pytest.fail('the model is loaded'))
    Path('labels.csv').write_text('file,cat\n')
    Path('folder.csv').mkdir()
    for words, told in [
        (['fotos'], "there is no file or folder 'fotos'"),
        (['my ü', 'my ü/sup'], "there is no file or folder 'my ü/sup'"),
        (['my ü', '--out', 'labels.csv/x.csv'], "cannot write 'labels.csv/x.jsonl': 'labels.csv': Not a directory"),
        (['my ü', '--out', 'labels.csv/a/x.jsonl'], "'labels.csv/a': Not a directory"),
        (['my ü', '--out', '/proc/nowhere/x.jsonl'], "'/proc/nowhere': No such file or directory"),
        (['my ü', '--out', 'folder.csv'], "cannot write 'folder.csv': it is a folder"),
        (['my ü', '--draw', 'labels.csv'], "cannot write into the folder 'labels.csv': Not a directory"),
        (['my ü', '--draw', '/proc/drawn'], "cannot write into the folder '/proc/drawn': No such file or directory"),
        (['lost/*.jpg', '--out', 'a/b/x.csv', '--draw', 'c/d'], "there is no picture in 'lost/*.jpg'"),
    ]:
        status, out, err = call(*words)
        assert status == 2 and out == '' and told in err and err.count('\n') == 1, words
    assert sorted(path.name for path in Path().iterdir()) == ['folder.csv', 'labels.csv', 'my ü']  # Nothing is left.


def test_where_nothing_could_be_read(call, pictures):
    Path('lost.txt').write_text('one.jpg\nsub/two\n')
    status, out, _ = call('lost.txt')
    assert status == 1 and '2 of them could not be read' in out and '  sub/two: No such file or directory' in out
    status, out, err = call('lost.jpg', '--out', 'x.jsonl')
    assert status == 1 and '1 picture, 1 now in' in out and '  lost.jpg: No such file or directory' in out
    status, out, err = call(Path('lost.jpg').absolute(), '--out', 'x.jsonl')  # By another name.
    assert status == 1 and '1 of 1 picture is done already' in err and f'1 picture: {Path.cwd()}/x.jsonl' in out
    assert call('lost.txt', 'my ü/0 é.png')[0] == 0


@pytest.mark.parametrize(('number', 'status'), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_stops_after_the_batch(call, pictures, monkeypatch, number, status):
    def recorded(file, found):
        if file.startswith('my ü/2'):  # Of 2 and 3, the second batch.
            os.kill(os.getpid(), number)
        return real(file, found)

    handler, real = signal.getsignal(number), loop.record
    monkeypatch.setattr(loop, 'record', recorded)
    assert call('my ü', '--out', 'x.csv') == (status, '', '4 of 7 done; the same command goes on\n')
    assert signal.getsignal(number) == handler
    assert files('x.jsonl') == [f'my ü/{i} é.png' for i in range(4)] and not Path('x.csv').exists()
    monkeypatch.setattr(loop, 'record', real)
    code, out, err = call('my ü', '--out', 'x.csv')
    assert code == 0 and '4 of 7 pictures are done already' in err and '3 now in' in out
    assert len(files('x.jsonl')) == len({*files('x.jsonl')}) == 7 and Path('x.csv').exists()


def test_a_signal_in_the_last_batch_stops_nothing(call, pictures, monkeypatch):
    real = loop.record
    monkeypatch.setattr(loop, 'record', lambda *of: os.kill(os.getpid(), signal.SIGTERM) or real(*of))
    assert call('my ü/0 é.png', '--out', 'x.csv')[0] == 0 and len(files('x.jsonl')) == 1 and Path('x.csv').exists()


def test_a_reading_process_that_the_signal_ended_is_no_error(call, pictures, monkeypatch):
    def ended(*of):
        os.kill(os.getpid(), signal.SIGTERM)
        raise RuntimeError('DataLoader worker (pid 1) is killed by signal: Terminated.')

    monkeypatch.setattr(loop.Tagger, 'find', ended)
    assert call('my ü') == (143, '', '0 of 7 done; the same command goes on\n')


def test_interrupted_while_it_starts(monkeypatch, capsys, tmp_path):
    def interrupted(*of):
        raise KeyboardInterrupt

    monkeypatch.setattr(inputs, 'Inputs', interrupted)
    monkeypatch.chdir(tmp_path)
    Path('x.ckpt').touch()
    assert predict.main(['x.ckpt', 'y.jpg']) == 130
    assert capsys.readouterr().err == 'stopped; the same command goes on\n'


def test_only_known_errors_are_put_in_one_line(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    Path('x.ckpt').touch()

    def raising(error):
        def failing(*of):
            raise error

        monkeypatch.setattr(inputs, 'Inputs', failing)
        return predict.main(['x.ckpt', 'y.jpg'])

    assert raising(torch.OutOfMemoryError('no memory')) == 2 and '--batch-size' in capsys.readouterr().err
    assert raising(RuntimeError('DataLoader worker (pid 1) is killed')) == 2
    assert 'a process that reads pictures was ended' in capsys.readouterr().err
    with pytest.raises(RuntimeError, match='a mistake of ours'):
        raising(RuntimeError('a mistake of ours'))
