import math

from experiments.spacing import apart


def test_nodes_never_lie_on_each_other():
    points = [(50.0, 50.0)] * 11 + [(0.0, 0.0), (200.0, 100.0)]
    placed = apart(points, (200, 100), 12)
    assert placed[0] == (50.0, 50.0)
    distances = [math.dist(a, b) for i, a in enumerate(placed) for b in placed[:i]]
    assert min(distances) >= 12
    assert all(6 <= x <= 194 and 6 <= y <= 94 for x, y in placed)
    far = [(20.0, 20.0), (80.0, 20.0)]
    assert apart(far, (200, 100), 12) == far
