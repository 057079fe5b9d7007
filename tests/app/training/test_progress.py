"""The bar of training, on a terminal of a test."""

import io
from types import SimpleNamespace

from rich.console import Console

from mlsgm_pyg.app.common.progress import Bar
from mlsgm_pyg.app.training import progress, train


def test_one_bar_over_all_epochs_goes_on_where_training_does(tiny, capsys, monkeypatch):
    bars, shown = [], io.StringIO()

    def bar(about, total, console, hidden):
        bars.append((about, total, Bar(about, total, Console(file=shown, force_terminal=True, width=100), hidden)))
        return bars[-1][-1]

    monkeypatch.setattr(progress, 'Bar', bar)
    words = ['trainer.enable_progress_bar=true']
    train.run(tiny(*words, 'trainer.max_epochs=1'))
    (about, total, one), *_ = bars
    assert (about, total, one.tasks[0].completed, one.live.is_started) == ('Training ml_sgm', 21, 21, False)
    assert '21/21' in shown.getvalue() and 'a second, epoch 1' in shown.getvalue()
    assert 'epoch 1/1  mAP' in shown.getvalue()  # It stands above the bar.
    module = SimpleNamespace(config=tiny())
    half = SimpleNamespace(datamodule=SimpleNamespace(train_data=range(21)), max_epochs=2, current_epoch=1)
    resumed = progress.TrainingBar()
    resumed.on_train_start(half, module)
    assert bars[1][1] == 42 and bars[1][2].tasks[0].completed == 21
    resumed.stop()
