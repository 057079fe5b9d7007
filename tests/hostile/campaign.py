"""Many attacks: what was found of each is kept as it comes, so that a campaign goes on where it stopped."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import Any

from tests.hostile.case import VERDICTS, Case, each_part, every_case
from tests.hostile.run import attack, preload, scope, stocked

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / 'build' / 'hostile'  # Not in the repository.
RESULTS = ROOT / 'results' / 'hostile.json'
DEAR = 0.3  # Seconds that a case of the sample costs at most.


def sample(number: int, seed: int = 0) -> list[tuple[str, Case]]:
    """Some of the cheap cases, seeded, of all parts in proportion to the root of their number."""
    by_part = {part: [case for _, case in cases] for part, cases in groupby(every_case(), key=lambda one: one[0])}
    cheap = {part: [case for case in cases if case.cost <= DEAR] for part, cases in by_part.items()}
    weight = sum(len(cases) ** 0.5 for cases in cheap.values())
    rng, chosen = random.Random(seed), []
    for part, cases in cheap.items():
        share = min(len(cases), round(number * len(cases) ** 0.5 / weight))
        chosen += [(part, case) for case in rng.sample(cases, share)]
    left = [(part, case) for part, cases in cheap.items() for case in cases if (part, case) not in chosen]
    return chosen[:number] + rng.sample(left, max(number - len(chosen), 0))


def carry_out(cases: Iterable[tuple[str, Case]]) -> Iterator[dict[str, Any]]:
    """What came of each case, in their order."""
    modules = dict(each_part())
    with stocked() as stock:
        for part, group in groupby(cases, key=lambda one: one[0]):
            with scope(modules[part], stock):
                for _, case in group:
                    verdict, why, result = attack(part, case, stock)
                    found = {'part': part, 'case': case.name, 'verdict': verdict, 'why': why, 'status': result.status}
                    yield found | {'seconds': round(result.seconds, 3), 'at': round(time.time(), 3)}


def work(at: int, of: int, only: str = '') -> Path:
    """Carries out every n-th case that was not met well yet; returns the file of what was found."""
    path = WORK / f'part-{at}-of-{of}.jsonl'
    path.parent.mkdir(parents=True, exist_ok=True)
    done = {key for key, one in recorded().items() if one['verdict'] == 'clean'}
    todo = [
        pair
        for number, pair in enumerate(every_case(only))
        if number % of == at - 1 and (pair[0], pair[1].name) not in done
    ]
    if todo:
        preload()
        with path.open('a') as file:
            for found in carry_out(todo):
                file.write(json.dumps(found) + '\n')
                file.flush()
                if found['verdict'] != 'clean':
                    print(f'{found["verdict"]}: {found["part"]}: {found["case"]}: {found["why"]}', flush=True)
    return path


def recorded() -> dict[tuple[str, str], dict[str, Any]]:
    """What was found last of each attack, by whichever process, by part and name."""
    every = [one for path in WORK.glob('*.jsonl') for one in read(path)]
    return {(one['part'], one['case']): one for one in sorted(every, key=lambda one: one.get('at', 0))}


def read(path: Path) -> list[dict[str, Any]]:
    """What was found so far; a last line that was cut off is left out."""
    found = []
    with suppress(FileNotFoundError):
        for line in path.read_text().splitlines():
            with suppress(ValueError):
                found.append(json.loads(line))
    return found


def whole(processes: int) -> list[dict[str, Any]]:
    """All cases, by several processes; returns what was found of each."""
    started = [
        subprocess.Popen([sys.executable, '-m', 'tests.hostile', '--part', f'{at}/{processes}'], cwd=ROOT)
        for at in range(1, processes + 1)
    ]
    try:
        for process in started:
            process.wait()
    finally:
        for process in started:
            process.terminate()
    found = recorded()
    return [found[part, case.name] for part, case in every_case() if (part, case.name) in found]


def summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    """The counts of a campaign, in all and by part."""

    def counts(some: list[dict[str, Any]]) -> dict[str, int]:
        number = Counter(one['verdict'] for one in some)
        return {'attacks': len(some)} | {verdict: number[verdict] for verdict in VERDICTS}

    parts = {part: [one for one in found if one['part'] == part] for part in sorted({one['part'] for one in found})}
    return {'total': counts(found), 'parts': {part: counts(some) for part, some in parts.items()}}


def table(counts: dict[str, Any]) -> str:
    """A summary in Markdown."""
    head = ['part', 'attacks', *VERDICTS]
    rows = [*counts['parts'].items(), ('**all**', counts['total'])]
    lines = [head, ['---'] + ['--:'] * (len(head) - 1), *([part, *map(str, row.values())] for part, row in rows)]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def commit() -> str:
    words = ['git', 'rev-parse', '--short', 'HEAD']
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


def report(found: list[dict[str, Any]], seconds: float, command: str) -> int:
    """Prints the table, writes results/hostile.json; 1 where an attack was not met well."""
    counts = summary(found)
    print(table(counts))
    content = counts | {'seconds': round(seconds), 'command': command, 'commit': commit()}
    before = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    content |= {name: before[name] for name in ('kills',) if name in before}
    RESULTS.write_text(json.dumps(content, indent=1) + '\n')
    return int(counts['total']['clean'] != counts['total']['attacks'])


def elapsed(processes: int) -> float:
    """Seconds that the longest of the processes was at work, over all calls."""
    paths = [WORK / f'part-{at}-of-{processes}.jsonl' for at in range(1, processes + 1)]
    return max((sum(one['seconds'] for one in read(path)) for path in paths), default=0.0)


def all_cases(processes: int | None = None) -> int:
    processes = processes or os.cpu_count() or 1
    found = whole(processes)
    missing = sum(1 for _ in every_case()) - len(found)
    if missing > 0:
        print(f'{missing} attacks were not carried out: the same command goes on')
        return 1
    return report(found, elapsed(processes), 'python -m tests.hostile --all')
