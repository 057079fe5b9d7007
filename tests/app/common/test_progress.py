"""The bar of photographs: what is done, how many a second, and the time left."""

import io
import re

from rich.console import Console

from mlsgm_pyg.app.common.progress import Bar, track


def test_items_pass_by_and_are_counted_when_they_are_done():
    out, seen = io.StringIO(), []
    console = Console(file=out, width=90, force_terminal=True, color_system=None)
    for batch in track([[1, 2], [3], []], 'Looking', 3, len, console):
        seen.append(batch)
    assert seen == [[1, 2], [3], []]
    last = re.sub(r'\x1b\[[^a-zA-Z]*[a-zA-Z]', '', out.getvalue()).split('\r')[-1]
    assert re.search(r'^Looking ━+ 3/3 [\d.]+ a second 0:00:00', last.strip('\n'), re.MULTILINE)


def test_what_is_told_more_and_what_is_hidden():
    for hidden in (False, True):
        out = io.StringIO()
        with Bar('Looking', 2, Console(file=out, width=90), hidden) as bar:
            bar(1)
            bar(1, '1 broken')
        assert ('a second, 1 broken' in out.getvalue()) is not hidden
        assert hidden is (out.getvalue() == '')
