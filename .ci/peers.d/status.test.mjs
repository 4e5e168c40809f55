// The page /status in a real browser: it shows what the JSON says, it is live, and people can read it. Run by .ci/peers.
// With SCREENSHOTS=folder it leaves pictures there.
import assert from 'node:assert/strict';
import {spawn} from 'node:child_process';
import {once} from 'node:events';
import {mkdtempSync, rmSync, writeFileSync} from 'node:fs';
import http from 'node:http';
import {createRequire} from 'node:module';
import {tmpdir} from 'node:os';
import path from 'node:path';
import test, {after, before, beforeEach} from 'node:test';

const {chromium} = createRequire(import.meta.url)(path.join(process.env.PEERS, 'playwright-core'));
const WORKERS = 3, PATIENCE = 30_000;
const folder = mkdtempSync(path.join(tmpdir(), 'rustcorn-status-'));

// ---------------------------------------------------------------------------------------------------------------- the server

let server, app, admin;

async function start(adminBind) {
  const file = path.join(folder, 'app.toml');
  writeFileSync(file, `bind = "127.0.0.1:0"\nadmin_bind = "${adminBind}"\nworkers = ${WORKERS}\ndrain_delay = 8\n` +
    '[app]\nhandler = "hello"\nchaos_percent = 20\n');
  server = spawn(process.env.PROGRAM, [file], {stdio: ['ignore', 'ignore', 'pipe']});
  let log = '';
  server.stderr.setEncoding('utf8').on('data', (text) => { log += text; });
  const said = (pattern) => until(`the log says ${pattern}`, () => {
    assert.equal(server.exitCode, null, log);
    return pattern.exec(log)?.[1];
  });
  app = await said(/ Listening at: (http:\S+)/);
  admin = await said(/Admin listening at: (http:\S+)/);
  await until('all workers are ready', async () => (await json()).workers.ready === WORKERS);
}

async function until(what, look) {
  for (const end = Date.now() + PATIENCE; ;) {
    const found = await look();
    if (found) return found;
    assert(Date.now() < end, `waited in vain: ${what}`);
    await new Promise((wake) => setTimeout(wake, 20));
  }
}

const json = async () => (await fetch(`${admin}/status`)).json();

/** Requests without pause until `stop` is called, which says how many had an answer. */
function traffic() {
  const agent = new http.Agent({keepAlive: true});
  let going = true, answers = 0;
  const ask = () => new Promise((done) => {
    const request = http.get(`${app}/`, {agent}, (answer) => {
      answer.resume().on('end', () => { answers += 1; done(); }).on('error', done);
    });
    request.on('error', done); // its worker was killed
  });
  const clients = Array.from({length: 4}, async () => { while (going) await ask(); });
  return async function stop() {
    going = false;
    await Promise.all(clients);
    agent.destroy();
    return answers;
  };
}

// ---------------------------------------------------------------------------------------------------------------- the browser

let browser, page;
const complaints = [], strangers = [];

/** What the page shows, read by its text alone. */
const shown = () => page.evaluate(() => {
  const text = (node) => node.textContent.trim();
  const number = (node) => text(node) === '–' ? null : Number(text(node).replaceAll(',', ''));
  const all = (selector) => [...document.querySelectorAll(selector)];
  const pairs = (id) => Object.fromEntries(all(`#${id} dt`).map((dt) => [text(dt), number(dt.nextElementSibling)]));
  const heads = all('#workers th').map(text);
  const codes = {};
  for (const code of all('#codes b')) {
    const count = number(code.nextElementSibling.nextElementSibling), more = /^(\d+) more$/.exec(text(code));
    if (more) codes.rest = {kinds: Number(more[1]), count};
    else codes[text(code)] = count;
  }
  return {
    title: document.title,
    phase: text(document.querySelector('#phase')),
    readiness: text(document.querySelector('#readiness')),
    stale: document.querySelector('#stale').hidden ? '' : text(document.querySelector('#stale')),
    facts: Object.fromEntries(all('#facts span').map((fact) => [text(fact.firstChild), text(fact.querySelector('b'))])),
    tiles: Object.fromEntries(all('#tiles > div').map((tile) => [text(tile.querySelector('span')), text(tile.querySelector('strong'))])),
    codes, restarts: pairs('restarts'), reloads: pairs('reloads'), log: pairs('log'), census: text(document.querySelector('#census')),
    workers: all('#workers tbody tr').map((row) =>
      Object.fromEntries([...row.cells].map((cell, index) => [heads[index], text(cell)]))),
    charts: all('figure svg').length, points: document.querySelector('#rate .plot')?.getAttribute('d') ?? '',
  };
});

const whole = (value) => value.toLocaleString('en');
const CAUSES = {exited: 'left by itself', signal: 'crashed', killed: 'killed', hang: 'hung', boot: 'failed to boot', oom: 'out of memory'};

/** The next document that the page asks for, what it drew from it, and what others were told before and after. */
async function drawn() {
  const asked = page.waitForRequest((request) => request.resourceType() === 'fetch', {timeout: PATIENCE});
  const earlier = await json();
  const document = await (await (await asked).response()).json();
  await page.waitForFunction((total) => document.querySelector('#facts').textContent.includes(`requests ${total}`),
    whole(document.requests.total), {timeout: PATIENCE, polling: 10});
  return {earlier, document, page: await shown(), later: await json()};
}

function agree({document, page}) {
  assert.equal(page.facts.requests, whole(document.requests.total));
  assert.equal(page.facts.generation, String(document.generation));
  assert.equal(page.facts.master, String(document.master.pid));
  const {rest, ...codes} = page.codes;
  const told = Object.entries(document.responses), own = ([code]) => code in codes;
  assert.deepEqual(codes, Object.fromEntries(told.filter(own)));
  const others = told.filter((entry) => !own(entry));
  assert.deepEqual(rest, others.length ? {kinds: others.length, count: others.reduce((sum, [, n]) => sum + n, 0)} : undefined);
  assert.deepEqual(page.restarts, Object.fromEntries(Object.entries(document.restarts).map(([cause, n]) => [CAUSES[cause], n])));
  assert.deepEqual(page.reloads, {'took effect': document.reloads.ok, 'refused, nothing changed': document.reloads.failed});
  assert.deepEqual(page.log, document.log);
  assert.equal(page.tiles['Workers ready'], `${document.workers.ready} of ${document.workers.target}`);
  assert.equal(page.tiles['In flight'], whole(document.requests.in_flight));
  assert.equal(page.tiles.Connections, whole(document.connections.open));
  const rows = page.workers.map(({slot, state, pid, generation, requests, connections, 'in flight': busy}) =>
    ({slot, state, pid, generation, requests, connections, busy}));
  assert.deepEqual(rows, document.slots.map((slot) => ({
    slot: String(slot.slot), state: slot.state, pid: String(slot.pid ?? '–'), generation: String(slot.generation || '–'),
    requests: whole(slot.requests), connections: whole(slot.connections), busy: whole(slot.in_flight),
  })));
}

async function picture(name) {
  if (process.env.SCREENSHOTS) await page.screenshot({path: path.join(process.env.SCREENSHOTS, `${name}.png`), fullPage: true});
}

before(async () => {
  await start('127.0.0.1:0');
  browser = await chromium.launch({executablePath: process.env.CHROMIUM, args: ['--no-sandbox', '--disable-gpu']});
  page = await browser.newPage({viewport: {width: 1280, height: 900}, colorScheme: 'light'});
  page.on('console', (message) => { if (['error', 'warning'].includes(message.type())) complaints.push(message.text()); });
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('request', (request) => { if (new URL(request.url()).origin !== admin) strangers.push(request.url()); });
  const answer = await page.goto(`${admin}/status`);
  assert.equal(answer.status(), 200);
  await page.evaluate(() => { window.sameDocument = true; });
});

after(async () => {
  await browser?.close();
  server?.kill('SIGINT');
  if (server && server.exitCode === null) await once(server, 'exit');
  rmSync(folder, {recursive: true});
});

beforeEach(() => { complaints.length = 0; });

const untouched = async () => {
  assert.deepEqual({complaints, strangers}, {complaints: [], strangers: []});
  assert(await page.evaluate(() => window.sameDocument), 'the page was not loaded again');
};

// ---------------------------------------------------------------------------------------------------------------- the tests

test('under traffic it shows what the JSON says, and grows', async () => {
  const stop = traffic();
  const totals = [];
  for (let round = 0; round < 3; round += 1) {
    const seen = await drawn();
    agree(seen);
    const {earlier, document, later} = seen;
    assert(earlier.requests.total <= document.requests.total && document.requests.total <= later.requests.total);
    for (const [code, count] of Object.entries(document.responses)) {
      assert((earlier.responses[code] ?? 0) <= count && count <= later.responses[code], code);
    }
    assert.equal(seen.page.workers.length, WORKERS);
    assert.equal(seen.page.charts, 3);
    totals.push(document.requests.total);
  }
  assert(totals[0] < totals[1] && totals[1] < totals[2], `it is live: ${totals}`);
  await picture('light');
  const answers = await stop();
  const {document, page: last} = await until('all are counted', async () => {
    const seen = await drawn();
    return seen.document.requests.in_flight === 0 && seen;
  });
  agree({document, page: last});
  assert.equal(last.facts.requests, whole(answers), 'and that is what clients had');
  assert(Object.keys(last.codes).length > 1, 'of several kinds');
  assert.equal(last.phase, 'ready');
  await untouched();
});

test('a killed worker and its successor appear without a reload of the page', async () => {
  const stop = traffic();
  const first = await drawn();
  const victim = first.document.slots[1];
  process.kill(victim.pid, 'SIGKILL');
  const next = await until('the successor', async () => {
    const seen = await drawn();
    agree(seen);
    const row = seen.page.workers[1];
    return row && row.pid !== String(victim.pid) && row.state === 'ready' && seen;
  });
  assert.equal(next.page.restarts[CAUSES.killed], 1);
  assert.equal(next.page.census.split(', ')[0], `${WORKERS} ready`);
  assert(next.document.requests.total > first.document.requests.total);
  await stop();
  await untouched();
});

/** All text that can be seen: its size in pixels, and how it stands out from what is painted behind it (WCAG 2, relative luminance). */
const texts = () => page.evaluate(() => {
  const canvas = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true});
  const luminance = (layers) => {
    for (const color of layers) { canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1); }
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map((byte) => byte / 255)
      .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode, holder = node.parentElement;
    if (!node.data.trim() || !holder.checkVisibility() || holder.closest('title, noscript')) continue;
    const behind = [];
    for (let at = holder; at; at = at.parentElement) behind.unshift(getComputedStyle(at).backgroundColor);
    const style = getComputedStyle(holder), ink = holder.closest('svg') ? style.fill : style.color;
    const [under, over] = [luminance(['white', ...behind]), luminance(['white', ...behind, ink])];
    const ratio = (Math.max(under, over) + 0.05) / (Math.min(under, over) + 0.05);
    const drawing = holder.closest('svg'), scale = drawing ? drawing.getScreenCTM().a : 1;
    found.push({text: node.data.trim(), where: holder.closest('[id]')?.id ?? '', ratio: Math.round(ratio * 100) / 100,
      size: Math.round(parseFloat(style.fontSize) * scale * 10) / 10});
  }
  return found;
});

test('it can be read, dark and light, and fits on a phone', async () => {
  const stop = traffic();
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({colorScheme});
    await drawn();
    const ground = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    assert.match(ground, colorScheme === 'dark' ? /^rgb\(\d\d, \d\d, \d\d\)$/ : /^rgb\(2\d\d, 2\d\d, 2\d\d\)$/);
    for (const width of [390, 768, 1280]) {
      await page.setViewportSize({width, height: 900});
      await drawn();
      const found = await texts();
      assert(found.length > 80, `${found.length} texts`);
      const unreadable = found.filter(({ratio, size}) => ratio < 4.5 || size < 10.5);
      assert.deepEqual(unreadable, [], `contrast below 4.5, or small, in the ${colorScheme} scheme at ${width}`);
      const outside = await page.evaluate(() => [...document.querySelectorAll('body *')]
        .map((node) => [node, node.parentElement.closest('.card, .tiles > div')?.getBoundingClientRect().right ?? innerWidth])
        .filter(([node, edge]) => !node.parentElement.closest('.scroll, svg') && node.getBoundingClientRect().right > edge + 0.5)
        .map(([node, edge]) => `${node.outerHTML.slice(0, 80)}: ${node.getBoundingClientRect().right} of ${edge}`));
      assert.deepEqual(outside, [], `beyond the edge at ${width}`);
      assert(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `scrolls sideways at ${width}`);
      await picture(`${colorScheme}-${width}`);
    }
  }
  await stop();
  await untouched();
});

test('a master that gives no sign of life is told, and that it is back', async () => {
  process.kill(server.pid, 'SIGSTOP');
  try {
    const silent = await until('the page says so', async () => (await shown()).stale);
    assert.match(silent, /^The master has given no sign of life for \d+ s\.$/);
    await picture('silent');
  } finally {
    process.kill(server.pid, 'SIGCONT');
  }
  await until('it is back', async () => (await shown()).stale === '');
  await untouched();
});

test('the drain is shown, then that nobody answers, and then the next server', async () => {
  const bind = new URL(admin).host, old = server.pid;
  server.kill('SIGTERM');
  const draining = await until('the drain', async () => {
    const seen = await shown();
    return seen.phase === 'draining' && seen;
  });
  assert.match(draining.title, /^⚠ /);
  assert.equal(draining.readiness, 'draining: the server is stopping');
  assert(draining.workers.length === WORKERS && draining.workers.every(({state}) => state === 'draining'), JSON.stringify(draining.workers));
  await picture('draining');
  await once(server, 'exit');
  const gone = await until('nobody answers', async () => (await shown()).stale);
  assert.match(gone, /^No answer from the admin process; what you see is old/);
  await picture('gone');
  complaints.length = 0; // the browser's own, of connections that were refused
  await start(bind);
  const back = await until('the next server', async () => {
    const seen = await shown();
    return seen.stale === '' && seen;
  });
  assert.equal(back.facts.master, String(server.pid));
  assert.notEqual(server.pid, old);
  assert.deepEqual(complaints.filter((text) => !text.includes('ERR_CONNECTION_REFUSED')), []);
  complaints.length = 0;
  await untouched();
});
