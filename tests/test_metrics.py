import json
import math

import numpy as np
import pytest
import torch
import torch.distributed as dist
from sklearn.metrics import average_precision_score
from torch.utils.data import DistributedSampler

from mlsgm_pyg.metrics import MultiLabelMetrics, average_precision, precision_recall, top3

SIX = ['CP', 'CR', 'CF1', 'OP', 'OR', 'OF1']


def sklearn_ap(scores, y):
    """Class by class, without its unknown labels; NaN without a positive."""
    out = []
    for s, t in zip(scores.T.double().numpy(), y.T.numpy(), strict=True):
        out.append(average_precision_score(t[t >= 0], s[t >= 0]) if (t == 1).any() else math.nan)
    return torch.tensor(out, dtype=torch.double)


def voc2007_ap(scores, y):
    """The 11 points of VOC 2007, threshold by threshold, in fractions of whole numbers."""
    out = []
    for s, t in zip(scores.T.tolist(), y.T.tolist(), strict=True):
        known = [(a, b) for a, b in zip(s, t, strict=True) if b >= 0]
        total = sum(b for _, b in known)
        steps = []
        for threshold in {a for a, _ in known}:
            kept = [b for a, b in known if a >= threshold]
            steps.append((sum(kept), sum(kept) / len(kept)))
        best = [max([p for hits, p in steps if 10 * hits >= k * total], default=0.0) for k in range(11)]
        out.append(sum(best) / 11 if total else math.nan)
    return torch.tensor(out, dtype=torch.double)


def slow_six(predicted, y):
    """The definition with loops over classes and images: per class where there is a positive, and overall."""
    per_class, right, guessed, positive = [], 0, 0, 0
    for c in range(y.size(1)):
        known = [(bool(p), t == 1) for p, t in zip(predicted[:, c].tolist(), y[:, c].tolist(), strict=True) if t >= 0]
        tp, pp, gt = (
            sum(p and t for p, t in known),
            sum(p for p, _ in known),
            sum(t for _, t in known),
        )
        right, guessed, positive = right + tp, guessed + pp, positive + gt
        if gt > 0:
            per_class.append((tp / pp if pp else 0.0, tp / gt))
    cp, cr = (sum(v) / len(per_class) for v in zip(*per_class, strict=True))
    op, or_ = right / guessed if guessed else 0.0, right / positive
    f1 = [2 * p * r / (p + r) if p + r else 0.0 for p, r in ((cp, cr), (op, or_))]
    return dict(zip(SIX, (100 * v for v in (cp, cr, f1[0], op, or_, f1[1])), strict=True))


def slow_top3(scores, y):
    out = torch.zeros_like(y, dtype=torch.bool)
    for i, (s, t) in enumerate(zip(scores.tolist(), y.tolist(), strict=True)):
        ranked = sorted((c for c in range(len(s)) if t[c] >= 0), key=lambda c: (-s[c], c))
        out[i, ranked[:3]] = True
    return out


CASES = {
    'random': lambda: (torch.randn(50, 7), torch.randint(0, 2, (50, 7))),
    'tied': lambda: (torch.randint(0, 4, (60, 7)).double(), torch.randint(0, 2, (60, 7))),
    'all_tied': lambda: (torch.zeros(30, 5), torch.randint(0, 2, (30, 5))),
    'few_positives': lambda: (torch.randint(0, 9, (200, 9)).float(), (torch.rand(200, 9) < 0.01).long()),
    'unknown': lambda: (torch.randint(0, 6, (80, 7)).float(), torch.randint(-1, 2, (80, 7), dtype=torch.int8)),
    'one_image': lambda: (torch.randn(1, 6), torch.tensor([[1, 0, -1, 1, 0, -1]])),
    'one_class': lambda: (torch.randn(40, 1), torch.randint(-1, 2, (40, 1))),
    'infinite': lambda: (
        torch.randn(40, 3).round().div(0.0).nan_to_num(0.0, math.inf, -math.inf),
        torch.randint(0, 2, (40, 3)),
    ),
}


@pytest.mark.parametrize('repeat', range(5))
@pytest.mark.parametrize('case', CASES)
def test_average_precision_is_scikit_learns(case, repeat):
    torch.manual_seed(repeat)
    scores, y = CASES[case]()
    out = average_precision(scores, y)
    assert out.dtype == torch.double
    if case == 'infinite':  # scikit-learn refuses infinities: ranks order the same way.
        scores = torch.from_numpy(np.unique(scores, return_inverse=True)[1]).view(scores.shape)
    torch.testing.assert_close(out, sklearn_ap(scores, y), rtol=0, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize('case', sorted(set(CASES) - {'infinite'}))
def test_interpolated_average_precision(case):
    scores, y = CASES[case]()
    out = average_precision(scores, y, ap='interpolated_11')
    torch.testing.assert_close(out, voc2007_ap(scores, y), rtol=0, atol=1e-12, equal_nan=True)


def test_average_precision_by_hand():
    # Class 0, ranked: 1 0 1 0. Precision 1, 1/2, 2/3, 2/4 at recall 1/2, 1/2, 1, 1.
    #   AP = 1/2 * 1 + 1/2 * 2/3 = 5/6; 11 points: recall 0 ... 0.5 (six) at 1, 0.6 ... 1 (five) at 2/3: 28/33.
    # Class 1: the same with the first two tied. Precision 1/2 at recall 1/2, then 2/3 at recall 1.
    #   AP = 1/2 * 1/2 + 1/2 * 2/3 = 7/12; 11 points: all at 2/3, the best precision from recall 1/2 on.
    # Class 2: the same as class 0, its first image unknown. Ranked 0 1 0: AP = 1 * 1/2; 11 points: 1/2.
    # Class 3: no positive.
    scores = torch.tensor([[4.0, 4.0, 4.0, 1.0], [3.0, 4.0, 3.0, 2.0], [2.0, 2.0, 2.0, 3.0], [1.0, 1.0, 1.0, 4.0]])
    y = torch.tensor([[1, 1, -1, 0], [0, 0, 0, 0], [1, 1, 1, -1], [0, 0, 0, 0]])
    ap = average_precision(scores, y).tolist()
    assert ap[:3] == pytest.approx([5 / 6, 7 / 12, 1 / 2], abs=1e-15) and math.isnan(ap[3])
    ap = average_precision(scores, y, 'interpolated_11').tolist()
    assert ap[:3] == pytest.approx([28 / 33, 2 / 3, 1 / 2], abs=1e-15) and math.isnan(ap[3])


def test_interpolated_recall_is_exact():
    # Three of ten positives reach recall 0.3 exactly, which is below 0.1 * 3 in floating point: ranked 1 1 1, then 97
    # absent, then 7 present. Four points (0, 0.1, 0.2, 0.3) at precision 1; the rest at 10/107, the last and best.
    y = torch.tensor([1] * 3 + [0] * 97 + [1] * 7).view(-1, 1)
    scores = -torch.arange(107.0).view(-1, 1)
    assert average_precision(scores, y, 'interpolated_11').item() == pytest.approx((4 + 7 * 10 / 107) / 11, abs=1e-15)


@pytest.mark.parametrize('ap', ['non_interpolated', 'interpolated_11'])
def test_average_precision_laws(ap):
    scores, y = CASES['unknown']()
    out = average_precision(scores, y, ap)
    order = torch.randperm(80)
    assert torch.equal(average_precision(scores[order], y[order], ap), out)  # No order among equal scores.
    assert torch.equal(average_precision(scores.flip(1), y.flip(1), ap), out.flip(0))
    assert torch.equal(average_precision(scores.double().exp(), y, ap), out)  # Only the ranking counts.
    scores[y < 0] = torch.randn(80, 7)[y < 0] * 100
    assert torch.equal(average_precision(scores, y, ap), out)  # The score of an unknown label changes nothing.
    assert average_precision(torch.empty(0, 3), torch.empty(0, 3), ap).isnan().tolist() == [True] * 3


def test_average_precision_errors():
    with pytest.raises(ValueError, match=r"'scores' and 'y' must both have shape \[n, C\] \(got \[3, 2\] and \[3\]\)"):
        average_precision(torch.zeros(3, 2), torch.zeros(3))
    with pytest.raises(ValueError, match="'ap' must be one of non_interpolated, interpolated_11 .got 'voc'"):
        average_precision(torch.zeros(3, 2), torch.zeros(3, 2), 'voc')


def test_precision_recall_by_hand():
    # predicted, right, positive of each class, among known labels:
    #   class 0: 2, 1, 2    class 1: 0, 0, 1    class 2: 1, 1, 1    class 3 (no positive): 1, 0, 0
    # CP = (1/2 + 0 + 1) / 3 = 1/2, CR = (1/2 + 0 + 1) / 3 = 1/2, CF1 = 1/2 (class 3 is left out);
    # OP = 2/4, OR = 2/4, OF1 = 1/2 (class 3's prediction is a false positive).
    predicted = torch.tensor([[1, 0, 1, 1], [1, 0, 1, 0], [0, 0, 0, 0]]).bool()
    y = torch.tensor([[1, 0, 1, 0], [0, 1, -1, 0], [1, -1, 0, -1]])
    assert precision_recall(predicted, y) == pytest.approx(dict.fromkeys(SIX, 50.0), abs=1e-12)
    # Nothing predicted: all 0. No positive at all: nothing can be said.
    assert precision_recall(torch.zeros_like(predicted), y) == dict.fromkeys(SIX, 0.0)
    assert all(math.isnan(value) for value in precision_recall(predicted, torch.zeros_like(y)).values())


def test_precision_recall_f1_is_of_the_means():
    # Class 0: precision 1, recall 1/4. Class 1: precision 1/2, recall 1. CP = 3/4, CR = 5/8,
    # CF1 = 2 * 3/4 * 5/8 / (11/8) = 15/22 (the mean of the classes' own F1 would be 8/15).
    predicted = torch.tensor([[1, 1], [0, 1], [0, 0], [0, 0]]).bool()
    y = torch.tensor([[1, 1], [1, 0], [1, 0], [1, 0]])
    out = precision_recall(predicted, y)
    assert out['CP'] == pytest.approx(75) and out['CR'] == pytest.approx(62.5)
    assert out['CF1'] == pytest.approx(1500 / 22)
    # Overall: 2 right of 3 predicted and 5 present: 2 * 2/3 * 2/5 / (16/15) = 1/2.
    assert out['OF1'] == pytest.approx(50)


def test_where_the_meter_of_ml_gcn_differs():
    """Its figures, from their definition, beside ours."""

    def meter(predicted, y):
        right, guessed = (predicted & (y == 1)).sum(0), predicted.sum(0).clamp(min=1)
        share, shown = right / guessed, right / (y == 1).sum(0)
        return [100 * value.item() for value in (share.mean(), shown.mean(), right.sum() / guessed.sum())]

    def ours(predicted, y):
        return [precision_recall(predicted, y)[key] for key in ('CP', 'CR', 'OP')]

    y = torch.tensor([[1, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]])
    predicted = torch.tensor([[1, 0, 0], [1, 1, 1], [0, 1, 1], [1, 0, 0]]).bool()
    assert ours(predicted, y) == pytest.approx(meter(predicted, y))
    never = predicted & torch.tensor([True, True, False])
    assert ours(never, y)[2] == pytest.approx(80) and meter(never, y)[2] == pytest.approx(100 * 4 / 6)
    unknown = torch.where(torch.tensor([[False], [True], [False], [False]]), -1, y)
    assert ours(predicted, unknown)[0] == pytest.approx(100 * 2 / 3)
    assert meter(predicted, unknown)[0] == pytest.approx(100 * (2 / 3 + 1 / 2) / 3)
    absent = y * torch.tensor([1, 1, 0])
    assert (
        ours(predicted, absent)[1] == pytest.approx(100 * 5 / 6)
        and meter(predicted, absent)[1] != ours(predicted, absent)[1]
    )


def test_top3_takes_exactly_three_by_class_index():
    scores = torch.tensor(
        [[1.0, 2, 2, 2, 2], [0, 0, 0, 0, 0], [5, 1, 4, 2, 3], [-math.inf, 0, -math.inf, 0, -math.inf]]
    )
    y = torch.tensor([[0, 1, 0, 1, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]])
    expected = [[0, 1, 1, 1, 0], [1, 1, 1, 0, 0], [1, 0, 1, 0, 1], [1, 1, 0, 1, 0]]
    assert top3(scores, y).int().tolist() == expected
    # Unknown labels leave their place to the next one; with two known, there are two.
    y = torch.tensor([[0, -1, 0, 1, 0], [-1, -1, -1, 1, 0], [-1, 0, 0, 0, 0], [-1, -1, -1, -1, -1]])
    expected = [[0, 0, 1, 1, 1], [0, 0, 0, 1, 1], [0, 0, 1, 1, 1], [0, 0, 0, 0, 0]]
    assert top3(scores, y).int().tolist() == expected
    assert top3(torch.zeros(4, 2), torch.zeros(4, 2)).all()  # Fewer than three classes.
    assert top3(torch.zeros(0, 5), torch.zeros(0, 5)).shape == (0, 5)


@pytest.mark.parametrize('num_labels', [1, 2, 3, 8])
def test_all_figures_are_those_of_the_slow_loops(num_labels):
    torch.manual_seed(num_labels)
    names = [f'class {c}' for c in range(num_labels)]
    logits = torch.randint(-3, 4, (40, num_labels)) / 2  # Many ties, many at probability 1/2 exactly.
    y = torch.randint(-1, 2, (40, num_labels), dtype=torch.int8)
    y[:, -1] = y[:, -1].clamp(max=0) if num_labels > 1 else y[:, -1]
    for choice in ('threshold', 'plain'):
        metrics = MultiLabelMetrics(names, top3=choice)
        for part in torch.arange(40).split(7):
            metrics.update(logits[part], y[part], part)
        out = metrics.compute()
        predicted = logits.sigmoid() >= 0.5
        among = slow_top3(logits, y) & (predicted if choice == 'threshold' else True)
        assert {name: out[name] for name in SIX} == pytest.approx(slow_six(predicted, y), abs=1e-10)
        expected = {f'top3_{name}': value for name, value in slow_six(among, y).items()}
        assert {name: out[name] for name in expected} == pytest.approx(expected, abs=1e-10)
        ap = sklearn_ap(logits, y)
        assert list(out['AP']) == names
        assert list(out['AP'].values()) == pytest.approx((100 * ap).tolist(), abs=1e-10, nan_ok=True)
        assert out['mAP'] == pytest.approx(100 * ap.nanmean().item(), abs=1e-10)
        assert out['left_out'] == (names[-1:] if num_labels > 1 else [])


def toy():
    logits, y = 3 * torch.randn(21, 6), torch.randint(-1, 2, (21, 6), dtype=torch.int8)
    return logits, y, torch.arange(21)


def test_each_image_counts_once_in_any_order():
    logits, y, index = toy()
    metrics = MultiLabelMetrics('abcdef')
    metrics.update(logits, y, index)
    once = metrics.compute()
    metrics.reset()
    for part in torch.tensor([3, 20, 3, 0, *torch.randperm(21), 7, 7]).split(5):
        metrics.update(logits[part], y[part], index[part])
    assert metrics.compute() == once
    # Numbers need not start at 0 nor be without gaps.
    metrics.reset()
    metrics.update(logits, y, 1000 - 3 * index)
    assert metrics.compute() == once


def test_batches_are_their_images_one_by_one():
    logits, y, index = toy()
    together, apart = MultiLabelMetrics('abcdef'), MultiLabelMetrics('abcdef')
    together.update(logits, y, index)
    for i in range(21):
        apart.update(logits[i : i + 1], y[i : i + 1], index[i : i + 1])
    assert together.compute() == apart.compute()


def test_options_reach_the_figures():
    logits, y, index = toy()
    plain = MultiLabelMetrics('abcdef')
    plain.update(logits, y, index)
    voc = MultiLabelMetrics('abcdef', ap='interpolated_11', threshold=0.9)
    voc.update(logits, y, index)
    expected = 100 * average_precision(logits, y, 'interpolated_11').mean().item()
    assert voc.compute()['mAP'] == pytest.approx(expected) and expected != pytest.approx(plain.compute()['mAP'])
    expected = precision_recall(logits.double().sigmoid() >= 0.9, y)
    assert {name: voc.compute()[name] for name in SIX} == expected
    assert str(voc) == "MultiLabelMetrics(6 classes, ap='interpolated_11', top3='threshold', threshold=0.9)"


def test_unknown_labels_change_nothing():
    logits, y, index = toy()
    results = []
    for strange in (-99.0, 0.0, 99.0, math.inf):
        metrics = MultiLabelMetrics('abcdef')
        metrics.update(logits.masked_fill(y < 0, strange), y, index)
        results.append(metrics.compute())
    assert all(result == results[0] for result in results)


def test_large_logits_keep_their_order():
    # At 40 and 50 the probability is 1 in float64, and at 20 and 30 in float32; the ranking is still theirs.
    metrics = MultiLabelMetrics('ab')
    metrics.update(torch.tensor([[50.0, 20.0], [40.0, 30.0]]), torch.tensor([[1, 0], [0, 1]]), torch.arange(2))
    assert metrics.compute()['mAP'] == 100


def test_half_precision_logits_and_states():
    logits, y, index = toy()
    logits = logits.half()
    metrics, exact = MultiLabelMetrics('abcdef'), MultiLabelMetrics('abcdef')
    metrics.half()  # As Lightning's whole-module precision does: the states stay as they are.
    metrics.update(logits.requires_grad_(), y.float(), index.int())
    exact.update(logits.detach().double(), y, index)
    assert metrics.logits[0].dtype == torch.double and not metrics.logits[0].requires_grad
    assert metrics.compute() == exact.compute()
    assert not metrics.state_dict()


def test_no_positive_at_all():
    metrics = MultiLabelMetrics('ab')
    metrics.update(torch.zeros(3, 2), torch.tensor([[0, 0], [0, -1], [0, 0]]), torch.arange(3))
    out = metrics.compute()
    assert math.isnan(out['mAP']) and math.isnan(out['CF1']) and out['left_out'] == ['a', 'b']


@pytest.mark.filterwarnings('ignore:The ``compute`` method of metric:UserWarning')
def test_no_image():
    with pytest.raises(ValueError, match="No image to compute metrics of: call 'update' with at least one"):
        MultiLabelMetrics('ab').compute()
    metrics = MultiLabelMetrics('ab')
    metrics.update(torch.empty(0, 2), torch.empty(0, 2), torch.empty(0))
    with pytest.raises(ValueError, match='No image to compute metrics of'):
        metrics.compute()


def test_errors():
    with pytest.raises(ValueError, match="'ap' must be one of non_interpolated, interpolated_11 .got 'map'"):
        MultiLabelMetrics('ab', ap='map')
    with pytest.raises(ValueError, match="'top3' must be one of threshold, plain .got 'all'"):
        MultiLabelMetrics('ab', top3='all')
    with pytest.raises(ValueError, match=r"'threshold' must be a probability between 0 and 1 \(got 50\)"):
        MultiLabelMetrics('ab', threshold=50)
    with pytest.raises(ValueError, match="'class_names' must differ.*'b'"):
        MultiLabelMetrics(['a', 'b', 'b'])
    metrics = MultiLabelMetrics('ab')
    with pytest.raises(
        ValueError, match=r"'logits' and 'y' must both have shape \[n, C\] \(got \[3, 2\] and \[2, 3\]\)"
    ):
        metrics.update(torch.zeros(3, 2), torch.zeros(2, 3), torch.arange(3))
    with pytest.raises(ValueError, match=r'Expected a logit for each of 2 classes \(got 3\)'):
        metrics.update(torch.zeros(2, 3), torch.zeros(2, 3), torch.arange(2))
    with pytest.raises(ValueError, match=r"'index' must hold the number of each.*expected shape \[3\] \(got \[1\]\)"):
        metrics.update(torch.zeros(3, 2), torch.zeros(3, 2), torch.arange(1))
    metrics.update(torch.tensor([[0.0, 0.0], [0.0, math.nan]]), torch.zeros(2, 2), torch.tensor([5, 8]))
    with pytest.raises(ValueError, match='The logits of 1 images are NaN, first image 8'):
        metrics.compute()
    metrics.reset()
    for _ in range(2):  # The place in the batch instead of the number in the data set.
        metrics.update(torch.zeros(2, 2), torch.eye(2), torch.arange(2))
        metrics.update(torch.zeros(2, 2), 1 - torch.eye(2), torch.arange(2))
    with pytest.raises(ValueError, match='Image 0 came twice with different labels: .* not in the batch'):
        metrics.compute()


def evaluate(rank, folder):
    """One of two processes: a distributed sampler repeats an image, and then one process has no image at all."""
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{folder}/rendezvous', rank=rank, world_size=2)
    logits, y, index = torch.load(f'{folder}/data.pt')
    part = torch.tensor(list(DistributedSampler(index, num_replicas=2, rank=rank, shuffle=False)))
    metrics = MultiLabelMetrics('abcdef')
    for batch in part.split(4):
        metrics.update(logits[batch], y[batch], index[batch])
    results = [len(part), metrics.compute()]
    metrics.reset()
    if rank == 0:
        metrics.update(logits, y, index)
    results.append(metrics.compute())
    with open(f'{folder}/{rank}.json', 'w') as file:
        json.dump(results, file)
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_give_what_one_gives(tmp_path):
    logits, y, index = toy()
    torch.save((logits, y, index), tmp_path / 'data.pt')
    torch.multiprocessing.spawn(evaluate, (str(tmp_path),), nprocs=2)
    metrics = MultiLabelMetrics('abcdef')
    metrics.update(logits, y, index)
    one = metrics.compute()
    for rank in range(2):
        num_images, padded, lonely = json.loads((tmp_path / f'{rank}.json').read_text())
        assert num_images == 11  # 22 for 21 images.
        assert padded == one and lonely == one
