"""The campaign itself: what each verdict is given for, and a sample of its attacks."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.hostile import campaign
from tests.hostile.case import RAN, Case, Result, every_case, judge
from tests.hostile.run import forked, leftovers

ROOT = Path(__file__).resolve().parents[2]
ERROR = Result(2, '', "error: there is no file 'x'\n")


@pytest.mark.parametrize(
    ('result', 'case', 'verdict'),
    [
        (Result(0, 'done', ''), {}, 'clean'),
        (ERROR, {'told': "'x'", 'done': False}, 'clean'),
        (ERROR._replace(err=f'a warning\n{ERROR.err}'), {}, 'clean'),
        (Result(None, '', ''), {}, 'hang'),
        (Result(1, '', 'Traceback (most recent call last):\n  File\nKeyError: 1\n'), {}, 'traceback'),
        (Result(0, 'Traceback (most recent call last):', ''), {}, 'traceback'),
        (Result(-6, '', 'error: x'), {}, 'traceback'),
        (Result(134, '', 'error: x'), {}, 'traceback'),
        (Result(1, '', 'something went wrong'), {}, 'wrong'),
        (ERROR._replace(err=2 * ERROR.err), {}, 'wrong'),
        (ERROR, {'told': "'y'"}, 'wrong'),
        (ERROR, {'done': True}, 'wrong'),
        (Result(0, 'done', ''), {'done': False}, 'wrong'),
        (Result(0, '\x1b]0;title\x07', ''), {}, 'wrong'),
        (Result(0, '', 'right to left \u202e'), {}, 'wrong'),
        (Result(0, '', '', processes=('a reader',)), {}, 'wrong'),
        (Result(0, '', '', left=('.x.tmp',)), {}, 'wrong'),
        (Result(0, '', '', ran=True), {}, 'wrong'),
        (Result(0, '', ''), {'check': lambda result: 'lost: one record'}, 'lost'),
        (Result(0, '', ''), {'check': lambda result: 'wrong: another number'}, 'wrong'),
        (Result(0, '', ''), {'check': lambda result: ''}, 'clean'),
    ],
)
def test_verdicts(result, case, verdict):
    assert judge(Case('a case', None, **case), result)[0] == verdict


def test_what_a_process_does_is_seen(tmp_path):
    def leaves():
        Path(RAN).touch()
        Path('.x.tmp').touch()
        os.fork() or time.sleep(60)
        print('out')
        print('err', file=sys.stderr)
        return 3

    (tmp_path / 'w').mkdir()
    result = forked(leaves, tmp_path / 'w', 30)
    assert (result.status, result.out, result.err, len(result.processes)) == (3, 'out\n', 'err\n', 1)
    assert (tmp_path / 'w' / RAN).exists() and leftovers(tmp_path) == ('w/.x.tmp',)
    assert forked(lambda: time.sleep(60), tmp_path / 'w', 0.2).status is None
    assert forked(lambda: os.kill(os.getpid(), signal.SIGSEGV), tmp_path / 'w', 30).status == -signal.SIGSEGV
    assert 'ZeroDivisionError' in forked(lambda: 1 / 0, tmp_path / 'w', 30).err
    assert forked(lambda: bytearray(1 << 40) and 0, tmp_path / 'w', 30).err.strip().endswith('MemoryError')


def test_there_are_thousands_and_the_sample_is_seeded():
    cases = [(part, case.name) for part, case in every_case()]
    assert len(cases) == len(set(cases)) >= 5000
    some = [(part, case.name) for part, case in campaign.sample(200)]
    assert len(set(some)) == 200 and set(some) <= set(cases)
    assert some == [(part, case.name) for part, case in campaign.sample(200)]
    cheap = {part for part, case in every_case() if case.cost <= campaign.DEAR}
    assert {part for part, _ in some} == cheap and len(cheap) > 10


def test_a_sample_is_met_well():
    """200 of the attacks, in a process that forks, see `python -m tests.hostile --help`."""
    words = [sys.executable, '-m', 'tests.hostile', '--sample', '200']
    env = os.environ | {'OMP_NUM_THREADS': '1'}
    run = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stdout + run.stderr
