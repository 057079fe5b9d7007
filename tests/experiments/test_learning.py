"""When a graph passes the reference, and the picture of it."""

from experiments import learning
from tests.app.finished_runs import finish


def test_when_a_run_passes_the_reference(tmp_path, capsys):
    table = {
        'photos_baseline': [(60, None, 2), (68, None, 2), (69, None, 2)],
        'photos': [(70, 50, 5), (71, 69.5, 6), (72, 70, 7)],
        'photos_mlp': [(50, None, 3), (60, None, 3), (68.9, None, 3)],
    }
    folders = {}
    for name, rows in table.items():
        history = [{'epoch': i, 'mAP': m, 'graph_mAP': g, 'seconds': s} for i, (m, g, s) in enumerate(rows)]
        folders[name] = finish(tmp_path, 'coco18_baseline', f'name={name}', history=history)
    words = [str(folders[name]) for name in ('photos_baseline', 'photos', 'photos_mlp')]
    assert learning.main([*words, '--out', str(tmp_path / 'learning.png')]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == 'photos_baseline: 69.00 mAP after 3 epochs, 6 s'
    assert lines[1] == 'photos: passed after 2 epochs, 11 s; 70.00 at the end'  # Its graph, not its reported score.
    assert lines[2] == 'photos_mlp: not passed; 68.90 at the end'
    assert (tmp_path / 'learning.png').stat().st_size > 10_000
    assert learning.main([words[0], str(tmp_path)]) == 2
    assert 'is not the directory of a run: it has no result.json' in capsys.readouterr().err
    bare = finish(tmp_path, 'coco18', history=[])
    assert learning.main([words[0], str(bare)]) == 2
    assert capsys.readouterr().err == f"error: '{bare}' has no history of its epochs\n"
    assert learning.main([*words[:1], *words * 3]) == 2
    assert 'at most 6 runs beside the reference (got 9)' in capsys.readouterr().err
