import re

import pytest

from mlsgm_pyg.app.drawing import charts


def points(svg: str) -> list[list[tuple[float, float]]]:
    """The lines of a drawing that are not straight rules: their points in pixels."""
    paths = re.findall(r'<path d="M([^"]*)"[^>]*stroke="var\(--[abc]\)" stroke-width="2"', svg)
    return [[tuple(map(float, pair.split())) for pair in path.split('L')] for path in paths]


@pytest.mark.parametrize(
    ('low', 'high', 'whole', 'expected'),
    [
        (0, 1, False, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (33.3, 41.2, False, [34, 36, 38, 40]),
        (1, 2, True, [1, 2]),
        (1, 20, True, [5, 10, 15, 20]),
        (-0.5, 0.5, False, [-0.4, -0.2, 0, 0.2, 0.4]),
    ],
)
def test_ticks_are_round(low, high, whole, expected):
    assert charts.ticks(low, high, whole=whole) == expected


def test_a_frame_maps_its_corners():
    frame = charts.Frame((0, 10), (50, 100), size=(420, 260))
    assert frame.at(0, 50) == (44, 260 - 38)
    assert frame.at(10, 100) == (420 - 12, 26)
    assert frame.at(5, 75) == ((44 + 408) / 2, (222 + 26) / 2)


def test_lines_are_drawn_where_the_values_are():
    made = charts.lines('mAP', [charts.Line('one', [1, 2, 3], [10, 20, 15])], x=(1, 3), y=(10, 20))
    assert points(made) == [[(44.0, 222.0), (226.0, 26.0), (408.0, 124.0)]]
    assert 'legend' not in made


def test_a_missing_value_breaks_a_line_and_a_lone_one_is_a_dot():
    made = charts.lines('mAP', [charts.Line('one', [1, 2, 3, 4], [1, 2, None, 3])], x=(1, 4), y=(0, 4))
    assert [len(line) for line in points(made)] == [2, 1] and made.count('<circle') == 1
    one = charts.lines('mAP', [charts.Line('one', [1], [5]), charts.Line('two', [1], [float('nan')])])
    assert one.count('<circle') == 1 and 'two' in one
    assert 'nothing to draw' in charts.lines('mAP', [charts.Line('one', [1], [None])])


def test_five_lines_are_told_apart():  # Four scores and a baseline.
    made = charts.lines('mAP', [charts.Line(str(i), [1, 2], [i, i]) for i in range(5)])
    styles = re.findall(r'stroke="(var[^"]*)" stroke-width="2"(?: stroke-dasharray="([^"]*)")?', made)
    assert len(set(styles)) == 5 and styles[:5] == styles[5:]  # In the legend, too.


def test_reliability_draws_the_bins_that_have_labels():
    made = charts.reliability('title', [0.2, float('nan'), 0.9], [0.25, float('nan'), 0.75], [10, 0, 4])
    assert made.count('<rect') == 2 and made.count('<circle') == 2
    assert '10 labels: mean probability 0.200, 25.0 % there' in made
    frame = charts.Frame((0, 1), (0, 1), size=(420, 340))
    x, y = frame.at(0.9, 0.75)
    assert f'cx="{x:.1f}" cy="{y:.1f}"' in made


def test_heat_is_darker_where_the_rate_is_higher():
    made = charts.heat(
        'title', [[1, 0.25], [float('nan'), 1]], ['cat', 'a very long name indeed'], [['a', 'b'], ['<', 'd']]
    )
    opacity = re.findall(r'fill-opacity="([^"]*)"', made)
    assert opacity == ['0.35', '0.28', '0.35', '0.35']  # The diagonal and what has no rate are grey.
    assert '<title>&lt;</title>' in made and 'a very long nam…' in made


def test_a_chart_shows_where_differences_lie():
    clear, unclear = {'difference': 2.0, 'low': 1.0, 'high': 3.0}, {'difference': -0.5, 'low': -3.0, 'high': 2.0}
    chart = charts.forest([('a<b', clear), ('x' * 60, unclear), ('none', None)], 'mAP')
    at = [float(value) for value in re.findall(r'<b class="\w+" style="left:([\d.]+)%', chart)]
    zero = float(re.search(r'class="zero" style="left:([\d.]+)%', chart)[1])
    assert at[1] < zero < at[0] and (at[0] - zero) == pytest.approx(4 * (zero - at[1]), rel=0.01)
    assert 'a&lt;b' in chart and 'x' * 60 in chart and chart.count('<b') == 2 and 'aria-label="mAP"' in chart
    assert re.findall(r'<[bi] class="(?:range )?(good|bad|unclear)"', chart) == ['good', 'good', 'unclear', 'unclear']
    assert '<b' in charts.forest([('same', dict.fromkeys(clear, 0.0))], 'nothing')


def test_names_are_escaped():
    made = charts.lines('<b>', [charts.Line('<i>', [1], [1]), charts.Line('&', [1], [1])], ('<x>', '<y>'))
    assert not re.search('<[bixy]>', made) and '&lt;i&gt;' in made
