// Where programs are.
import { accessSync, constants, existsSync, readdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { output, Problem } from './shell.mjs';

const chromiumNames = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];
const chromiumPaths = ['/Applications/Chromium.app/Contents/MacOS/Chromium', '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome'];

/** The first file of that name on the PATH that may be run, or null. */
export function find(name) {
  const paths = process.env.PATH.split(delimiter).map((folder) => join(folder, name));
  return paths.find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  }) ?? null;
}

/** Whether the first program of that name is of exactly this version. */
export function hasVersion(name, version) {
  return output(name, ['--version'])?.split(/\s+/).includes(version) ?? false;
}

/** Rust's name of this machine for the packed relay: on Linux the statically linked kind, which runs on every distribution. */
export function relayTarget() {
  const host = /^host: (\S+)$/m.exec(output('rustc', ['-vV']))?.[1];
  if (!host) throw new Problem('`rustc -vV` names no host: install Rust with rustup (https://rustup.rs).');
  return host.replace(/-unknown-linux-\w+$/, '-unknown-linux-musl');
}

/** nginx, which distributions put where only root's PATH looks; null where there is none. */
export function findNginx() {
  return find('nginx') ?? ['/usr/sbin/nginx', '/usr/local/sbin/nginx'].find(existsSync) ?? null;
}

/** Firefox, of any kind; null where there is none. */
export function findFirefox() {
  return find('firefox') ?? find('firefox-esr');
}

/** WebKitGTK's own browser, which distributions put beside its library; null where there is none. */
export function findMiniBrowser() {
  const libraries = ['/usr/libexec', '/usr/lib', ...foldersIn('/usr/lib')];
  return libraries.flatMap(foldersIn).filter((folder) => /webkit2?gtk-/.test(folder)).map((folder) => join(folder, 'MiniBrowser')).find(existsSync) ?? null;
}

function foldersIn(path) {
  if (!existsSync(path)) return [];
  return readdirSync(path, { withFileTypes: true }).filter((entry) => entry.isDirectory()).map(({ name }) => join(path, name));
}

/** A Chromium: $CHROMIUM, or one of the usual names; null where there is none. */
export function findChromium() {
  const wanted = process.env.CHROMIUM;
  if (wanted) {
    if (!existsSync(wanted)) throw new Problem(`CHROMIUM names ${wanted}, and there is no such file.`);
    return wanted;
  }
  return chromiumNames.map(find).find(Boolean) ?? chromiumPaths.find(existsSync) ?? null;
}
