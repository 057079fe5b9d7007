"""The attack campaign, by hand.

python -m tests.hostile --all            every attack, by a process a core; the same command goes on, repeats failures
python -m tests.hostile --part 1/4       a quarter of them, on one of several machines
python -m tests.hostile --try PART       one part, anew, without a record; --case TEXT: its cases with that in the name
python -m tests.hostile --kill 100       commands killed at random moments: training, predict, sweep, caching

Prints the table and writes results/hostile.json; the exit status is 1 where an attack ended in a traceback, hung, lost
something or did something wrong. --again forgets what an unfinished campaign has found.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
from collections import Counter

from tests.hostile import campaign
from tests.hostile.case import Case, each_part, every_case
from tests.hostile.run import preload


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser('python -m tests.hostile', description=__doc__.split('\n')[0], epilog=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    what = parser.add_mutually_exclusive_group(required=True).add_argument
    what('--all', action='store_true')
    what('--part', metavar='I/N')
    what('--try', dest='only', choices=[name for name, _ in each_part()], metavar='PART')
    what('--sample', type=int, metavar='N', help='some cheap ones of all parts, seeded: what the test suite runs')
    what('--kill', type=int, metavar='N')
    what('--list', action='store_true', help='how many attacks each part has')
    parser.add_argument('--case', default='', metavar='TEXT', help='of --try: cases with this in their name')
    parser.add_argument('--again', action='store_true')
    args = parser.parse_args(argv)
    if args.again:
        shutil.rmtree(campaign.WORK, ignore_errors=True)
    if args.list:
        counts = Counter(part for part, _ in every_case())
        print('\n'.join(f'{number:6} {part}' for part, number in counts.items()), f'\n{counts.total():6} in all')
        return 0
    if args.kill:
        from tests.hostile import kill

        return kill.main(args.kill)
    if args.part:
        if not (found := re.fullmatch(r'(\d+)/(\d+)', args.part)) or not 1 <= int(found[1]) <= int(found[2]):
            parser.error(f'--part must be I/N with I from 1 to N (got {args.part!r})')
        campaign.work(int(found[1]), int(found[2]))
        return 0
    if args.sample:
        return tried(campaign.sample(args.sample))
    if args.only:
        return tried([(part, case) for part, case in every_case(args.only) if args.case in case.name], bool(args.case))
    return campaign.all_cases()


def tried(cases: list[tuple[str, Case]], is_told: bool = False) -> int:
    """Tries some attacks, and says of each that was not met well, or of all, what came of it."""
    preload()
    found = []
    for one in campaign.carry_out(cases):
        found.append(one)
        if one['verdict'] != 'clean' or is_told:
            print(f'{one["verdict"]}: {one["part"]}: {one["case"]} ({one["seconds"]} s): {one["why"]}', flush=True)
    counts = campaign.summary(found)
    print(campaign.table(counts), f'\n{sum(one["seconds"] for one in found):.0f} s')
    return int(counts['total']['clean'] != len(found))


if __name__ == '__main__':
    status = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(status)  # What compilers in torch print of themselves when a process ends is left out.
