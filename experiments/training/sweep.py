"""All runs of a sweep, its summary and its picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments import curve
from experiments.common.files import read_json, write_json
from experiments.config import run_dir
from experiments.plan import Planned
from experiments.training import processes, train


def run(
    planned: Sequence[Planned],
    command: str,
    at_once: int = 1,
    again: bool = False,
    together: bool = False,
    all_seeds: bool = False,
) -> None:
    """Trains what is not finished, writes the summary of all and its picture, and prints both.

    Args:
        planned (sequence of Planned): What :func:`experiments.plan.plan` gives.
        command (str): The command that the summary names.
        at_once (int): How many runs at a time. (default: :obj:`1`)
        again (bool): Train finished runs, too. (default: :obj:`False`)
        together (bool): Whether the swept options change together. (default: :obj:`False`)
        all_seeds (bool): Count finished runs of other seeds, too. (default: :obj:`False`)
    """
    if at_once > 1:
        processes.train_all([(config, alone) for _, config, alone in planned], at_once, again)
        again = False  # They were, this very moment.
    points: dict[tuple, dict[str, list[dict[str, Any]]]] = {}
    for number, (values, config, alone) in enumerate(planned, 1):
        print(f'{number}/{len(planned)}: {alone}', flush=True)
        out = train.run(config, again, alone)
        if not out:  # Processes beside the first have nothing to print.
            continue
        outs = points.setdefault(tuple(values.items()), {}).setdefault(config.row, [])
        outs.append(out | {'folder': str(run_dir(config))})
        print(f'{config.name}, seed {config.seed}: {out["mAP"]:.2f} mAP', flush=True)
    if not points:
        return
    if all_seeds:
        for groups in points.values():
            for outs in groups.values():
                outs += other_seeds(outs)
                outs.sort(key=lambda out: out['seed'])
    first, swept = planned[0].config, list(planned[0].values)
    summary = curve.summarise(swept, points) | {'command': command, 'together': together}
    path = Path(first.runs_dir) / 'sweeps' / curve.file_name(first.row, swept, [run.config for run in planned])
    write_json(path, summary)
    curve.draw(summary, path.with_suffix('.png'))
    curve.show(summary)
    print(f'{path}\n{path.with_suffix(".png")}')


def other_seeds(outs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Finished runs beside some runs' directories that differ from them in their seed alone."""
    here = Path(outs[0]['folder'])
    known, options = {out['seed'] for out in outs}, here.name.split('-', 1)[1]
    found = sorted(here.parent.glob(f'seed*-{options}/result.json'))
    others = [read_json(path) | {'folder': str(path.parent)} for path in found]
    return [out for out in others if out['seed'] not in known]
