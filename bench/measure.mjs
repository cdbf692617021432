// One run: everything is measured in rounds, each with every contender, so that a slow minute of the machine meets them all.
import { closeSync, fsyncSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { cpus, loadavg, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { say } from '../scripts/shell.mjs';
import { median } from './rows.mjs';
import { openStage, scenarios } from './scenarios.mjs';
import { startServer } from './servers.mjs';
import { openTexts } from './texts.mjs';
import { buildPage, startWeb } from './web.mjs';

/** Measures `rows` of `contenders`; the report as it is written to latest.json. */
export async function measure({ contenders: wanted, rows, rounds, corpus, deadlineMs, profiles, commit }) {
  const texts = openTexts(corpus);
  const sizes = {};
  for (const contender of wanted) sizes[contender.name] = await buildPage(contender);
  const web = await startWeb();
  // Wallets sign for the pages' hosts.
  const contenders = wanted.map((contender) => ({ ...contender, options: { ...contender.options, webPort: web.port } }));
  const report = {
    date: new Date().toISOString(),
    rounds,
    corpus: corpus ? 'chat' : 'base64',
    machine: { cores: cpus().length, cpu: cpus()[0].model, memoryBytes: totalmem(), platform: `${process.platform} ${process.arch}`, loadBefore: loadavg()[0], fsyncMs: fsyncMs() },
    versions: { node: process.version, commit },
    contenders: contenders.map(({ name, title, packages, note }) => ({ name, title, note, versions: Object.fromEntries(packages.map((each) => [each, versionOf(each)])) })),
    rows: rows.map(({ id, title, tries, aim }) => ({ id, title, tries, aim: aim?.text ?? null })),
    sizes,
    results: {},
  };
  const wantedScenarios = Object.keys(scenarios).filter((name) => rows.some(({ scenario }) => scenario === name));
  const servers = new Map();
  for (const contender of contenders) {
    const { name } = contender;
    report.results[name] = Object.fromEntries(rows.map(({ id }) => [id, { values: [], failures: [] }]));
    if (report.results[name].size) report.results[name].size.values.push(Object.values(sizes[name]).reduce((sum, bytes) => sum + bytes, 0));
    servers.set(name, contestant(contender, deadlineMs));
  }
  try {
    for (let round = 1; round <= rounds; round += 1) {
      for (const scenario of wantedScenarios) {
        const ids = rows.filter((row) => row.scenario === scenario).map(({ id }) => id);
        // Another one begins in each round.
        const order = contenders.map((_, index) => contenders[(index + round - 1) % contenders.length]);
        for (const { name, options } of order) {
          const results = report.results[name];
          const { browser, error } = await attempt(servers.get(name), { name, options, round, web, deadlineMs, profiles }, scenario, texts, (row, value) => {
            results[row]?.values.push(value);
          });
          report.versions.browser ??= browser;
          for (const id of ids) if (results[id].values.length + results[id].failures.length < round) results[id].failures.push(error ?? 'not measured');
          say(`round ${round} of ${rounds}  ${scenario.padEnd(8)} ${name.padEnd(11)} ${told(rows, results, ids, round)}`);
        }
      }
    }
  } finally {
    for (const server of servers.values()) await server.stop();
    web.close();
  }
  for (const results of Object.values(report.results)) {
    for (const result of Object.values(results)) result.median = result.values.length > 0 ? median(result.values) : null;
  }
  return report;
}

/** A contender's server, started when it is first needed and kept for all rounds, with the history that is written once. */
function contestant(contender, deadlineMs) {
  let server = null;
  let kept = null;
  return {
    async server() {
      server ??= await startServer(contender, deadlineMs);
      return server;
    },
    async history(makeTexts) {
      if (!kept) {
        const written = makeTexts();
        const session = { name: 'history', length: written.length };
        kept = { session, access: await server.call('prepare', session.name, written) };
      }
      return kept;
    },
    stop: () => server?.stop(),
  };
}

/** Plays a scenario once; the browser's version, and why it failed if it did. */
async function attempt(contestant, place, scenario, texts, result) {
  let stage = null;
  let browser;
  try {
    const server = await contestant.server();
    stage = await openStage({ ...place, server, history: contestant.history });
    browser = await stage.browserVersion();
    await scenarios[scenario]({ stage, result, texts });
    return { browser };
  } catch (error) {
    return { browser, error: error.message.split('\n')[0] };
  } finally {
    await stage?.close();
  }
}

function told(rows, results, ids, round) {
  const failure = ids.map((id) => results[id].failures.at(-1)).find(Boolean);
  const figures = ids.map((id) => {
    const { values, failures } = results[id];
    return values.length + failures.length === round && values.length > 0 ? `${id} ${rows.find((row) => row.id === id).show(values.at(-1))}` : `${id} failed`;
  });
  return `${figures.join(', ')}${failure ? `  (${failure})` : ''}`;
}

/** What a write of one block that is synced to the disk takes, in the middle of a hundred: strict durability rests on it. */
function fsyncMs() {
  const folder = mkdtempSync(join(tmpdir(), 'solconnect-bench-disk-'));
  const file = openSync(join(folder, 'block'), 'w');
  const block = Buffer.alloc(4_096, 1);
  const times = Array.from({ length: 100 }, (_, index) => {
    const start = performance.now();
    writeSync(file, block, 0, block.length, index * block.length);
    fsyncSync(file);
    return performance.now() - start;
  });
  closeSync(file);
  rmSync(folder, { recursive: true });
  return Number(median(times).toFixed(2));
}

function versionOf(name) {
  return JSON.parse(readFileSync(join(import.meta.dirname, 'node_modules', name, 'package.json'), 'utf8')).version;
}
