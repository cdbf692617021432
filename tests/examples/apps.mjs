// The example apps: how each is run, and the tests of each.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { root } from '../../scripts/shell.mjs';
import { pack, Project } from '../bundlers/project.mjs';
import { scene } from '../e2e/harness/scene.mjs';
import { relayName } from './person.mjs';
import { tellStory } from './story.mjs';

const server = (command) => (port) => ['vite', ...command, '--host', '127.0.0.1', '--port', port, '--strictPort'];
const withVite = { dev: server([]), build: [['vite', 'build']], preview: server(['preview']) };

/** By the folder's name: how `Project` runs it. What has no build is served as it is, and needs none of its tools. */
const ways = { react: withVite, vue: withVite, svelte: withVite, plain: { folder: '.', packages: {} } };

/** Bundling, two people and a few hundred messages, on a machine that does much else. */
const deadlineMs = 300_000;

/** An example app with the packed package, which its own package.json takes from this folder. `drive` does something with it. */
export class Example extends Project {
  #drive;

  constructor(name, tarball, drive) {
    const folder = join(root, 'examples', name);
    const { dependencies, devDependencies } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
    const { 'solconnect-sync': _, ...others } = dependencies;
    super(`example ${name}`, { packages: { ...others, ...devDependencies }, files: [folder], ...ways[name] }, tarball);
    this.#drive = drive;
  }

  drive(url, browser, relay) {
    return this.#drive(url, browser, relay);
  }
}

/** Tells the story with an app in its dev server and as its production build. */
export function tellItWith(name) {
  const stage = scene({ auth: 'wallet', www: null, options: ['--public-url', relayName] });
  const folder = mkdtempSync(join(tmpdir(), 'solconnect-packed-'));
  after(() => rmSync(folder, { recursive: true, force: true }));
  let app;
  before(async () => {
    app = new Example(name, pack(folder), tellStory);
    await app.install();
  }, { timeout: deadlineMs });
  for (const way of ways[name].dev ? ['dev server', 'build'] : ['as it is']) {
    test(`two people have the whole story, ${way}`, { timeout: deadlineMs }, async () => {
      const work = new Map(app.ways(stage.browser, stage.relay)).get(way);
      await work();
    });
  }
}
