"""When a graph passes the reference, and the picture of it."""

from experiments import learning
from tests.experiments.finished_runs import finish


def test_when_a_run_passes_the_reference(tmp_path, capsys):
    table = {
        'photos_baseline': 'mAP,seconds\n60,2\n68,2\n69,2\n',
        'photos': 'mAP,graph_mAP,seconds\n70,50,5\n71,69.5,6\n72,70,7\n',
        'photos_mlp': 'mAP,seconds\n50,3\n60,3\n68.9,3\n',
    }
    folders = {}
    for name, text in table.items():
        folders[name] = finish(tmp_path, 'coco18_baseline', f'name={name}')
        (folders[name] / 'metrics.csv').write_text(text)
    words = [str(folders[name]) for name in ('photos_baseline', 'photos', 'photos_mlp')]
    assert learning.main([*words, '--out', str(tmp_path / 'learning.png')]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == 'photos_baseline: 69.00 mAP after 3 epochs, 6 s'
    assert lines[1] == 'photos: passed after 2 epochs, 11 s; 70.00 at the end'  # Its graph, not its reported score.
    assert lines[2] == 'photos_mlp: not passed; 68.90 at the end'
    assert (tmp_path / 'learning.png').stat().st_size > 10_000
    assert learning.main([words[0], str(tmp_path)]) == 2
    assert "is not a run's folder: it has no metrics.csv" in capsys.readouterr().err
    assert learning.main([*words[:1], *words * 3]) == 2
    assert 'at most 6 runs beside the reference (got 9)' in capsys.readouterr().err
