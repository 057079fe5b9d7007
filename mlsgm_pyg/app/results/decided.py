"""Temperature and thresholds of a run: fitted on scores that trained nothing, and what they come to on others."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from mlsgm_pyg.app.results.analysis import calibration
from mlsgm_pyg.decisions import LEAST, Decisions, probabilities
from mlsgm_pyg.metrics import precision_recall


def figures(found: Decisions, scores: dict[str, np.ndarray], name: str) -> dict[str, Any]:
    """What decisions come to on scores of other images, as result.json has it: the six metrics of what is kept, in
    percent, and the expected calibration error without and with the temperature."""
    logits, y = scores[name], scores['y']
    p = probabilities(logits, found.temperature)
    kept = p >= found.thresholds([*found.classes])
    classes = {
        label: {'threshold': one.threshold, 'positives': one.positives, 'is_pooled': one.is_pooled}
        for label, one in found.classes.items()
    }
    return {
        'temperature': found.temperature,
        'pooled': found.pooled.threshold,
        'classes': classes,
        'metrics': precision_recall(torch.from_numpy(kept), torch.from_numpy(y)),
        'ece': {'before': calibration(probabilities(logits), y).error, 'after': calibration(p, y).error},
    }


def said(told: dict[str, Any]) -> str:
    """What result.json has of decisions, in words, but for the thresholds."""
    before, after = (f'{told["ece"][key]:.3f}' for key in ('before', 'after'))
    words = (
        f'Thresholds (best F1) and temperature ({told["temperature"]:.2f}) are fitted on {told["images"]:,} images '
        f'that trained nothing. Calibration error: {before} before, {after} after.'
    )
    if not any(one['is_pooled'] for one in told['classes'].values()):
        return words
    return f'{words} * Too few positives (under {LEAST}) for a threshold of its own: that of all labels together.'
