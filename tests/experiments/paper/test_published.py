"""The paper's numbers: what can be recomputed is, and every disagreement has its note."""

import pytest

from experiments.paper import published
from mlsgm_pyg.app.common.errors import ConfigError

TABLES = published.load()


def rows(number, data=None):
    return [row for part in TABLES[number].sections if data in (None, part.data) for row in part.rows]


def one(number, method, column, data=None, last=False):
    found = [row.values[column] for row in rows(number, data) if row.method == method]
    return found[-1 if last else 0]


def recomputed(table, section, row):
    """Column -> (what the printed numbers give, the largest error that their rounding can make)."""
    values, out = row.values, {}
    if table.check == 'mean':
        *parts, total = section.columns
        if None not in values.values():
            out[total] = sum(values[part] for part in parts) / len(parts), 0.05
    elif table.check == 'harmonic':
        for kind in ('C', 'O', 'top3_C', 'top3_O'):
            p, r, f = (values[f'{kind}{end}'] for end in ('P', 'R', 'F1'))
            if None not in (p, r, f):
                exact, most = 2 / (1 / p + 1 / r), 2 / (1 / (p + 0.05) + 1 / (r + 0.05))
                out[f'{kind}F1'] = exact, most - exact
    elif table.check == 'parameters':
        above = section.rows[: section.rows.index(row) + 1]
        out['params'] = sum(module.counted for module in above) / 1e6, 0.0
    return out


@pytest.mark.parametrize('number', TABLES)
def test_what_rounding_cannot_explain_has_a_note(number):
    table = TABLES[number]
    half = 0.005 if table.check == 'parameters' else 0.05
    checked = 0
    for section in table.sections:
        for row in section.rows:
            found = recomputed(table, section, row)
            for column, (value, error) in found.items():
                checked += 1
                slip = row.slips.get(column)
                difference = abs(value - row.values[column])
                where = f'{table.title}, {section.title}, {row.method}, {column}: {row.values[column]}, not {value:.2f}'
                assert slip or difference <= half + error + 1e-9, where
                assert not slip or difference > half - 1e-9, f'{where}: there is nothing to note'
                assert not slip or slip['computed'] == pytest.approx(value, abs=0.00501), where
            assert all('computed' not in slip for column, slip in row.slips.items() if column not in found)
    assert checked > 0 or not table.check


def test_a_wrong_number_would_be_found():
    table = TABLES[3]
    section = table.sections[0]
    row = next(row for row in section.rows if row.method == 'C-Tran')
    value, error = recomputed(table, section, row)['top3_OF1']
    assert value == pytest.approx(80.44, abs=0.01) and abs(value - 77.6) > 0.05 + error


def test_shapes():
    assert {number: [len(part.rows) for part in table.sections] for number, table in TABLES.items()} == {
        2: [11],
        3: [15],
        4: [9],
        5: [8, 8, 8],
        6: [3, 3],
        7: [7, 7],
        8: [5],
        9: [7],
    }
    section = TABLES[2].sections[0]
    assert len(section.classes) == len(section.columns) - 1 == 20
    numbers = sum(value is not None for number in TABLES for row in rows(number) for value in row.values.values())
    assert numbers == 231 + 182 + 36 + 213 + 12 + 14 + 10 + 14  # Counted in the paper, Tables II to IX.


def test_one_number_in_two_tables():
    for method, column, first, second in (
        ('Ours', 'mAP', (3, 'Ours', 'coco'), (7, '7. BL + CSAC + Go + Gl + ILME', 'coco')),
        ('Ours', 'mAP', (2, 'Ours', 'voc2007'), (7, '7. BL + CSAC + Go + Gl + ILME', 'voc2007')),
        ('ResNet-101', 'mAP', (3, 'ResNet-101', 'coco'), (7, '1. BL', 'coco')),
        ('ResNet-101', 'mAP', (2, 'ResNet-101', 'voc2007'), (7, '1. BL', 'voc2007')),
        ('Ours', 'mAP', (3, 'Ours', 'coco'), (9, 'Our ML-SGM', 'coco')),
        ('w/o ILMS', 'mAP', (7, '6. BL + CSAC + Go + Gl', 'coco'), (9, 'Our w/o ILMS', 'coco')),
        ('ML-GCN', 'mAP', (3, 'ML-GCN', 'coco'), (9, 'ML-GCN', 'coco')),
        ('SSGRL', 'mAP', (3, 'SSGRL', 'coco'), (9, 'SSGRL', 'coco')),
    ):
        a, b = (one(number, name, column, data) for number, name, data in (first, second))
        assert a == b, method
    assert (one(3, 'ADD-GCN', 'mAP'), one(9, 'ADD-GCN', 'mAP')) == (85.2, 83.9)  # Noted at the second.
    assert 'Table III has 85.2' in next(row for row in rows(9) if row.method == 'ADD-GCN').slips['mAP']['note']


def test_differences_that_the_text_states():  # What the text says that its tables do not is among the remarks.
    assert one(7, '3. BL + CSAC + Go', 'mAP', 'coco') - one(7, '2. BL + CSAC', 'mAP', 'coco') == pytest.approx(1.2)
    assert one(5, 'Ours', '10', 'voc2007') - one(5, 'SST', '10', 'voc2007') == pytest.approx(4.8)
    assert one(5, 'Ours', '10', 'vg200') - one(5, 'KGGR', '10', 'vg200') == pytest.approx(7.6)
    assert one(5, 'Ours', 'average', 'vg200') - one(5, 'SARB', 'average', 'vg200') == pytest.approx(0.5)
    assert one(6, 'Ours', '5', 'vg500') - one(6, 'LaSO (ResNet-101)', '5', 'vg500') == pytest.approx(10.1)
    best = one(3, 'Ours', 'mAP', last=True)
    assert best - one(3, 'ResNet-101', 'mAP') == pytest.approx(9.0)
    assert one(3, 'SSGRL', 'CP') - one(3, 'Ours', 'CP', last=True) == pytest.approx(1.1)
    speed = [one(9, name, 'FPS') for name in ('ResNet101', 'Our ML-SGM')]
    assert round(100 * (1 - speed[1] / speed[0])) == 23 and round(100 * (speed[0] / speed[1] - 1)) == 30
    first = {c: max(row.values[c] for row in rows(2)) for c in TABLES[2].sections[0].columns[:-1]}
    assert sum(one(2, 'Ours', c) == value for c, value in first.items()) == 15


def test_parameters_are_those_of_the_model():
    assert sum(row.counted for row in rows(8)) == 57_650_261  # tests/models/test_ml_sgm.py counts the same.


def test_numbers_of_tables():
    assert [published.number_of(word) for word in ('2', 'IX', 'v')] == [2, 9, 5]
    with pytest.raises(ConfigError, match=r"the paper's tables of results are 2 to 9, or II to IX \(got '1'\)"):
        published.number_of('1')
