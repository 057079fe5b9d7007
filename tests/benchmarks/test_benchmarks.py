"""Every benchmark runs; what it measures with measures what it says, and its contestants are what they are called."""

import importlib
import json
from argparse import Namespace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import common, complexity, growth, loader, metrics, peers, startup
from benchmarks.common import Table, make_instances, make_model, peak_memory
from benchmarks.complexity import count, floor
from benchmarks.plain import plain_match
from experiments.cost import seconds
from mlsgm_pyg.models import Output
from tests.models.test_ml_sgm import make, make_feature

NAMES = [
    'aggregation',
    'complexity',
    'graph_building',
    'growth',
    'head',
    'loader',
    'metrics',
    'peers',
    'predict',
    'startup',
    'throughput',
]
CPU = torch.device('cpu')


@pytest.mark.parametrize('name', [name for name in NAMES if name != 'startup'])
def test_each_prints_its_tables(name, capsys):
    script = importlib.import_module(f'benchmarks.{name}')
    threads = torch.get_num_threads()
    more = {'options': script.options} if hasattr(script, 'options') else {}
    assert common.main(name, script.__doc__, script.measure, ['--quick', '--device', 'cpu'], **more) == 0
    assert torch.get_num_threads() == threads
    out = capsys.readouterr().out
    assert out.startswith('**') and '|---|' in out and f'`python -m benchmarks.{name} --quick --device cpu`' in out
    assert f'torch {torch.__version__.split("+")[0]}' in out and 'Not measured on a GPU.' in out
    assert 'nan' not in out.lower()


def test_every_script_has_its_place_on_the_page():
    page = common.README.read_text()
    scripts = {path.stem for path in common.README.parent.glob('*.py')} - {'__init__', 'common', 'plain'}
    assert scripts == set(NAMES)
    for name in NAMES:
        for kind in ('cpu', 'cuda'):
            assert page.count(f'<!-- {name} {kind} -->') == page.count(f'<!-- end of {name} {kind} -->') == 1
        assert f'python -m benchmarks.{name}' in page


def test_tables_are_written_between_their_marks(tmp_path, monkeypatch):
    page = tmp_path / 'README.md'
    page.write_text('a\n<!-- x cpu -->\nold\n<!-- end of x cpu -->\nb\n')
    monkeypatch.setattr(common, 'README', page)
    monkeypatch.setattr(common, 'RESULTS', tmp_path / 'results')
    table = Table('T', ('p', 'q'), [['r', 1234], [None, 0.123456], ['s', 12.345]], ['Note.'])
    measured = []
    assert common.main('x', 'X?', lambda args: measured.append(args) or [table], ['--write', '--device', 'cpu']) == 0
    text = page.read_text()
    assert text.startswith(
        'a\n<!-- x cpu -->\n**T**\n\n| p | q |\n|---|---|\n| r | 1,234 |\n| - | 0.12 |\n| s | 12.3 |'
    )
    assert text.endswith('\n<!-- end of x cpu -->\nb\n') and 'old' not in text
    assert '\n\nNote.\n' in text and '`python -m benchmarks.x --device cpu`' in text
    found = json.loads((tmp_path / 'results' / 'x-cpu.json').read_text())
    assert found['tables'][0]['rows'] == table.rows and found['command'] == 'python -m benchmarks.x --device cpu'
    page.write_text('')
    with pytest.raises(ValueError, match=r"must have the lines '<!-- x cpu -->' and '<!-- end of x cpu -->'"):
        common.write('x', 'cpu', 'text', [], 'command')


@pytest.mark.parametrize('words', [['--quick', '--write'], ['--device', 'cuda']])
def test_refused(words, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(SystemExit):
        common.main('x', 'X?', lambda args: [], words)
    assert 'nothing that is worth writing' in (err := capsys.readouterr().err) or 'there is no GPU here' in err


def test_peak_memory_is_what_was_held_at_once():
    kept = torch.ones(2**20)

    def act():
        one = kept + 1  # 4 MiB
        two = one + one  # 8 MiB at once
        del one
        return two.sum(), kept * 2

    assert 8 * 2**20 <= peak_memory(act, CPU) < 8.1 * 2**20
    assert peak_memory(lambda: kept[:10], CPU) == 0


def test_seconds_takes_turns():
    calls = []
    found = seconds({'a': lambda: calls.append('a'), 'b': lambda: calls.append('b')}, quick=True)
    assert set(found) == {'a', 'b'} and all(0 < value < 0.1 for value in found.values())
    assert 'b' in calls and calls[0] == 'a' and calls[-1] == 'b'


@pytest.mark.parametrize('options', [{}, {'label_graph': 'knn', 'label_k': 2}, {'prune_last': False}])
def test_plain_is_the_same_function(options):
    model = make(**options)
    graph = model.graphs(make_feature())
    results = []
    for form in (plain_match, lambda model, graph: model.match(graph).logits):
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
def test_the_floor_is_the_designs(labels, label_graph, gmac):
    model = make_model(labels, CPU, label_graph=label_graph)
    assert floor(model) / 1e9 == pytest.approx(gmac, rel=0.02)


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
    assert set(found) == {'max + average', *peers.FPS}
    body, head = 11_176_512, 512 * 4 + 4  # ResNet-18 without its classifier.
    assert found['pooled linear']['parameters (M)'] == pytest.approx((body + head) / 1e6)
    ml_gcn = found['ML-GCN']
    assert ml_gcn['parameters (M)'] == pytest.approx((body + 300 * 1024 + 1024 * 512) / 1e6)
    layers = 4 * (300 * 1024 + 4 * 1024 + 1024 * 512 + 4 * 512)  # Once a batch: two products a layer.
    assert ml_gcn['once a batch'] == pytest.approx(layers / 1e9)
    assert found['ML-SGM']['once a batch'] > 0 and found['SSGRL']['once a batch'] == 0
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
