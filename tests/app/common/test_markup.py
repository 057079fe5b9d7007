import pytest
from markupsafe import Markup

from mlsgm_pyg.app.common.markup import join, number, tag


def test_what_is_not_markup_is_escaped():
    assert tag('td', '<b>', class_='a"b', data_v=1, hidden=True, title=None, open=False) == (
        '<td class="a&#34;b" data-v="1" hidden>&lt;b&gt;</td>'
    )
    assert isinstance(tag('p', 'x'), Markup) and isinstance(join(['a', tag('b')]), Markup)
    assert tag('p', 'a', Markup('<b>x</b>'), 1) == '<p>a<b>x</b>1</p>'
    assert join(['<', None, tag('br')]) == '&lt;<br>'


@pytest.mark.parametrize(
    ('value', 'digits', 'shown'),
    [(None, 1, '–'), (float('nan'), 1, '–'), (1234.56, 1, '1,234.6'), (-0.5, 2, '−0.50'), (12000, None, '12,000')],
)
def test_number(value, digits, shown):
    assert number(value, digits) == shown
