"""The tables of a few-shot and a zero-shot experiment, written by hand."""

from experiments.novel import shot_tables


def test_few_shot():
    draws = {'mAP': 30.0, 'std': 1.0, 'values': [29.0, 31.0], 'AP': {'bus': 40.0, 'dog': None}}
    linear = {'mAP': 20.0, 'std': 0.0, 'values': [20.0], 'AP': {'bus': 10.0, 'dog': 30.06}}
    gain = {'difference': 9.0, 'low': None, 'high': None, 'ahead': 1, 'draws': 1}
    summary = [
        {'shots': 1, 'methods': {'ml_sgm': draws, 'linear': linear}, 'gains': {'linear': gain}},
        {'shots': 5, 'methods': {'linear': linear}, 'gains': {}},
    ]
    out = {'name': 'few', 'evaluated_on': 'val', 'first': 'ml_sgm', 'summary': summary}
    out |= {'classes': {'novel': ['bus', 'dog']}}
    assert shot_tables.few_shot(out).csv() == (
        'examples,ml_sgm,linear,ml_sgm - linear [95 % interval]\n'
        '1,30.00 ± 1.00 (2),20.00 ± 0.00 (1),"+9.00, ahead in 1 of 1"\n'
        '5,,20.00 ± 0.00 (1),\n'
    )
    assert shot_tables.few_shot_classes(out).csv() == (
        'novel class,"ml_sgm, 1","linear, 1","linear, 5"\nbus,40.0,10.0,10.0\ndog,-,30.1,30.1\n'
    )


def test_zero_shot():
    def method(*values):
        return {part: {'values': list(values)} for part in ('unseen', 'seen', 'harmonic')} | {'AP': {'bus': 12.34}}

    out = {'name': 'zero', 'evaluated_on': 'val', 'images': 9, 'seeds': [0, 1]}
    out |= {'classes': {'seen': ['car', 'dog'], 'unseen': ['bus']}}
    out |= {'methods': {'ml_sgm': method(1.0, 2.0), 'nearest_label': method(3.0)}}
    out |= {'gains': {'ml_sgm': {'difference': -1.5, 'low': -2.0, 'high': 0.0}}}
    out |= {'without_gain': {'all_labels': 'there are none'}}
    out |= {'chance': {'unseen': 4.5, 'seen': 5.5, 'AP': {'bus': 4.5}}, 'nearest': {'bus': {'car': 0.75, 'dog': 0.25}}}
    table, classes = shot_tables.zero_shot(out), shot_tables.zero_shot_classes(out)
    assert '1 labels never trained beside 2 trained ones (val), mean ± deviation over seeds 0, 1' in table.title
    assert table.rows == [
        ['ML-SGM', *['1.50 ± 0.71'] * 3, '-1.50 [-2.00, +0.00]'],
        ['score of the nearest label', *['3.00'] * 3, ''],
        ['chance', '4.50', '5.50', '', ''],
    ]
    assert table.notes == ['trained on all labels: no gain, as there are none']
    assert classes.rows == [['ML-SGM', '12.3'], ['score of the nearest label', '12.3'], ['chance', '4.5']]
    assert classes.notes == ['bus: car 0.75, dog 0.25']
