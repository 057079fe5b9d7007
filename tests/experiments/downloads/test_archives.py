import io
import os
import stat
import tarfile
import zipfile
from types import SimpleNamespace

import pytest

from experiments.downloads import archives, download
from experiments.downloads.archives import extract
from experiments.downloads.download import DownloadError

FILES = {'VOC/a.txt': b'a' * 9000, 'VOC/sub/b.jpg': bytes(range(256)), 'empty': b''}


def write_zip(path, files):
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('VOC/', b'')
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_tar(path, files):
    with tarfile.open(path, 'w') as archive:
        folder = tarfile.TarInfo('VOC')
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


KINDS = {'a.zip': write_zip, 'a.tar': write_tar}


@pytest.fixture(params=KINDS)
def archive(request, tmp_path):
    return KINDS[request.param](tmp_path / request.param, FILES)


def content_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob('*') if path.is_file()}


def test_extract(archive, tmp_path):
    seen = []
    names = extract(archive, tmp_path / 'out', progress=lambda *files: seen.append(files))
    assert names == list(FILES) and content_of(tmp_path / 'out') == FILES
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_some_files(archive, tmp_path):
    assert extract(archive, tmp_path / 'out', lambda name: name.endswith('.jpg')) == ['VOC/sub/b.jpg']
    assert list(content_of(tmp_path / 'out')) == ['VOC/sub/b.jpg']


def test_what_is_there_is_kept_and_what_was_cut_is_unpacked_again(archive, tmp_path):
    out = tmp_path / 'out'
    extract(archive, out)
    whole, cut = out / 'VOC/sub/b.jpg', out / 'VOC/a.txt'
    os.utime(whole, ns=(1, 1))
    cut.write_bytes(b'a' * 100)
    extract(archive, out)
    assert content_of(out) == FILES and whole.stat().st_mtime_ns == 1


@pytest.mark.parametrize('name', ['../evil.txt', '/tmp/evil.txt', 'VOC/../../evil.txt', '..', 'VOC/..'])
@pytest.mark.parametrize('kind', KINDS)
def test_nothing_lands_outside(tmp_path, kind, name):
    archive = KINDS[kind](tmp_path / kind, {'good.txt': b'good', name: b'evil'})
    with pytest.raises(ValueError, match=rf"{kind}' has a file that would go outside of '.*out' \(got '{name}'\)"):
        extract(archive, tmp_path / 'out')
    assert not (tmp_path / 'out').exists() and not (tmp_path / 'evil.txt').exists()


def test_links_are_not_unpacked(tmp_path):
    with tarfile.open(tmp_path / 'a.tar', 'w') as archive:
        for name, kind in (('soft', tarfile.SYMTYPE), ('hard', tarfile.LNKTYPE), ('pipe', tarfile.FIFOTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, '../../target'
            archive.addfile(info)
    assert extract(tmp_path / 'a.tar', tmp_path / 'out') == []
    with zipfile.ZipFile(tmp_path / 'a.zip', 'w') as archive:
        info = zipfile.ZipInfo('soft')
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, '../../target')
    assert extract(tmp_path / 'a.zip', tmp_path / 'out') == [] and not (tmp_path / 'out').exists()


def test_a_zip_with_a_wrong_byte(tmp_path):
    path = tmp_path / 'a.zip'
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_STORED) as archive:
        archive.writestr('first', b'whole')
        archive.writestr('second', b'b' * 500)
    path.write_bytes(path.read_bytes().replace(b'b' * 500, b'b' * 499 + b'c'))
    with pytest.raises(ValueError, match=r"a\.zip' is broken: Bad CRC-32 for file 'second'"):
        extract(path, tmp_path / 'out')
    assert content_of(tmp_path / 'out') == {'first': b'whole'}


def test_cut_archives(archive, tmp_path):
    archive.write_bytes(archive.read_bytes()[: -9600 if archive.suffix == '.tar' else -30])
    with pytest.raises(
        ValueError, match=rf"'.*{archive.name}' is (broken: .+|neither a whole zip nor a plain tar file)"
    ):
        extract(archive, tmp_path / 'out')
    assert not list((tmp_path / 'out').rglob('*.part'))


def test_no_room_for_what_an_archive_holds(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(download.shutil, 'disk_usage', lambda path: SimpleNamespace(free=9000))
    with pytest.raises(DownloadError, match=r"no room for '.*out': it needs 9,256 bytes more \(free are 9,000\)"):
        extract(archive, tmp_path / 'out')
    assert content_of(tmp_path / 'out') == {}
    (tmp_path / 'out' / 'VOC').mkdir()
    (tmp_path / 'out' / 'VOC' / 'a.txt').write_bytes(FILES['VOC/a.txt'])
    extract(archive, tmp_path / 'out')  # The rest has room.
    assert content_of(tmp_path / 'out') == FILES


def test_what_is_no_archive(tmp_path):
    (tmp_path / 'a.zip').write_bytes(b'<html>Not here</html>')
    for name in ('a.zip', 'absent.zip'):
        with pytest.raises(ValueError, match=rf"{name}' is neither a whole zip nor a plain tar file"):
            extract(tmp_path / name, tmp_path / 'out')


def test_an_archive_that_unpacks_to_too_much(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, 'SMALL', 20_000)
    path = write_zip(tmp_path / 'a.zip', {'a': b'a', 'b': bytes(90_000)})
    message = (
        r"a\.zip' would unpack to 91,\d+ bytes or more \(up to 'b'\): at most 20,000 are believed, 20 times its own"
    )
    with pytest.raises(ValueError, match=message):
        extract(path, tmp_path / 'out')
    assert not (tmp_path / 'out').exists()
