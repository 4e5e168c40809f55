// The status page: fetches the document every two seconds and draws it. No library, nothing from elsewhere; text from the
// server only ever becomes text.
'use strict';

const EVERY = 2000, PATIENCE = 4000;
const $ = (id) => document.getElementById(id);

// ---------------------------------------------------------------------------------------------------------------- building

function build(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined).map((c) => c instanceof Node ? c : String(c)));
  return node;
}
const el = (name, attributes = {}, ...children) => build(document.createElement(name), attributes, children);
const svg = (name, attributes = {}, ...children) => build(document.createElementNS('http://www.w3.org/2000/svg', name), attributes, children);
const fill = (id, ...children) => $(id).replaceChildren(...children.flat());

// ---------------------------------------------------------------------------------------------------------------- numbers

const some = (value) => value !== null && value !== undefined;

function digits(value) { // three of them are enough to look at
  if (value >= 100 || value === 0) return Math.round(value).toLocaleString('en');
  return value >= 10 ? value.toFixed(1) : value.toFixed(2);
}
const whole = (value) => some(value) ? value.toLocaleString('en') : '–';
const rate = (value) => !some(value) ? '–' : value >= 100000 ? `${digits(value / 1000)} k` : digits(value);

function time(seconds) { // of an answer
  if (!some(seconds)) return ['–', ''];
  if (seconds < 0.001) return [digits(seconds * 1e6), 'µs'];
  return seconds < 1 ? [digits(seconds * 1e3), 'ms'] : [digits(seconds), 's'];
}
const timed = (seconds) => time(seconds).join(' ').trim();
const tick = (seconds) => seconds === 0 ? '0' : timed(seconds).replace(/(\.\d*?)0+ /, '$1 ').replace('. ', ' '); // round ones

function age(seconds) { // of a process
  if (!some(seconds)) return '–';
  const s = Math.floor(seconds), [m, h, d] = [60, 3600, 86400].map((unit) => Math.floor(s / unit));
  if (d) return `${d} d ${h % 24} h`;
  if (h) return `${h} h ${m % 60} min`;
  return m ? `${m} min ${s % 60} s` : `${s} s`;
}
function bytes(value) {
  if (!some(value)) return '–';
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const power = Math.min(units.length - 1, value ? Math.floor(Math.log2(value) / 10) : 0);
  return `${digits(value / 1024 ** power)} ${units[power]}`;
}
function ceiling(value) { // the next round number
  const power = 10 ** Math.floor(Math.log10(value || 1));
  return power * [1, 2, 2.5, 5, 10].find((step) => step * power >= value * 0.999);
}

// ---------------------------------------------------------------------------------------------------------------- charts

const LEFT = 52, RIGHT = 8, TOP = 8, BOTTOM = 20;
const wide = (id) => Math.max($(id).clientWidth, 200); // a unit of a drawing is a pixel, so that its text can be read anywhere
const MOST = 150, LEAST = 31; // points that are shown
const hovering = new Map(); // figure → where the pointer is, 0 to 1

// A line for each series over the last minutes, the latest point at the right end.
function chart(id, points, interval, series, show, mark, height = 170) {
  const figure = $(id), slots = Math.min(Math.max(points.length, LEAST), MOST);
  const width = wide(id), [right, bottom] = [width - RIGHT, height - BOTTOM];
  const values = series.flatMap(({of}) => points.map(of).filter(some));
  const top = ceiling(Math.max(...values, 0) || 1);
  const x = (index) => right - (points.length - 1 - index) * (right - LEFT) / (slots - 1);
  const y = (value) => bottom - value / top * (bottom - TOP);
  const parts = [];
  for (const share of [0, 0.5, 1]) {
    const at = y(top * share);
    parts.push(svg('line', {class: share ? 'grid' : 'axis', x1: LEFT, x2: right, y1: at, y2: at}));
    parts.push(svg('text', {x: LEFT - 8, y: at + 4, 'text-anchor': 'end'}, mark(top * share)));
  }
  const span = (slots - 1) * interval / 60;
  for (const minutes of [5, 4, 3, 2, 1, 0].filter((minutes) => minutes <= span + 0.05)) {
    const at = right - minutes * 60 / interval * (right - LEFT) / (slots - 1);
    parts.push(svg('text', {x: Math.max(at, LEFT), y: height - 3, 'text-anchor': minutes ? 'middle' : 'end'}, minutes ? `−${minutes} min` : 'now'));
  }
  series.forEach(({of, area, tone}) => {
    let line = '', fillup = '', from = null, last = null;
    const close = () => { if (area && from !== null) fillup += `L${x(last)} ${bottom}L${x(from)} ${bottom}Z`; from = null; };
    points.forEach((point, index) => {
      const value = of(point);
      if (!some(value)) return close();
      const step = `${from === null ? 'M' : 'L'}${x(index).toFixed(1)} ${y(value).toFixed(1)}`;
      if (from === null) from = index;
      [line, fillup, last] = [line + step, fillup + step, index];
    });
    close();
    if (area) parts.push(svg('path', {class: `area ${tone}`, d: fillup}));
    parts.push(svg('path', {class: `plot ${tone}`, d: line}));
  });
  const pointer = hovering.get(id);
  let chosen = points.length - 1;
  if (some(pointer) && points.length) {
    const index = Math.round(points.length - 1 - (right - pointer * width) * (slots - 1) / (right - LEFT));
    chosen = Math.min(points.length - 1, Math.max(0, index));
    parts.push(svg('line', {class: 'cursor', x1: x(chosen), x2: x(chosen), y1: TOP, y2: bottom}));
    series.forEach(({of, tone}) => {
      const value = of(points[chosen]);
      if (some(value)) parts.push(svg('circle', {class: `dot ${tone}`, cx: x(chosen), cy: y(value), r: 4}));
    });
  }
  const when = some(pointer) && chosen >= 0 ? `${age((points.length - 1 - chosen) * interval)} ago` : '';
  const legend = series.map(({label, of, tone}) =>
    el('span', {class: tone}, el('i'), `${label} `, el('b', {}, chosen >= 0 && some(of(points[chosen])) ? show(of(points[chosen])) : '–')));
  figure.replaceChildren(
    svg('svg', {viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': series.map(({label}) => label).join(', ')}, parts),
    el('div', {class: 'legend'}, legend, el('span', {}, when)));
}

// How many answers took how long, on a logarithmic scale.
function curve(recent) {
  const steps = recent.distribution, height = 180, width = wide('curve');
  if (!steps.length) return fill('curve', el('p', {class: 'empty'}, 'no requests yet'));
  const [right, bottom, left] = [width - RIGHT, height - BOTTOM, LEFT], step = 10 ** 0.05;
  const low = Math.log10(steps[0][0] / step) - 0.1, high = Math.max(Math.log10(steps[steps.length - 1][0]) + 0.1, low + 1.2);
  const x = (seconds) => left + (Math.log10(seconds) - low) / (high - low) * (right - left);
  const all = steps.reduce((sum, [, count]) => sum + count, 0), top = Math.max(...steps.map(([, count]) => count));
  const y = (count) => bottom - count / top * (bottom - 26);
  const parts = [svg('line', {class: 'axis', x1: left, x2: right, y1: bottom, y2: bottom})];
  parts.push(svg('text', {x: left - 8, y: y(top) + 4, 'text-anchor': 'end'}, `${digits(top / all * 100)} %`));
  const room = (right - left) / (high - low); // for a power of ten
  for (let power = Math.floor(low); power <= high; power++) {
    for (const value of (room < 150 ? [1] : [1, 2, 5]).map((digit) => digit * 10 ** power)) {
      const at = x(value);
      if (at < left || at > right) continue;
      parts.push(svg('line', {class: 'grid', x1: at, x2: at, y1: 20, y2: bottom}));
      parts.push(svg('text', {x: at, y: height - 3, 'text-anchor': 'middle'}, tick(value)));
    }
  }
  for (const [upper, count] of steps) {
    const [from, to] = [x(upper / step), x(upper)], tall = count ? Math.max(bottom - y(count), 1.5) : 0;
    const title = `${timed(upper / step)} to ${timed(upper)}: ${whole(count)} (${digits(count / all * 100)} %)`;
    parts.push(svg('rect', {class: 'bar', x: from + 0.8, width: Math.max(to - from - 1.6, 1), y: bottom - tall, height: tall, rx: 2}, svg('title', {}, title)));
  }
  let edge = -Infinity;
  for (const [label, value] of [['p50', recent.duration.p50], ['p90', recent.duration.p90], ['p99', recent.duration.p99], ['p99.9', recent.duration.p999]]) {
    const at = x(value);
    parts.push(svg('line', {class: 'mark', x1: at, x2: at, y1: 18, y2: bottom}));
    if (at - edge > 34) {
      parts.push(svg('text', {class: 'mark-text', x: at, y: 12, 'text-anchor': 'middle'}, label));
      edge = at;
    }
  }
  fill('curve', svg('svg', {viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': 'distribution of durations'}, parts));
}

// ---------------------------------------------------------------------------------------------------------------- the page

function table(head, rows) {
  const cell = (kind) => (content, index) => el(kind, {class: head[index].left ? 'left' : null}, content);
  return [el('thead', {}, el('tr', {}, head.map(({title}, index) => cell('th')(title, index)))),
    el('tbody', {}, rows.map((row) => el('tr', {}, row.map(cell('td')))))];
}

function tiles(s) {
  const {requests, workers, recent} = s;
  const tile = (label, value, unit = '', tone = null) =>
    el('div', {class: tone}, el('span', {}, label), el('strong', {}, value, unit ? el('small', {}, ` ${unit}`) : null));
  const quantile = (label, value) => tile(label, ...time(value));
  document.body.classList.toggle('unseen', !some(requests)); // foreign programs: nobody knows
  fill('tiles', !some(requests) ? [] : [
    tile('Requests', rate(requests.per_second), '/s'),
    tile('Errors (5xx)', rate(requests.errors_per_second), '/s', requests.errors_per_second > 0 ? 'bad' : null),
    quantile('Median', recent.duration.p50), quantile('p99', recent.duration.p99),
    tile('In flight', whole(requests.in_flight)), tile('Connections', whole(s.connections.open))],
    some(s.backlog) ? tile('Backlog', whole(s.backlog), '', s.backlog > 0 ? 'warn' : null) : [],
    tile('Workers ready', whole(workers.ready), `of ${workers.target}`, workers.ready < workers.target ? 'warn' : null));
}

function facts(s) {
  const fact = (label, value) => el('span', {}, `${label} `, el('b', {}, value));
  $('name').textContent = s.name;
  document.title = `${s.ready ? '' : '⚠ '}${s.name} · rustcorn`;
  $('phase').textContent = s.phase === 'running' ? (s.ready ? 'ready' : 'not ready') : s.phase;
  $('phase').className = `pill ${s.phase !== 'running' ? 'busy' : s.ready ? 'good' : 'bad'}`;
  $('readiness').textContent = s.ready ? '' : s.readiness;
  fill('facts', fact('up', age(s.master.uptime)), fact('generation', s.generation), fact('requests', whole(s.requests?.total)),
    fact('sent', bytes(s.requests?.response_bytes)), fact('master', s.master.pid), fact('rustcorn', s.version));
}

function quantiles(s) {
  const names = ['p50', 'p90', 'p99', 'p999', 'max'], titles = ['p50', 'p90', 'p99', 'p99.9', 'slowest', 'requests'];
  const row = (label, duration) => [label, ...names.map((name) => timed(duration[name])), whole(duration.count)];
  $('window').textContent = `last ${age(Math.min(s.recent.seconds, s.master.uptime))}`;
  fill('quantiles', el('table', {}, table([{title: '', left: true}, ...titles.map((title) => ({title}))],
    [row('recently', s.recent.duration), row('since the start', s.duration)])));
}

const CODES = 8; // that have a row of their own

function codes(s) {
  const entries = Object.entries(s.responses), all = entries.reduce((sum, [, count]) => sum + count, 0);
  const frequent = new Set([...entries].sort(([, a], [, b]) => b - a).slice(0, entries.length > CODES + 1 ? CODES : CODES + 1));
  const rare = entries.filter((entry) => !frequent.has(entry));
  const shown = entries.filter((entry) => frequent.has(entry));
  if (rare.length) shown.push([`${rare.length} more`, rare.reduce((sum, [, count]) => sum + count, 0)]);
  const rows = shown.flatMap(([code, count]) => {
    const tone = code.endsWith(' more') ? '' : `c${code[0]}`, meter = el('div', {class: `meter ${tone}`}, el('i'));
    meter.firstChild.style.width = `${Math.max(count / all * 100, 1)}%`;
    const title = code.endsWith(' more') ? rare.map((entry) => entry.join(': ')).join('\n') : null;
    return [el('b', {title}, code), meter, el('div', {}, whole(count)), el('span', {}, `${digits(count / all * 100)} %`)];
  });
  fill('codes', rows.length ? el('div', {class: 'codes'}, rows) : el('p', {class: 'empty'}, 'no requests yet'));
}

const TONES = {ready: 'good', booting: 'busy', draining: 'warn'};

function workers(s) {
  const most = Math.max(...s.slots.map((slot) => slot.in_flight), 1);
  const doing = (slot) => slot.polling.filter(({seconds}) => seconds > 0.25)
    .map(({request, seconds}) => el('span', {class: 'doing'}, `blocked by ${request} for ${timed(seconds)}`));
  const rows = s.slots.map((slot) => {
    const meter = el('span', {class: 'meter'}, el('i'));
    meter.firstChild.style.width = `${slot.in_flight / most * 100}%`;
    return [slot.slot, el('span', {class: `pill ${TONES[slot.state]}`}, slot.state), some(slot.pid) ? slot.pid : '–',
      slot.generation || '–', age(slot.age), some(slot.in_flight) ? [whole(slot.in_flight), meter] : '–', whole(slot.connections), whole(slot.requests),
      bytes(slot.resident_memory), some(slot.heartbeat_age) ? `${digits(slot.heartbeat_age)} s` : '–', doing(slot)];
  });
  const {booting, ready, draining, busy} = s.workers;
  const parts = [[ready, 'ready'], [booting, 'booting'], [draining, 'draining'], [busy, 'busy']];
  $('census').textContent = parts.filter(([count]) => count).map(([count, word]) => `${count} ${word}`).join(', ');
  fill('workers', table([{title: 'slot'}, {title: 'state', left: true}, {title: 'pid'}, {title: 'generation'}, {title: 'age'},
    {title: 'in flight'}, {title: 'connections'}, {title: 'requests'}, {title: 'memory'}, {title: 'last beat'}, {title: '', left: true}], rows));
}

const LIMITS = {max_requests: 'served max_requests', max_rss: 'grew past max_rss', lifetime: 'served for worker_lifetime', asked: 'rustcornctl asked'};
const CAUSES = {exited: 'left by itself', signal: 'crashed', killed: 'killed', hang: 'hung', boot: 'failed to boot', oom: 'out of memory'};
const BAD = new Set(['signal', 'killed', 'hang', 'boot', 'oom', 'failed', 'critical', 'error', 'exception']);

function counts(id, values, names = {}) {
  fill(id, Object.entries(values).flatMap(([key, value]) =>
    [el('dt', {}, names[key] || key), el('dd', {class: value ? `some ${BAD.has(key) ? 'bad' : ''}` : 'none'}, whole(value))]));
}

let latest = null;

function draw() {
  const s = latest, {points, interval} = s.history;
  facts(s);
  tiles(s);
  const errors = points.some((point) => point.errors > 0) ? [{label: '5xx', tone: 'red', of: (point) => point.errors}] : [];
  chart('rate', points, interval, [{label: 'answered', tone: 'blue', area: true, of: (point) => point.requests}, ...errors], rate,
    (value) => value.toLocaleString('en'));
  chart('latency', points, interval, [{label: 'p50', tone: 'blue', of: (point) => point.p50},
    {label: 'p99', tone: 'orange', of: (point) => point.p99}], timed, tick);
  curve(s.recent);
  quantiles(s);
  codes(s);
  workers(s);
  counts('restarts', s.restarts, CAUSES);
  counts('recycles', s.recycles, LIMITS);
  counts('reloads', s.reloads, {ok: 'took effect', failed: 'refused, nothing changed'});
  counts('log', s.log);
}

function complain(text) {
  $('stale').hidden = !text;
  $('stale').textContent = text;
}

async function look() {
  try {
    const answer = await fetch('status', {headers: {accept: 'application/json'}, cache: 'no-store', signal: AbortSignal.timeout(PATIENCE)});
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    latest = await answer.json();
    const silent = latest.master.heartbeat_age;
    complain(silent > 10 ? `The master has given no sign of life for ${age(silent)}.` : '');
    draw();
  } catch (error) {
    if (error instanceof TypeError || error.name === 'TimeoutError') complain('No answer from the admin process; what you see is old. Trying again…');
    else { complain(`Cannot show this: ${error.message}`); throw error; }
  }
}

for (const id of ['rate', 'latency']) {
  $(id).addEventListener('pointermove', (event) => {
    const box = $(id).getBoundingClientRect();
    hovering.set(id, (event.clientX - box.left) / box.width);
    if (latest) draw();
  });
  $(id).addEventListener('pointerleave', () => { hovering.delete(id); if (latest) draw(); });
}
addEventListener('resize', () => { if (latest) draw(); });
$('json').addEventListener('click', async (event) => { // the browser would ask for the page
  event.preventDefault();
  const text = JSON.stringify(latest, null, 2);
  location.href = URL.createObjectURL(new Blob([text], {type: 'application/json'}));
});

(async () => {
  for (;;) {
    if (!document.hidden || !latest) await look();
    await new Promise((wake) => setTimeout(wake, EVERY));
  }
})();
