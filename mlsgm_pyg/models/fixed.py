"""What a model makes of its labels alone, computed once for many batches where nothing can make it stale."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


class LabelsOnce(torch.nn.Module):
    """A module that reads :meth:`labels`, which no image changes, in each forward.

    Inside :meth:`fixed_labels` it is computed once. A copy, or a view that shares weights, has a scope of its own.
    """

    def __init__(self):
        super().__init__()
        self._free_labels()
        self.register_load_state_dict_post_hook(_loaded)  # Called for loads through a parent module, too.

    def label_values(self, keep: bool) -> Any:
        """Computes what no image changes; with :obj:`keep`, for more than one batch."""
        return None

    def labels(self) -> Any:
        """What :meth:`label_values` gives, from before where labels are fixed and no gradient is wanted."""
        if not self._labels_fixed or torch.is_grad_enabled():
            return self.label_values(False)
        if self._fixed_values is None:
            self._fixed_values = self.label_values(True)
        return self._fixed_values

    @contextmanager
    def fixed_labels(self) -> Iterator[None]:
        """A scope for evaluation in which what depends on the labels alone is computed once for all batches.

        Parameters must not change inside. :meth:`train`, :meth:`eval`, :meth:`load_state_dict`, of this module or of
        one that holds it, and moves to another device or type end it early; with gradients enabled it has no effect.
        """
        self._labels_fixed, self._fixed_values = True, None
        try:
            yield
        finally:
            self._free_labels()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), '_labels_fixed': False, '_fixed_values': None}

    def _free_labels(self) -> None:
        self._labels_fixed, self._fixed_values = False, None

    def state_loaded(self) -> None:
        """Called when other parameters came."""
        self._free_labels()

    def train(self, mode: bool = True) -> LabelsOnce:
        self._free_labels()
        return super().train(mode)

    def _apply(self, *args: Any, **kwargs: Any) -> LabelsOnce:
        self._free_labels()
        return super()._apply(*args, **kwargs)


def _loaded(module: LabelsOnce, keys: Any) -> None:
    module.state_loaded()
