// docs/guide.md as it is printed: both packed packages, the page, its ten lines, and a browser for each of two people.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { root } from '../../scripts/shell.mjs';
import { startBrowser } from '../e2e/harness/browser.mjs';
import { until, within } from '../e2e/harness/wait.mjs';
import { codeBlock, codeBlocks, replaced } from './harness/document.mjs';
import { installRelay } from './harness/packed.mjs';

const guide = 'docs/guide.md';
const [install, start] = codeBlock(guide, 'sh').trim().split('\n');
const [chat, group, lock] = codeBlocks(guide, 'js', 3);

let project;
let relay;
let address;
let browser;

/** Starts the relay by the guide's own line; only the port is a free one, and pages call it by the one that the guide names. */
async function startRelay(listen) {
  const [command, ...args] = start.split(' ');
  relay = spawn(command, ['--offline', ...args, '--listen', listen, '--public-url', 'ws://localhost:8080'], { cwd: project, stdio: ['ignore', 'pipe', 'ignore'], detached: true });
  const [line] = await within('the relay listens', once(createInterface({ input: relay.stdout }), 'line'));
  return /^listening on http:\/\/(\S+)$/.exec(line)[1];
}

async function stopRelay() {
  const exit = once(relay, 'exit');
  process.kill(-relay.pid, 'SIGTERM');
  await exit;
}

before(async () => {
  assert.equal(install, 'npm install solconnect-sync solconnect-relay');
  project = installRelay();
  const [packed] = JSON.parse(execFileSync('npm', ['pack', root, '--json', '--ignore-scripts', '--pack-destination', project], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }));
  execFileSync('npm', ['install', '--offline', '--no-audit', '--no-fund', join(project, packed.filename)], { cwd: project, stdio: 'ignore' });
  mkdirSync(join(project, 'site'));
  const page = codeBlock(guide, 'html');
  writeFileSync(join(project, 'site', 'index.html'), page);
  writeFileSync(join(project, 'site', 'chat.js'), chat);
  // Beside it, as somebody has it who puts the other script in its place.
  for (const [name, script] of [['group', group], ['lock', lock]]) {
    writeFileSync(join(project, 'site', `${name}.html`), replaced(page, 'chat.js', `${name}.js`));
    writeFileSync(join(project, 'site', `${name}.js`), script);
  }
  address = await startRelay('127.0.0.1:0');
  // To the page the relay is at the port that the guide names.
  browser = await startBrowser({ moreFlags: [`--host-resolver-rules=MAP localhost ${address}`] });
});

after(async () => {
  await browser?.stop();
  if (relay) await stopRelay();
  rmSync(project, { recursive: true, force: true });
});

/** A person with a browser profile of their own. */
async function person(path = '') {
  const context = await browser.context.browser().newContext();
  const page = await context.newPage();
  page.on('pageerror', (error) => assert.fail(error));
  page.on('response', (response) => assert.ok(response.status() < 400, `${response.url()} answers with ${response.status()}`));
  page.on('dialog', (dialog) => dialog.accept());
  await page.goto(`http://localhost:8080/${path}`);
  await until('the address is there', () => page.locator('#me').textContent());
  return page;
}

const write = async (page, text) => {
  await page.locator('#text').fill(text);
  await page.locator('#text').press('Enter');
  await until('the field is free', async () => (await page.locator('#text').inputValue()) === '');
};

const shows = (page, ...texts) => until(`${texts}`, async () => (await page.locator('#list').textContent()) === texts.join('\n'));

test('the script has ten lines', () => {
  assert.equal(chat.trim().split('\n').length, 10);
});

test('two people chat by the ten lines, through a restart of the relay', { timeout: 120_000 }, async () => {
  const [alice, bob] = [await person(), await person()];
  const talkTo = async (page, other) => {
    await page.locator('#peer').fill(await other.locator('#me').textContent());
    await page.locator('#peer').press('Enter');
  };
  await talkTo(alice, bob);
  await talkTo(bob, alice);
  await write(alice, 'Hello!');
  await shows(bob, 'Hello!');
  await write(bob, 'Hello to you');
  await shows(alice, 'Hello!', 'Hello to you');
  await stopRelay();
  await write(alice, 'Written without a relay');
  await shows(alice, 'Hello!', 'Hello to you', 'Written without a relay');
  await startRelay(address);
  await shows(bob, 'Hello!', 'Hello to you', 'Written without a relay');
  const before = await alice.locator('#me').textContent();
  await alice.reload();
  await until('the same address', async () => (await alice.locator('#me').textContent()) === before);
  await talkTo(alice, bob);
  await shows(alice, 'Hello!', 'Hello to you', 'Written without a relay');
});

test('three people talk in a group by the other script', { timeout: 120_000 }, async () => {
  const [alice, bob, carol] = [await person('group.html'), await person('group.html'), await person('group.html')];
  const addressOf = (page) => page.locator('#me').textContent();
  const others = [await addressOf(bob), await addressOf(carol)];
  await alice.locator('#peer').fill(others.join(' '));
  await alice.locator('#peer').press('Enter');
  await until('it is begun', () => alice.evaluate(() => document.getElementById('form').onsubmit !== null));
  await write(alice, 'Hello all!');
  const from = async (page, text) => `${(await addressOf(page)).slice(0, 4)}: ${text}`;
  const hello = await from(alice, 'Hello all!');
  for (const page of [bob, carol]) await shows(page, hello);
  await shows(alice, `${hello}, read by 2`);
  await write(carol, 'Hello from me');
  await shows(bob, hello, await from(carol, 'Hello from me'));
});

test('the title of the window says that a session is encrypted', { timeout: 120_000 }, async () => {
  const [alice, bob] = [await person('lock.html'), await person('lock.html')];
  for (const [page, other] of [[alice, bob], [bob, alice]]) {
    await page.locator('#peer').fill(await other.locator('#me').textContent());
    await page.locator('#peer').press('Enter');
    await until('it is encrypted', async () => (await page.title()) === 'Encrypted');
  }
  await write(alice, 'Hello!');
  await shows(bob, 'Hello!');
  for (const page of [alice, bob]) await until('since when', async () => /^Encrypted since \d/.test(await page.title()));
});
