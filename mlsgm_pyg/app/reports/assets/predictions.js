// Cards of photographs, made when they are to be seen: there may be very many.
(() => {
  const {labels, limits, colours, panel, rows} = page.data('photographs');
  const [search, label, order] = ['#choices input', '#label', '#order'].map((one) => document.querySelector(one));
  const [list, told] = [document.getElementById('photographs'), document.querySelector('#choices .found')];
  const [NAME, PHOTOGRAPH, DRAWING, WIDTH, HEIGHT, COUNTING, LABELS] = [0, 1, 2, 3, 4, 5, 6];
  const pairs = (row) => Array.from({length: row[LABELS].length / 2}, (_, i) => row[LABELS].slice(2 * i, 2 * i + 2));
  const words = rows.map((row) => [row[NAME], ...pairs(row).slice(0, row[COUNTING]).map(([i]) => labels[i])]
    .join(' ').toLowerCase());
  const collator = new Intl.Collator(undefined, {numeric: true});

  // How far a probability is from its label's threshold, as a part of what is possible on its side.
  function margin([i, millionths]) {
    const [p, limit] = [millionths / 1e6, limits[i]];
    return p < limit ? (limit - p) / limit : limit < 1 ? (p - limit) / (1 - limit) : 1;
  }
  function rank(row) {
    const seen = pairs(row).filter(([i]) => !label.value || label.value === 'none' || i === +label.value);
    if (order.value === 'sure') return -Math.max(...seen.map(([, p]) => p));
    return Math.min(...seen.map(margin));
  }

  function make(name, kind, attributes = {}, ...content) {
    const element = Object.assign(document.createElement(name), attributes);
    if (kind) element.className = kind;
    element.append(...content);
    return element;
  }
  function chip([i, millionths], place, counting, drawn) {
    const percent = make('span', 'percent', {}, `${(millionths / 1e4).toFixed(millionths > 995000 ? 1 : 0)} %`);
    const told = counting ? 'counts' : `below its threshold of ${Math.round(100 * limits[i])} %`;
    const element = make('li', counting ? 'counts' : 'near', {title: told}, `${labels[i]} `, percent);
    if (drawn) element.style.setProperty('--colour', colours[place]);
    return element;
  }
  function card(row) {
    const image = make('img', '', {loading: 'lazy', decoding: 'async', alt: row[NAME], src: row[DRAWING]});
    image.style.width = `${100 * (row[WIDTH] + panel) / row[WIDTH]}%`;  // The scores beside the picture are cut off.
    const crop = make('span', 'crop', {}, image);
    crop.style.aspectRatio = `${row[WIDTH]} / ${row[HEIGHT]}`;
    crop.style.width = `min(100%, ${75 * row[WIDTH] / row[HEIGHT]}%)`;
    const shown = Math.min(row[COUNTING], colours.length);
    const chips = pairs(row).map((one, i) => chip(one, i, i < row[COUNTING], i < shown));
    const about = make('figcaption', '', {}, make('ul', 'chips', {}, ...chips));
    about.append(make('div', 'file', {}, make('a', '', {href: row[PHOTOGRAPH]}, row[NAME])));
    return make('div', 'item', {}, make('figure', 'card', {}, make('a', 'thumb', {href: row[DRAWING]}, crop), about));
  }

  let found = [];
  const more = page.pager(list, (from, to) => list.append(...found.slice(from, to).map((i) => card(rows[i]))));
  function choose() {
    const wanted = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (row, i) => wanted.every((word) => words[i].includes(word)) && (!label.value ||
      (label.value === 'none' ? !row[COUNTING] : pairs(row).slice(0, row[COUNTING]).some(([i]) => i === +label.value)));
    found = [...rows.keys()].filter((i) => fits(rows[i], i));
    if (order.value === 'name') found.sort((i, j) => collator.compare(rows[i][NAME], rows[j][NAME]));
    else if (order.value !== 'row') {
      const ranks = new Map(found.map((i) => [i, rank(rows[i])]));
      found.sort((i, j) => ranks.get(i) - ranks.get(j));
    }
    told.textContent = found.length < rows.length ? `${found.length} of ${rows.length}` : `${rows.length}`;
    list.replaceChildren();
    more(found.length);
  }
  for (const field of [search, label, order]) field.addEventListener('input', choose);
  choose();
})();
