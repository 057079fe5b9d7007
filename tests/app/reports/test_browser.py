"""The report as a person meets it: in a real browser, which records every request and every word on the console."""

import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mlsgm_pyg.app.cli import report
from mlsgm_pyg.app.config import load as configs
from mlsgm_pyg.app.drawing.boxes import drawing_path
from mlsgm_pyg.app.reports.predictions import write_index
from mlsgm_pyg.app.training import train
from tests.app.reports.test_predictions import ABOUT, HOSTILE, record

FLAGS = [
    '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync',
]  # fmt: skip
SECONDS, BYTES = 2.0, 15_000_000


@pytest.fixture(scope='module')
def browser(tmp_path_factory):
    playwright = pytest.importorskip('playwright.sync_api', reason='the package playwright is not installed')
    path = shutil.which('chromium')
    if path is None:
        pytest.skip("there is no 'chromium' on this machine (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as driver:
        folder = tmp_path_factory.mktemp('browser')
        size = {'width': 1280, 'height': 900}
        context = driver.chromium.launch_persistent_context(folder, executable_path=path, args=FLAGS, viewport=size)
        yield context
        context.close()


@pytest.fixture
def opened(browser):
    """Opens a page; afterwards nothing may have been said on the console or asked of anyone but the disk for the page
    and for drawings beside it."""
    pages = []

    def start(path):
        page = browser.new_page()
        told, asked = [], []
        page.on('console', lambda message: told.append(message.text))
        page.on('pageerror', lambda error: told.append(str(error)))
        page.on('request', lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        pages.append((page, told, asked, path))
        return page

    yield start
    for page, told, asked, path in pages:
        page.close()
        assert told == []
        files = {url.partition('#')[0] for url in asked if not url.startswith(('data:', 'about:'))}
        beside = {url for url in files if url.startswith(path.parent.as_uri()) and url.endswith('.jpg')}
        assert files - beside == {path.as_uri()}


@pytest.fixture(scope='module')
def small(trained, tmp_path_factory):
    """The report of a tiny run beside a baseline."""
    folder = tmp_path_factory.mktemp('small') / 'runs'
    for name in ('digits', 'other'):
        shutil.copytree(trained['folder'], folder / name / 'seed0-x', ignore=shutil.ignore_patterns('tensorboard'))
    path = folder / 'other' / 'seed0-x' / 'result.json'
    out = json.loads(path.read_text())
    out['name'], out['config']['model']['name'] = 'other', 'baseline'
    path.write_text(json.dumps(out))
    assert report.main([str(folder / 'digits' / 'seed0-x')]) == 0
    return folder / 'digits' / 'seed0-x' / 'report.html'


def until(page, condition):
    """Waits for a condition in the page, whose policy forbids what Playwright's own waiting needs."""
    deadline = time.monotonic() + 20
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, condition
        page.wait_for_timeout(10)


def panel(page):
    """The one panel that is shown."""
    shown = page.locator('[role=tabpanel]:visible')
    assert shown.count() == 1
    return shown


def test_every_tab_renders(opened, small):
    page = opened(small)
    tabs = page.get_by_role('tab')
    names = tabs.all_inner_texts()
    assert names[0] == 'Overview' and names[-1] == 'Graphs' and len(names) == 8
    for name in names:
        page.get_by_role('tab', name=name).click()
        assert panel(page).get_attribute('aria-labelledby') == page.locator('[aria-selected=true]').get_attribute('id')
        assert panel(page).locator('svg, table, img').first.is_visible()
        assert page.evaluate('document.documentElement.scrollWidth <= innerWidth')
    assert page.url.endswith('-graphs')
    page.reload()  # An address with a tab leads there.
    assert panel(page).locator('.graph').first.is_visible()


def test_pictures_and_maps_are_drawn_when_they_are_seen(opened, small):
    page = opened(small)
    loaded = 'document.querySelectorAll("img[src]").length'
    assert page.evaluate(loaded) == 0  # The first tab has none.
    page.get_by_role('tab', name='Graphs').click()
    picture = panel(page).locator('.stage img').first
    picture.wait_for()
    until(page, 'document.querySelector(".stage img").naturalWidth > 0')
    until(page, '"drawn" in document.querySelector("canvas").dataset')
    painted = page.evaluate("""() => {
        const canvas = document.querySelector('canvas');
        return [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data];
    }""")
    assert len(painted) == 4 * 2 * 2 and max(painted[3::4]) == 200  # The highest place of a map of 2 x 2.
    assert 0 < page.evaluate(loaded) < page.locator('img').count()


def test_filters_sorting_and_switches(opened, small):
    page = opened(small)
    page.get_by_role('tab', name='Classes').click()
    shown = panel(page)
    rows = shown.locator('tbody tr:visible')
    shown.get_by_role('searchbox').fill('SEV')
    assert rows.count() == 1 and rows.first.inner_text().startswith('seven')
    assert shown.get_by_role('status').inner_text() == '1 of 10'
    shown.get_by_role('searchbox').fill('')
    heading = shown.get_by_role('button', name='AP')
    for order, sign in (('descending', -1), ('ascending', 1)):
        heading.click()
        values = [float(cell) for cell in shown.locator('tbody tr td:nth-child(2)').all_inner_texts()]
        assert values == sorted(values, key=lambda value: sign * value)
        assert shown.locator('th[aria-sort]').get_attribute('aria-sort') == order

    page.get_by_role('tab', name='Images').click()
    shown = panel(page)
    items = shown.locator('.item:visible')
    assert items.count() == 13
    shown.get_by_label('Label').select_option(label='seven')
    assert 0 < items.count() <= 13 and all('seven' in text for text in items.all_inner_texts())
    shown.get_by_label('Label').select_option('')
    shown.get_by_label('Order').select_option('row')
    names = [text.strip()[-10:] for text in items.all_text_contents()]  # Whether or not they are on the screen yet.
    assert names == [f'test-{i:05d}' for i in range(13)]

    page.get_by_role('tab', name='Graphs').click()
    boxes = panel(page).locator('.graph .boxes').first
    assert boxes.is_visible()
    page.get_by_label('Boxes').uncheck()
    assert not boxes.is_visible()


def test_the_keyboard_is_enough(opened, small):
    page = opened(small)
    page.keyboard.press('Tab')  # The theme, then the tabs.
    page.keyboard.press('Enter')
    assert page.evaluate('document.documentElement.dataset.theme') == 'dark'
    page.keyboard.press('Tab')
    selected = page.locator('[aria-selected=true]')
    for key, name in (('ArrowRight', 'Classes'), ('End', 'Graphs'), ('ArrowRight', 'Overview'), ('ArrowLeft', 'Graphs'),
                      ('Home', 'Overview'), ('ArrowRight', 'Classes')):  # fmt: skip
        page.keyboard.press(key)
        assert selected.inner_text() == name == page.evaluate('document.activeElement.innerText')
    for _ in range(2):
        page.keyboard.press('Tab')
    page.keyboard.type('nine')
    assert panel(page).locator('tbody tr:visible').count() == 1
    for _ in range(3):  # Past the table's frame to the second heading.
        page.keyboard.press('Tab')
    page.keyboard.press('Enter')
    assert panel(page).locator('th[aria-sort]').inner_text().strip() == 'AP'


@pytest.mark.slow
def test_phone_dark_and_print(opened, small, tmp_path):
    page = opened(small)
    page.set_viewport_size({'width': 360, 'height': 740})
    page.emulate_media(color_scheme='dark')
    colour = 'getComputedStyle(document.body).backgroundColor'
    assert page.evaluate(colour) == 'rgb(20, 23, 26)'
    page.get_by_role('button', name='Light or dark').click()
    assert page.evaluate(colour) == 'rgb(251, 251, 250)'
    for tab in page.get_by_role('tab').all():
        tab.click()
        assert page.evaluate('document.documentElement.scrollWidth <= innerWidth')
    page.pdf(path=tmp_path / 'report.pdf', print_background=False)
    page.emulate_media(media='print')
    assert page.locator('[role=tabpanel]:visible').count() == 8 and not page.get_by_role('tablist').is_visible()
    assert page.locator('img:not([src])').count() == 0  # All pictures were asked for before printing.
    assert (tmp_path / 'report.pdf').stat().st_size > 100_000


@pytest.fixture
def many(narrow, tmp_path):
    """A finished run that was tested on 1,000 photographs: blurred colours with the noise of a camera."""
    rng = np.random.default_rng(0)
    (tmp_path / 'images').mkdir()
    lines = ['file,split,red,green,blue']
    for i in range(1021):
        y = rng.integers(0, 2, 3)
        small = (rng.integers(0, 156, (12, 16, 3)) + 90 * y).astype(np.uint8)
        noise = rng.normal(0, 6, (240, 320, 1))
        pixels = np.asarray(Image.fromarray(small).resize((320, 240), Image.Resampling.BICUBIC)) + noise
        file = f'{i:04d}.jpg'
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(tmp_path / 'images' / file, quality=90)
        lines.append(f'{file},{"train" if i < 21 else "test"},{",".join(map(str, y))}')
    (tmp_path / 'labels.csv').write_text('\n'.join(lines))
    words = ['data.name=csv', f'data.root={tmp_path}', f'runs_dir={tmp_path / "runs"}', 'semantics.source=onehot']
    words += ['trainer.max_epochs=1', 'model.gamma=0.04', 'model.max_instances=4', 'model.backbone=resnet18']
    return Path(train.run(configs.load('digits', [*narrow, *words]), command='x')['folder'])


@pytest.mark.slow
def test_a_thousand_images_are_small_and_quick(opened, many):
    assert report.main([str(many)]) == 0
    path = many / 'report.html'
    assert 3_000_000 < path.stat().st_size < BYTES
    page = opened(path)
    took = []
    for _ in range(3):  # The machine may be busy with other things.
        page.goto('about:blank')
        start = time.perf_counter()
        page.goto(path.as_uri(), wait_until='commit')
        until(page, 'document.documentElement?.dataset.ready === ""')
        page.get_by_role('tab', name='Images').click()
        until(page, 'document.querySelector("[role=tabpanel]:not([hidden]) img").naturalWidth > 0')
        took.append(time.perf_counter() - start)
    assert min(took) < SECONDS, f'usable after {min(took):.2f} s'
    shown = panel(page)
    assert shown.locator('.item').count() == 500
    page.wait_for_timeout(200)
    assert page.evaluate('document.querySelectorAll("img[src]").length') < 100  # The others are still text.
    start = time.perf_counter()
    shown.get_by_role('searchbox').fill('00')
    assert shown.get_by_role('status').inner_text().endswith(' of 500')
    assert time.perf_counter() - start < SECONDS


@pytest.fixture
def many_drawn(tmp_path):
    """The page of 10,000 drawings, which are one, linked."""
    number, folder = 10_000, tmp_path / 'drawn'
    folder.mkdir()
    Image.effect_noise((1024 + 240, 768), 60).convert('RGB').save(tmp_path / 'one', 'JPEG')
    records = []
    for i in range(number):
        file = f'photographs/{i:05d}.jpg' if i else HOSTILE
        os.link(tmp_path / 'one', drawing_path(folder, file))
        p = {'cat': i / number, 'dog': 0.9 if i % 10 == 0 else 0.1, 'owl': 0.01}
        counting = {name: value for name, value in p.items() if value >= 0.5}
        records.append(record(file, counting, width=1024, height=768, probabilities=p))
    return write_index(folder, records, ABOUT)


@pytest.mark.slow
def test_ten_thousand_photographs_open_from_disk(many_drawn, opened):  # The page is closed before its folder goes.
    assert many_drawn.stat().st_size < 3_000_000
    start = time.perf_counter()
    page = opened(many_drawn)
    until(page, 'document.querySelector(".crop img")?.naturalWidth > 0')
    assert time.perf_counter() - start < 2 * SECONDS
    items, told = page.locator('.item'), page.locator('#choices .found')
    assert items.count() == 60 and told.inner_text() == '10000'
    assert items.first.text_content().startswith('cat 50 %')  # At its threshold: nothing is more in doubt.
    start = time.perf_counter()
    page.get_by_label('Label').select_option(label='dog (1,000)')
    assert told.inner_text() == '1000 of 10000' and items.count() == 60
    assert all('dog 90 %' in text for text in items.all_text_contents())
    page.get_by_label('Label').select_option(label='all (10,000)')
    page.get_by_label('Order').select_option(label='most probable first')
    assert items.first.text_content().startswith('cat 100.0 %')
    page.get_by_label('Order').select_option(label='by name')
    assert 'onerror=alert(1)' in items.first.text_content() and '\\udcff' in items.first.text_content()
    page.get_by_role('searchbox').fill('photographs/0004 dog')
    assert told.inner_text() == '1 of 10000' and items.count() == 1
    page.get_by_role('searchbox').fill('')
    page.get_by_role('button', name='Show 60 more of 9940').click()
    assert items.count() == 120
    assert time.perf_counter() - start < 3 * SECONDS
    for image in (page.locator('.crop img').first, page.locator('.crop img').nth(119)):  # Also one far below.
        image.scroll_into_view_if_needed()
        box = image.bounding_box()
        crop = image.locator('..').bounding_box()
        assert crop['width'] == pytest.approx(box['width'] * 1024 / 1264, abs=1)  # Without the scores beside it.
        assert crop['height'] == pytest.approx(crop['width'] * 0.75, abs=1)
    page.set_viewport_size({'width': 360, 'height': 740})
    assert page.evaluate('document.documentElement.scrollWidth <= innerWidth')
