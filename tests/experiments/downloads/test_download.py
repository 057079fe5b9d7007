import hashlib
from types import SimpleNamespace

import pytest

from experiments.downloads import download as module
from experiments.downloads.download import DownloadError, download
from tests.server import running

CONTENT = bytes(range(256)) * 40  # 10,240 bytes.
MD5 = f'md5:{hashlib.md5(CONTENT).hexdigest()}'
SHA256 = f'sha256:{hashlib.sha256(CONTENT).hexdigest()}'
OTHER = f'md5:{hashlib.md5(b"other").hexdigest()}'


@pytest.fixture(autouse=True)
def waits(monkeypatch):
    """How long it would have waited between tries."""
    waits = []
    monkeypatch.setattr(module.time, 'sleep', waits.append)
    return waits


@pytest.fixture
def server():
    with running() as server:
        server.files['/a.zip'] = CONTENT
        yield server


@pytest.fixture
def url(server):
    return f'{server.url}/a.zip'


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'new' / 'a.zip'


def part_of(path):
    return path.with_name('a.zip.part')


@pytest.mark.parametrize('checksum', ['', MD5, SHA256])
def test_whole(server, url, path, checksum):
    seen = []
    download(url, path, 10240, checksum, progress=lambda *bytes: seen.append(bytes))
    assert path.read_bytes() == CONTENT and not part_of(path).exists()
    assert seen[-1] == (10240, 10240) and [have for have, _ in seen] == sorted(have for have, _ in seen)
    assert server.asked == [('/a.zip', None)]
    download(url, path, 10240, checksum)
    assert len(server.asked) == 1  # It is there already.


def test_a_cut_line_goes_on_where_it_was_cut(server, url, path):
    server.cuts = [4000, 0, 6000]
    download(url, path, 10240, MD5)
    assert path.read_bytes() == CONTENT
    assert [asked for _, asked in server.asked] == [None, 'bytes=4000-', 'bytes=4000-', 'bytes=10000-']


def test_a_later_call_goes_on_too(server, url, path, monkeypatch):
    monkeypatch.setattr(module, 'TRIES', 1)
    server.cuts = [4000]
    message = (
        r'http://.*/a\.zip could not be downloaded in 1 tries: the line was cut after 4,000 of 10,240 bytes \(expected '
        r"10,240 bytes, got 4,000\); what came is kept in '.*a\.zip\.part', and another call goes on from there"
    )
    with pytest.raises(DownloadError, match=message):
        download(url, path, 10240, MD5)
    assert not path.exists() and part_of(path).read_bytes() == CONTENT[:4000]
    download(url, path, 10240, MD5)
    assert path.read_bytes() == CONTENT and server.asked[-1] == ('/a.zip', 'bytes=4000-')


def test_tries_are_counted_since_the_last_new_byte(server, url, path, monkeypatch):
    monkeypatch.setattr(module, 'TRIES', 2)
    server.cuts = [1000] * 9  # More often than there are tries, but each brings something.
    download(url, path, 10240, MD5)
    assert path.read_bytes() == CONTENT and len(server.asked) == 10


def test_a_server_without_ranges_starts_over(server, url, path):
    server.ranges, server.cuts = False, [4000]
    download(url, path, 10240, MD5)
    assert path.read_bytes() == CONTENT
    assert [asked for _, asked in server.asked] == [None, 'bytes=4000-']


def test_a_server_without_ranges_that_always_cuts_is_given_up(server, url, path):
    server.ranges, server.cuts = False, [4000] * 9
    with pytest.raises(DownloadError, match='could not be downloaded in 5 tries: the line was cut after 4,000 of 10,'):
        download(url, path, 10240, MD5)
    assert len(server.asked) == 5


def test_a_server_that_does_not_say_how_much_there_is(server, url, path):
    server.length, server.cuts = False, [4000]  # The size is known, so what was cut is seen, and goes on.
    download(url, path, 10240, MD5)
    assert path.read_bytes() == CONTENT and server.asked[-1] == ('/a.zip', 'bytes=4000-')


@pytest.mark.parametrize(
    ('content', 'message'),
    [(CONTENT[:5000], 'the server has none from 5,000 on'), (CONTENT * 2, 'the server sends more')],
)
def test_a_server_that_does_not_say_that_it_has_another_file(server, url, path, content, message):
    server.length, server.files['/a.zip'] = False, content
    with pytest.raises(DownloadError, match=rf'/a\.zip has another size: expected 10,240 bytes \({message}\)'):
        download(url, path, 10240)
    assert not path.exists() and part_of(path).stat().st_size <= 10240  # However much it goes on sending.


def test_a_server_that_leads_elsewhere(server, url, path):
    server.moved['/a.zip'] = '/b.zip'
    server.files['/b.zip'] = CONTENT
    download(url, path, 10240, MD5)
    path.unlink()
    server.moved['/a.zip'] = 'ftp://127.0.0.1:9/a.zip'
    with pytest.raises(
        DownloadError, match=r"/a\.zip leads elsewhere, and a URL begins with http.*'ftp://127\.0\.0\.1:9/a"
    ):
        download(url, path, 10240)
    server.moved['/a.zip'] = 'file:///etc/passwd'
    with pytest.raises(DownloadError, match=r'/a\.zip cannot be downloaded: the server answered 302 '):
        download(url, path, 10240)


def test_a_part_of_another_file_is_fetched_anew(server, url, path):
    path.parent.mkdir()
    part_of(path).write_bytes(b'x' * 4000)
    download(url, path, 10240, MD5)
    assert path.read_bytes() == CONTENT
    assert [asked for _, asked in server.asked] == ['bytes=4000-', None]


def test_a_part_that_is_too_long(server, url, path):
    path.parent.mkdir()
    part_of(path).write_bytes(b'x' * 20000)
    server.cuts = [9] * 9  # What the long one had is no measure of what came.
    download(url, path, 10240, MD5)
    assert path.read_bytes() == CONTENT


def test_a_part_that_is_whole(server, url, path):
    path.parent.mkdir()
    part_of(path).write_bytes(CONTENT)
    download(url, path, 10240, MD5)
    assert path.read_bytes() == CONTENT and server.asked == []


def test_a_wrong_checksum(server, url, path):
    message = (
        rf"/a\.zip is not what '.*a\.zip' should be: expected {OTHER.replace(':', ' ')} \(got {MD5[4:]}\); what came w"
    )
    with pytest.raises(DownloadError, match=message):
        download(url, path, 10240, OTHER)
    assert list(path.parent.iterdir()) == [] and len(server.asked) == 1


def test_a_wrong_size(server, url, path):
    with pytest.raises(DownloadError, match=r'another size: expected 99 bytes \(the server offers 10,240\)'):
        download(url, path, 99)
    assert not path.exists()


def test_a_file_that_is_there_is_checked(server, url, path):
    path.parent.mkdir()
    path.write_bytes(b'my own')
    message = (
        r"'.*a\.zip' is not http://.*/a\.zip: expected 10,240 bytes \(got 6\); delete it, and it is downloaded again"
    )
    with pytest.raises(DownloadError, match=message):
        download(url, path, 10240, MD5)
    assert path.read_bytes() == b'my own' and server.asked == []


@pytest.mark.parametrize('status, reason', [(404, 'Not Found'), (403, 'Forbidden'), (410, 'Gone')])
def test_a_refusal_is_not_tried_again(server, url, path, status, reason):
    server.answers = [status] * 2
    message = rf'/a\.zip cannot be downloaded: the server answered {status} {reason}'
    with pytest.raises(DownloadError, match=message):
        download(url, path, 10240)
    assert len(server.asked) == 1 and not path.exists()


def test_a_busy_server_is_asked_again(server, url, path):
    server.answers = [503, 429, 500]
    download(url, path, 10240, MD5)
    assert path.read_bytes() == CONTENT
    server.answers = [503] * 9
    path.unlink()
    with pytest.raises(DownloadError, match='in 5 tries: the server answered 503 Service Unavailable'):
        download(url, path, 10240, MD5)


def test_nobody_there(server, path):
    with running() as gone:
        url = f'{gone.url}/a.zip'
    with pytest.raises(DownloadError, match=r'/a\.zip could not be downloaded in 5 tries: .*refused'):
        download(url, path, 10240)


def test_waits_grow_and_end(server, url, path, monkeypatch, waits):
    monkeypatch.setattr(module, 'TRIES', 8)
    server.answers = [503] * 9
    with pytest.raises(DownloadError):
        download(url, path, 10240)
    assert waits == [1, 2, 4, 8, 16, 32, 60]


def test_no_room(server, url, path, monkeypatch):
    monkeypatch.setattr(module.shutil, 'disk_usage', lambda path: SimpleNamespace(free=5000))
    with pytest.raises(DownloadError, match=r"no room for '.*part': it needs 10,240 bytes more \(free are 5,000\)"):
        download(url, path, 10240)
    path.parent.mkdir(exist_ok=True)
    part_of(path).write_bytes(CONTENT[:6000])
    download(url, path, 10240, MD5)  # The rest has room.


def test_a_file_that_cannot_be_written(server, url, path):
    part_of(path).mkdir(parents=True)
    with pytest.raises(DownloadError, match=r"cannot write '.*a\.zip\.part': "):
        download(url, path, 10240)


@pytest.mark.parametrize(
    'wrong',
    [
        'file:///etc/passwd',
        'a.zip',
        'ftp://127.0.0.1/a.zip',
        'http:///a.zip',
        'http://127.0.0.1:99999/a',
        'http://a b/',
    ],
)
def test_what_is_not_a_url(path, wrong):
    with pytest.raises(ValueError, match=rf"begins with http:// or https:// and a host, .* \(got '{wrong}'\)"):
        download(wrong, path, 10240)
    assert not path.parent.exists()
