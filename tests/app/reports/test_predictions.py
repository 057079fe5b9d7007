"""The page beside drawn pictures: what is on it of each, and that a name stays a name."""

import json
import os
import re
from urllib.parse import unquote_to_bytes

from mlsgm_pyg.app.drawing.boxes import drawing_path
from mlsgm_pyg.app.reports.predictions import write_index
from tests.reader import Reader

ABOUT = {'checkpoint': 'x.ckpt', 'class_names': ['cat', 'dog', 'owl'], 'upright': False}
HOSTILE = 'a [b] #1 100% "q" \'\\</script><img src=x onerror=alert(1)>&\n\x07 \udcff javascript:alert(1).jpg'


def record(file, labels, **more):
    listed = [{'label': name, 'probability': p, 'instance': None, 'box': None} for name, p in labels.items()]
    return {'file': file, 'width': 400, 'height': 300, 'orientation': 1, 'labels': listed, 'instances': []} | more


def index(folder, records, about=ABOUT):
    """The page of some records that are drawn, as text, and what its script reads."""
    for one in records:
        if 'error' not in one:
            folder.mkdir(exist_ok=True)
            drawing_path(folder, one['file']).touch()
    page = write_index(folder, records, about).read_text()
    return page, json.loads(re.search(r'id="data-photographs">(.*?)</script>', page)[1])


def test_what_is_said_of_each(tmp_path):
    """Labels from the threshold on count, in older records (b) as in new ones (a); those above half of it nearly do."""
    thresholds = {'owl': 0.2, 'cat': None}
    new = record('p/a.jpg', {'owl': 0.21}, orientation=6, probabilities={'cat': 0.24, 'dog': 0.2512, 'owl': 0.21})
    old = record('p/b.jpg', {'dog': 0.9, 'cat': 0.5, 'owl': 0.05})
    none = record('p/sub/c.jpg', {}, width=4000, probabilities={'cat': 0.01, 'dog': 0.02, 'owl': 0.01})
    broken = [{'file': f'p/{i}.jpg', 'error': f'why {i}'} for i in range(2)]
    page, found = index(tmp_path / 'drawn', [new, broken[0], old, none, broken[1]], ABOUT | {'thresholds': thresholds})
    assert found['labels'] == ABOUT['class_names'] and found['limits'] == [1.0, 0.5, 0.2]
    assert [row[3:] for row in found['rows']] == [
        [300, 400, 1, [2, 210000, 1, 251200]],  # Turned upright.
        [400, 300, 1, [1, 900000, 0, 500000]],  # The cat never counts.
        [1024, 77, 0, [1, 20000]],  # The most probable one, if it is far from its threshold, too.
    ]
    assert [row[0] for row in found['rows']] == ['a.jpg', 'b.jpg', 'sub/c.jpg'] and 'found in p.' in page
    told = ' '.join(''.join(Reader(page).words).split())
    assert '3 photographs' in told and 'all (3) dog (1) owl (1) no label (1)' in told
    assert '2 more could not be read' in told and 'p/0.jpgwhy 0 p/1.jpgwhy 1' in told
    drawing_path(tmp_path / 'drawn', 'p/a.jpg').unlink()
    write_index(tmp_path / 'drawn', [new, old], ABOUT)
    assert '1 photograph<' in (tmp_path / 'drawn' / 'index.html').read_text()  # What is drawn, no more.


def test_a_hostile_name_is_shown_and_leads_to_its_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    records = [record(HOSTILE, {'cat': 0.9}), record('b.jpg', {}), {'file': HOSTILE, 'error': HOSTILE}]
    page, found = index(tmp_path / 'drawn', records)
    read = Reader(page)
    assert not [name for name, attributes in read.elements if 'onerror' in attributes or name == 'img']
    name, photograph, drawing, *_ = found['rows'][0]
    assert name == HOSTILE.replace('\n', '\\n').replace('\x07', '\\x07').replace('\udcff', '\\udcff')
    assert ''.join(read.words).count('</script><img src=x onerror=alert(1)>') == 2  # In the list of what was not read.
    for address in (photograph, drawing):
        assert re.fullmatch(r'[\w./~%-]+', address, re.ASCII)
    assert unquote_to_bytes(photograph) == b'../' + os.fsencode(HOSTILE)
    assert (tmp_path / 'drawn' / os.fsdecode(unquote_to_bytes(drawing))).is_file()
    policy = "default-src 'none'; img-src data: 'self' file:; style-src 'unsafe-inline'; script-src 'sha256-"
    assert policy in page.replace('&#39;', "'")


def test_nothing_drawn_is_a_page_too(tmp_path):
    page, found = index(tmp_path / 'drawn', [{'file': 'a', 'error': 'why'}])
    assert found['rows'] == [] and '0 photographs' in page
