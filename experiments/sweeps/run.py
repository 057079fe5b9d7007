"""All runs of a sweep, its summary and its picture."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from experiments import processes
from experiments.plan import Planned
from experiments.sweeps import curve
from experiments.sweeps import tables as sweep_tables
from mlsgm_pyg.app.common.files import write_json
from mlsgm_pyg.app.results.groups import walk
from mlsgm_pyg.app.results.run import FILE, Run
from mlsgm_pyg.app.training import train


def run(
    planned: Sequence[Planned],
    command: str,
    at_once: int = 1,
    again: bool = False,
    together: bool = False,
    all_seeds: bool = False,
) -> None:
    """Trains what is not finished of :func:`experiments.plan.plan`, so many runs at a time; writes the summary of all
    and its picture, and prints both. Finished runs of other seeds may count, too."""
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
        outs.append(out)
        print(f'{config.name}, seed {config.seed}: {out["mAP"]:.2f} mAP', flush=True)
    if not points:
        return
    if all_seeds:
        notes: list[str] = []
        for groups in points.values():
            for outs in groups.values():
                found = other_seeds(Path(outs[0]['folder']), {out['seed'] for out in outs}, notes)
                outs += [run.result for run in found]
                outs.sort(key=lambda out: out['seed'])
        for note in dict.fromkeys(notes):
            print(note, file=sys.stderr)
    first, swept = planned[0].config, list(planned[0].values)
    summary = curve.summarise(swept, points) | {'command': command, 'together': together}
    path = Path(first.runs_dir) / 'sweeps' / curve.file_name(first.row, swept, [run.config for run in planned])
    write_json(path, summary)
    curve.draw(summary, path.with_suffix('.png'))
    sweep_tables.table(summary).print()
    print(f'{path}\n{path.with_suffix(".png")}')


def other_seeds(folder: Path, seeds: Iterable[int], notes: list[str]) -> list[Run]:
    """Finished runs beside a run's directory that differ from it in their seed alone, but for some seeds; what is left
    out is added to the notes, see :func:`walk`."""
    options = folder.name.split('-', 1)[1]
    return [run for run in walk([folder.parent], notes, f'seed*-{options}/{FILE}') if run.seed not in seeds]
