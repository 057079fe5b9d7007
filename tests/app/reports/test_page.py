import json
import re

import pytest

from mlsgm_pyg.app.common.markup import tag
from mlsgm_pyg.app.reports.page import ASSETS, Cell, Column, Facet, Item, Page, Table, template
from tests.reader import Reader

PARTS = template('parts')
HOSTILE = '</script><img src=x onerror=alert(1)>"\'&<b>'


def test_a_hostile_name_stays_a_name_wherever_it_comes():
    page = Page(HOSTILE, HOSTILE)
    image = page.image(b'jpeg', HOSTILE, 2, 1)
    item = Item(tag('figure', image, HOSTILE), HOSTILE, {'kind': ['a']}, {'loss': 1})
    page.tab(HOSTILE, PARTS.table(Table([Column(HOSTILE, about=HOSTILE), 'b'], [[HOSTILE, Cell(HOSTILE, 3)]], HOSTILE)))
    page.tab(
        'More', PARTS.gallery([item], [Facet('kind', HOSTILE, [('a', HOSTILE)])]), PARTS.facts([(HOSTILE, HOSTILE)])
    )
    page.data['names'] = [HOSTILE]
    read = Reader(page.render())
    assert [attributes.get('data-picture') is not None for attributes in read.all('img')] == [True]
    assert not [name for name, attributes in read.elements if name == 'b' or 'onerror' in attributes]
    assert read.all('img')[0]['alt'] == HOSTILE
    assert ''.join(read.words).count(HOSTILE) == 14  # All of them but the alternative text.
    stored = re.search(r'id="data-names">(.*?)</script>', page.render())[1]
    assert json.loads(stored) == [HOSTILE]


def test_pictures_are_kept_once_and_not_as_a_source():
    page = Page('Title')
    page.tab('One', page.image(b'\xff\xd8 one', 'one', 3, 2), page.image(b'\xff\xd8 one', 'again', 3, 2))
    page.tab('Two', page.image(b'\xff\xd8 two', 'two', 3, 2))
    read = Reader(page.render())
    keys = [attributes['data-picture'] for attributes in read.all('img')]
    stores = [attributes['id'] for attributes in read.all('script') if attributes.get('type') == 'text/plain']
    assert keys[0] == keys[1] != keys[2]
    assert stores == [f'picture-{keys[0]}', f'picture-{keys[2]}']
    assert not any('src' in attributes for attributes in read.all('img'))


def test_tabs_name_their_panels():
    page = Page('Title')
    page.tab('Average precision', 'a')
    page.tab('ⅷ!', 'b')
    read = Reader(page.render())
    buttons = [attributes for attributes in read.all('button') if attributes.get('role') == 'tab']
    panels = read.all('section')
    assert [button['aria-controls'] for button in buttons] == [panel['id'] for panel in panels]
    assert [panel['aria-labelledby'] for panel in panels] == [button['id'] for button in buttons]
    assert panels[0]['id'] == 'tab-0-average-precision'


def test_table_shows_and_sorts_by_values():
    rows = [['cat', 71.25, None], ['dog', -3.0, Cell('1 of 2', 0.5)]]
    made = PARTS.table(Table([Column('class'), Column('AP', 1), 'share'], rows))
    assert re.findall(r'<td[^>]*>([^<]*)</td>', made) == ['cat', '71.2', '–', 'dog', '−3.0', '1 of 2']
    assert re.findall(r'data-v="([^"]*)"', made) == ['71.25', '', '-3', '0.5']
    assert 'type="search"' not in made
    assert 'type="search"' in PARTS.table(Table(['a'], [[i] for i in range(9)]))
    with pytest.raises(ValueError, match='argument 2 is longer'):
        PARTS.table(Table(['a', 'b'], [['only one']]))


def test_page_may_load_nothing(tmp_path):
    page = Page('Title', 'about')
    page.tab('One', 'content')
    page.write(tmp_path / 'page.html')
    content = (tmp_path / 'page.html').read_text()
    assert "default-src 'none'" in content and '{{' not in content
    assert not re.search(r'(?:src|href)="(?!data:)', content) and 'http://' not in content and 'https://' not in content
    assert [path.name for path in tmp_path.iterdir()] == ['page.html']


def test_a_file_name_that_is_no_text_is_written(tmp_path):
    page = Page('Title')
    page.tab('One', 'name \udcff.jpg')
    page.write(tmp_path / 'page.html')
    assert 'name ?.jpg' in (tmp_path / 'page.html').read_text()


@pytest.mark.parametrize('path', sorted((ASSETS.parent / 'templates').iterdir()), ids=lambda path: path.name)
def test_no_template_trusts_a_value(path):
    assert not re.search(r'\|\s*safe|autoescape|\bon\w+=', path.read_text())
