'use strict';
const page = (() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const tabs = all('[role=tab]');
  const panel = (tab) => document.getElementById(tab.getAttribute('aria-controls'));

  function data(name) {
    const store = document.getElementById(`data-${name}`);
    return store && JSON.parse(store.textContent);
  }

  // Pictures: their bytes are text until they come near the window.
  const early = new Set();  // Seen before their bytes had been read: these come after this script.
  function reveal(image) {
    const store = document.getElementById(`picture-${image.dataset.picture}`);
    const whole = store && (store.nextSibling || document.readyState !== 'loading');
    if (!whole) early.add(image);
    else if (!image.src) image.src = `data:image/jpeg;base64,${store.textContent}`;
  }
  addEventListener('DOMContentLoaded', () => early.forEach(reveal));
  const watch = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) {
        watch.unobserve(entry.target);
        reveal(entry.target);
      }
    }
  }, {rootMargin: '600px'});
  all('img[data-picture]').forEach((image) => watch.observe(image));
  addEventListener('beforeprint', () => all('img[data-picture]').forEach(reveal));

  function select(tab, focus = false) {
    for (const other of tabs) {
      const chosen = other === tab;
      other.setAttribute('aria-selected', chosen);
      other.tabIndex = chosen ? 0 : -1;
      panel(other).hidden = !chosen;
    }
    if (focus) tab.focus();
    tab.scrollIntoView({block: 'nearest', inline: 'nearest'});
    dispatchEvent(new CustomEvent('shown', {detail: panel(tab)}));
  }
  function go(tab, focus) {
    history.replaceState(null, '', `#${panel(tab).id}`);
    select(tab, focus);
  }
  function byHash() {
    return tabs.find((tab) => `#${panel(tab).id}` === location.hash) || tabs[0];
  }
  tabs.forEach((tab, i) => {
    tab.addEventListener('click', () => go(tab));
    tab.addEventListener('keydown', (event) => {
      const to = {ArrowRight: i + 1, ArrowLeft: i - 1, Home: 0, End: tabs.length - 1}[event.key];
      if (to === undefined) return;
      event.preventDefault();
      go(tabs[(to + tabs.length) % tabs.length], true);
    });
  });
  addEventListener('hashchange', () => select(byHash()));

  function sort(head) {
    const body = head.closest('table').tBodies[0];
    const column = head.cellIndex;
    const value = (row) => {
      const cell = row.cells[column];
      return 'v' in cell.dataset ? (cell.dataset.v === '' ? null : +cell.dataset.v) : cell.textContent;
    };
    const rows = [...body.rows].map((row) => [value(row), row]);
    const numeric = rows.some(([v]) => typeof v === 'number');
    const before = head.getAttribute('aria-sort');
    const down = before ? before === 'ascending' : numeric;
    all('th', head.parentElement).forEach((other) => other.removeAttribute('aria-sort'));
    head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
    rows.sort(([x], [y]) => {
      if (x === null || y === null) return (x === null) - (y === null);
      const order = numeric ? x - y : String(x).localeCompare(String(y), undefined, {numeric: true});
      return down ? -order : order;
    });
    body.append(...rows.map(([, row]) => row));
  }
  all('th').forEach((head) => {
    const cell = head.closest('table').tBodies[0].rows[0]?.cells[head.cellIndex];
    if (cell?.classList.contains('number')) head.classList.add('number');
    head.querySelector('button')?.addEventListener('click', () => sort(head));
  });

  // Of many only the first are shown; a button below them brings the next. Gives what starts anew with so many.
  function pager(list, show, step = 60) {
    const button = document.createElement('button');
    [button.type, button.className] = ['button', 'more'];
    list.after(button);
    let [shown, total] = [0, 0];
    function bring() {
      const to = Math.min(shown + step, total);
      show(shown, to);
      shown = to;
      button.hidden = shown >= total;
      button.textContent = `Show ${Math.min(step, total - shown)} more of ${total - shown}`;
    }
    button.addEventListener('click', bring);
    return (number) => {
      [shown, total] = [0, number];
      bring();
    };
  }

  function filtered(group) {
    const bar = group.querySelector('.controls');
    if (!bar) return;
    const field = bar.querySelector('input[type=search]');
    const facets = all('[data-facet]', bar);
    const order = bar.querySelector('[data-order]');
    const items = all(group.dataset.items, group);
    const gallery = group.querySelector('.gallery');
    let fitting = [];
    const show = (from, to) => fitting.slice(from, to).forEach((item) => { item.hidden = false; });
    const more = gallery ? pager(gallery, show) : (number) => show(0, number);
    const words = new Map();
    const text = (item) => {
      if (!words.has(item)) words.set(item, `${item.dataset.words || ''} ${item.textContent}`.toLowerCase());
      return words.get(item);
    };
    const found = bar.appendChild(document.createElement('span'));
    found.className = 'found';
    found.setAttribute('role', 'status');
    function apply() {
      const wanted = field ? field.value.toLowerCase().split(/\s+/).filter(Boolean) : [];
      fitting = items.filter((item) => wanted.every((word) => text(item).includes(word)) && facets.every((facet) =>
        !facet.value || (item.getAttribute(`data-in-${facet.dataset.facet}`) || '').split(' ').includes(facet.value)));
      for (const item of items) item.hidden = true;
      more(fitting.length);
      found.textContent = fitting.length < items.length ? `${fitting.length} of ${items.length}` : `${items.length}`;
    }
    field?.addEventListener('input', apply);
    facets.forEach((facet) => facet.addEventListener('change', apply));
    order?.addEventListener('change', () => {
      const rank = (item) => +item.getAttribute(`data-by-${order.value}`);
      items.sort((x, y) => rank(x) - rank(y));
      items[0]?.parentElement.append(...items);
      apply();
    });
    apply();
  }
  all('.filtered').forEach(filtered);

  all('.command button').forEach((button) => button.addEventListener('click', async () => {
    const code = button.parentElement.querySelector('code');
    getSelection().selectAllChildren(code);  // What can be copied by hand where the clipboard is closed.
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = 'Copied';
    } catch {
      button.textContent = 'Selected';
    }
  }));

  document.getElementById('theme').addEventListener('click', () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
    root.dataset.theme = dark ? 'light' : 'dark';
  });

  if (tabs.length) select(byHash());
  document.documentElement.dataset.ready = '';
  return {all, data, pager, reveal, select};
})();
