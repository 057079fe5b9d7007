"""The rows of the paper that a run stands for."""

from experiments.paper.match import paper_rows
from mlsgm_pyg.app.results.run import Run


def test_the_papers_row_is_that_of_data_task_and_pixels(copy):
    def voc(**more):
        options = {'row': 'voc2007', 'data__name': 'voc2007', 'data__image_size': 448, 'data__test_sizes': []}
        return {f'config__{key}': value for key, value in (options | more).items()}

    assert paper_rows(Run.read(copy('digits'))) == []
    rows = paper_rows(Run.read(copy('full', **voc())))
    assert [(row['table'], row['method']) for row in rows][:1] == [('Table II', 'Ours')]
    assert rows[0]['values']['mAP'] == 95.2 and rows[0]['values']['AP.aeroplane'] == 99.9
    assert 'AP.tvmonitor' in rows[0]['values'] and len(rows[0]['values']) == 21
    assert paper_rows(Run.read(copy('small', **voc(data__image_size=224)))) == []
    partial = voc(task__name='partial', task__known=0.3)
    rows = paper_rows(Run.read(copy('partial', **partial)))
    assert [(row['table'], row['values']) for row in rows] == [('Table V', {'mAP': 91.3})]
    assert paper_rows(Run.read(copy('between', **voc(task__name='partial', task__known=0.35)))) == []
