"""Signals: the first is a wish, the second ends at once, and what was there before comes back."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from mlsgm_pyg.app.common.signals import Stop, Stopped, ignore


def test_the_first_signal_is_kept_and_the_second_ends():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with Stop() as stop:
        stop.check()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # A library takes it,
        stop.listen()  # and gives it back.
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.number == signal.SIGTERM
        with pytest.raises(Stopped):
            os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)  # The end has begun.
        with pytest.raises(Stopped) as error:
            stop.check()
        assert error.value.status == 143 and str(error.value) == ''
        assert Stopped(signal.SIGINT, 'x').status == 130
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_a_thread_may_not_listen_and_does_not_try():
    told = []

    def run():
        with Stop() as stop:
            told.append(stop.number)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert told == [None]


def test_who_reads_for_another_is_not_interrupted():
    with Stop() as stop:  # It puts back what was there.
        ignore()
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(os.getpid(), number)
        assert stop.number is None


def test_a_forked_process_leaves_signals_to_the_first_one(monkeypatch):
    own = os.getpid()
    with Stop() as stop:
        monkeypatch.setattr(os, 'getpid', lambda: own + 1)
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
            os.kill(own, number)
        assert stop.number is None
        monkeypatch.undo()
        os.kill(own, signal.SIGTERM)
        assert stop.number == signal.SIGTERM


@pytest.mark.skipif(sys.platform != 'linux', reason='the system does not tell of a parent that is gone')
def test_who_works_for_another_ends_with_it_even_by_sigkill():
    code = """if True:
        import os, time
        from mlsgm_pyg.app.common.signals import ignore
        if not os.fork():
            ignore()
            print('ready', flush=True)
        time.sleep(60)
    """
    process = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == 'ready\n'
    process.kill()
    assert process.communicate(timeout=10)[0] == ''  # The end of the pipe, which the worker holds, too.
