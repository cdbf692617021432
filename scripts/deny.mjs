// What dependencies may be, by cargo-deny: what of it this machine can check, and what it cannot, by name.
import { existsSync, readdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { find } from './tools.mjs';

/** Where cargo-deny keeps the databases of known advisories that it has fetched. */
export function advisoryFolder(env = process.env) {
  return join(env.CARGO_HOME || join(homedir(), '.cargo'), 'advisory-dbs');
}

/**
 * The runs of it. One that cannot be done here has a reason, `skipped`: licences, sources and bans need the tool alone, advisories
 * a database of them too, which is not fetched: not every machine reaches it.
 */
export function denyRuns({ tool = find('cargo-deny'), folder = advisoryFolder() } = {}) {
  const [rules, advisories] = ['cargo-deny', 'cargo-deny, advisories'];
  if (!tool) {
    const skipped = 'cargo-deny is not installed';
    return [{ title: rules, skipped }, { title: advisories, skipped }];
  }
  const run = (title, ...args) => ({ title, command: 'cargo', args: ['deny', '--all-features', 'check', ...args], counts: () => null });
  const hasDatabase = existsSync(folder) && readdirSync(folder).length > 0;
  return [
    run(rules, 'bans', 'licenses', 'sources'),
    hasDatabase
      ? run(advisories, '--disable-fetch', 'advisories')
      : { title: advisories, skipped: `there is no advisory database in ${folder}: \`cargo deny fetch\` gets it` },
  ];
}
