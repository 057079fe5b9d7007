"""Every benchmark runs; what it measures with measures what it says, and its contestants are what they are called."""

import importlib
import subprocess
import sys
from argparse import Namespace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import aggregation, common, complexity, growth, head, loader, metrics, page, peers, startup
from benchmarks import all as everything
from benchmarks.common import agree, held_bytes, make_instances, make_model, match, peak_memory
from benchmarks.complexity import count, graph_macs
from benchmarks.plain import plain_match
from mlsgm_pyg.app.common import cost
from mlsgm_pyg.models import Output
from tests.models.test_ml_sgm import make, make_feature

CPU = torch.device('cpu')
SLOW = ('engines', 'startup')  # A compiler, and whole processes.


@pytest.mark.parametrize(
    'name', [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in everything.SECTIONS]
)
def test_each_prints_its_tables(name, capsys):
    script = importlib.import_module(f'benchmarks.{name}')
    threads = torch.get_num_threads()
    more = {'options': script.options} if hasattr(script, 'options') else {}
    assert common.main(name, script.__doc__, script.measure, ['--quick', '--device', 'cpu'], **more) == 0
    assert torch.get_num_threads() == threads
    out = capsys.readouterr().out
    assert out.startswith('**') and '|---|' in out and f'`python -m benchmarks.{name} --quick --device cpu`' in out
    assert f'torch {torch.__version__.split("+")[0]}' in out and '1 thread;' in out
    assert 'nan' not in out.lower() and 'floor' not in out.lower()


@pytest.mark.parametrize('words', [['--quick', '--write'], ['--device', 'cuda']])
def test_refused(words, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(SystemExit):
        common.main('x', 'X?', lambda args: [], words)
    assert 'nothing that is worth writing' in (err := capsys.readouterr().err) or 'there is no GPU here' in err


@pytest.mark.slow
def test_they_need_no_more_than_they_import():
    """The experiments' packages are not all there where a GPU is."""
    code = "import sys; sys.modules['omegaconf'] = None; import benchmarks.head"
    subprocess.run([sys.executable, '-W', 'ignore', '-c', code], cwd=page.FOLDER.parent, check=True)


def test_a_case_begins_only_where_the_longest_one_would_fit(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(common.time, 'perf_counter', lambda: now[0])
    minutes, done = common.Minutes(1), []
    for case in minutes.cases([20, 30, (15, 'knn'), 5]):
        done.append(case)
        now[0] += case
    assert done == [20, 30] and minutes.left_out == ['15 knn', '5']


def test_peak_memory_is_what_was_held_at_once():
    kept = torch.ones(2**20)

    def act():
        one = kept + 1  # 4 MiB
        two = one + one  # 8 MiB at once
        del one
        return two.sum(), kept * 2

    assert 8 * 2**20 <= peak_memory(act, CPU) < 8.1 * 2**20
    assert peak_memory(lambda: kept[:10], CPU) == 0


def test_contestants_that_differ_are_refused():
    one = {'scores': torch.tensor([3.0, 4.0]), 'none': torch.zeros(2)}
    agree({'plain': one, 'fast': {**one, 'scores': torch.tensor([3.0, 4.004])}}, 1e-3)
    told = r"'scores' of 'fast' must be that of 'plain' up to 0\.001 of its norm \(got 0\.002\)"
    with pytest.raises(AssertionError, match=told):
        agree({'plain': one, 'fast': {**one, 'scores': torch.tensor([3.0, 4.01])}}, 1e-3)
    with pytest.raises(AssertionError, match=r"'none' of 'fast'.*\(got nan\)"):
        agree({'plain': one, 'fast': {**one, 'none': torch.tensor([torch.nan, 0])}}, 1e-3)


def test_what_is_timed_is_what_is_compared(monkeypatch):
    """Every call that the head's table times was compared before, on the same batch; 'kept' is what labels keep."""
    compared, timed = [], []
    monkeypatch.setattr(head, 'agree', lambda results, tolerance: compared.append(set(results)))
    monkeypatch.setattr(
        head, 'seconds', lambda calls, *_: timed.append(set(calls)) or {name: cost.Time(1, 1, 1) for name in calls}
    )
    case = head.Contestants(make_model(4, CPU, 8, **head.SMALL), 3)
    rows = head.rows(case, [], Namespace(device=CPU))
    assert compared == timed == [
        {'plain', 'fast', 'fast, labels fixed'}, {'plain', 'fast', 'fast, checkpointed'},
    ]  # fmt: skip
    with torch.no_grad():
        values = case.plain.ilms.label_values(True)
    kept = {row[0]: row[7] for row in rows}
    assert kept['forward, labels fixed'] == held_bytes(values) / 2**20 > 0 == kept['forward'] == kept['training']


def test_rows_of_messages_are_uneven():
    near, segments, labels = aggregation.cases('', 4, 16)
    for case, even in ((near, False), (segments, False), (labels, True)):
        count = torch.bincount(case.index, minlength=case.num_targets)
        assert (count.unique().numel() == 1) == even
        for order in ('sorted', 'shuffled'):
            turned = case.on(CPU, order)
            src = torch.randn(turned.index.numel(), 2, requires_grad=True)
            for mean in aggregation.contestants(turned).values():
                if not isinstance(mean, str):
                    aggregation.prove(mean, src, torch.randn(case.num_targets, 2), turned)


@pytest.mark.parametrize('options', [{}, {'label_graph': 'knn', 'label_k': 2}, {'prune_last': False}])
def test_plain_is_the_same_function(options):
    model = make(**options)
    graph = model.graphs(make_feature())
    results = []
    for form in (plain_match, match):
        scores = form(model, graph)
        grads = torch.autograd.grad(scores.sin().sum(), model.ilms.blocks.parameters(), allow_unused=True)
        results.append([scores, *(grad for grad in grads if grad is not None)])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_plain_makes_no_use_of_identities():
    """It multiplies by whole weights: as many multiply-adds as the concatenations ask for."""
    model, images, n, c = make(num_labels=5, words=7, k=1), 2, 3, 5
    graph = model.ilms.assign.batch(make_instances(model, images, n))
    found = count(model, lambda: plain_match(model, graph))
    related, matches, near = images * c * (c - 1), images * n * c, images * n
    edges = near * 8 + related * 14 + matches * (12 + 7)
    nodes = images * n * 12 + images * c * 7
    second = (near + related + matches + images * (n + c)) * 16 * 8
    assert found['encoder'] == (edges + nodes) * 16 + second


def test_counted_as_torch_counts():
    model, feature = make(), make_feature()
    with FlopCounterMode(display=False) as flops, torch.no_grad():
        model.head(feature)
    assert 2 * sum(count(model, lambda: model.head(feature)).values()) == flops.get_total_flops()


@pytest.mark.parametrize(
    ('labels', 'label_graph', 'gmac'), [(20, 'complete', 0.60), (80, 'complete', 6.1), (80, 'knn', 1.83)]
)
def test_multiply_adds_of_the_graph_are_the_designs(labels, label_graph, gmac):
    model = make_model(labels, CPU, label_graph=label_graph)
    assert graph_macs(model) / 1e9 == pytest.approx(gmac, rel=0.02)


def test_a_peer_that_is_not_what_it_was_is_refused():
    model = torch.nn.Conv2d(3, 4, 1)
    model.forward = lambda image: Output(image.mean((2, 3)) + len(image))  # An image's scores depend on the others.
    image = torch.rand(2, 3, 4, 4)
    with pytest.raises(AssertionError, match='ADD-GCN: Tensor-likes are not close'):
        peers.check('ADD-GCN', model, image, model(image).logits)
    model.forward = lambda image: Output(image.mean((2, 3)))
    peers.check('ADD-GCN', model, image, model(image).logits)
    with pytest.raises(AssertionError, match='ML-GCN: Tensor-likes are not close'):
        peers.check('ML-GCN', model, image, model(image).logits + 1)


@pytest.mark.slow
def test_peers_count_what_the_paper_has():
    args = Namespace(backbone='resnet18', device=CPU, label_graph='complete', image_size=64, quick=True, rounds=1)
    found = {row[1]: dict(zip(peers.COLUMNS[2:], row[2:])) for row in peers.rows(args, 4, 2)}
    assert set(found) == {'MLP', *peers.FPS}
    body, head = 11_176_512, 512 * 4 + 4  # ResNet-18 without its classifier.
    assert found['pooled linear']['parameters (M)'] == pytest.approx((body + head) / 1e6)
    ml_gcn = found['ML-GCN']
    assert ml_gcn['parameters (M)'] == pytest.approx((body + 300 * 1024 + 1024 * 512) / 1e6)
    layers = 4 * (300 * 1024 + 4 * 1024 + 1024 * 512 + 4 * 512)  # Once a batch: two products a layer.
    assert ml_gcn['once a batch'] == pytest.approx(layers / 1e9)
    assert found['ML-SGM']['once a batch'] > 0 and found['ADD-GCN']['once a batch'] == 0
    assert found['pooled linear']['of pooled linear'] == 1
    assert all(row['images/s'] > 0 for row in found.values())


def test_the_power_of_a_power():
    assert growth.power([1, 2, 4, 8], [3, 12, 48, 192]) == pytest.approx(2)


def test_the_reference_of_the_metrics_by_hand():
    logits = [[2.0, -1.0, 1.0, 0.5], [-1.0, 1.0, -2.0, -3.0]]
    y = [[1, 0, 0, 1], [0, 1, 1, 0]]
    found = metrics.reference(*(torch.tensor(value).numpy() for value in (logits, y)))
    assert found['mAP'] == 100 * (1 + 1 + 0.5 + 1) / 4
    assert found['CP'] == 75 and found['CR'] == 75 and found['OP'] == 75 and found['OR'] == 75
    assert found['top3_OP'] == 75


def test_what_is_loaded():
    assert startup.loaded('import json') == []
    code = "import sys, types; sys.modules['timm'] = types.ModuleType('timm')"
    assert startup.loaded(code) == ['timm']


def test_photos_of_a_photographs_size(tmp_path):
    loader.write_photos(tmp_path, 2, (640, 480))
    sizes = [path.stat().st_size for path in (tmp_path / 'images').iterdir()]
    assert len(sizes) == 2 and all(50_000 < size < 300_000 for size in sizes)


def test_help_is_the_question(capsys):
    with pytest.raises(SystemExit):
        common.main('complexity', complexity.__doc__, complexity.measure, ['--help'], complexity.options)
    out = capsys.readouterr().out
    assert 'What does each module cost' in out and '--label-graph' in out and '--quick' in out
