// solconnect-sync/status: the element <solconnect-sync-status>, which says where syncing stands. Importing it defines it.

import type { StatusSdk } from './sdk.js';
import { IDLE, syncStateOf, type SyncState } from './sync-status.js';

/** What the element shows, the most urgent first; its `state` attribute has it, for styles. */
export type StatusName = 'storage' | 'conflict' | 'signed-out' | 'offline' | 'connecting' | 'syncing' | 'queued' | 'synced';

/** What the element says, for other languages. The state has the numbers. */
export type StatusTexts = { readonly [name in StatusName]: (state: SyncState) => string };

const count = (number: number, one: string, many: string): string => number === 1 ? `1 ${one}` : `${number} ${many}`;

const TEXTS: StatusTexts = {
  storage: ({ storageError, waitingCallCount }) =>
    (storageError?.userMessage ?? 'The storage of this device has failed.') + (waitingCallCount ? ` ${count(waitingCallCount, 'change waits', 'changes wait')} in this tab.` : ''),
  conflict: ({ conflictCount }) => `${count(conflictCount, 'message was', 'messages were')} changed in two places`,
  'signed-out': () => 'Not signed in',
  offline: ({ queuedMessageCount }) => queuedMessageCount ? `Offline, ${queuedMessageCount} waiting` : 'Offline',
  connecting: () => 'Connecting…',
  syncing: () => 'Syncing…',
  queued: ({ queuedMessageCount }) => `${queuedMessageCount} waiting`,
  synced: () => 'Up to date',
};

/** The most urgent first. */
const NAMES = Object.keys(TEXTS) as StatusName[];

/** How long a state is shown before a less urgent one: many last for a few milliseconds. */
const HOLD_MS = 400;

/** How long a state must last to be read out. */
const LASTS_MS = 1_000;

function nameOf({ storageError, conflictCount, isSignedOut, connection, isSyncing, queuedMessageCount }: SyncState): StatusName {
  if (storageError) return 'storage';
  if (conflictCount > 0) return 'conflict';
  if (isSignedOut) return 'signed-out';
  if (connection === 'offline' || connection === 'waiting') return 'offline';
  if (connection === 'connecting') return 'connecting';
  if (isSyncing) return 'syncing';
  return queuedMessageCount > 0 ? 'queued' : 'synced';
}

const CSS = `
:host { --c: var(--solconnect-synced, #1a7f37); display: inline-block; font: var(--solconnect-font, 0.875rem/1.4 system-ui, sans-serif); color: var(--solconnect-color, #1f2328); color-scheme: light dark }
:host([hidden]) { display: none }
:host([state=storage]) { --c: var(--solconnect-storage, #cf222e) }
:host([state=conflict]) { --c: var(--solconnect-conflict, #9a6700) }
:host(:is([state=offline], [state=signed-out])) { --c: var(--solconnect-offline, #6e7781) }
:host(:is([state=connecting], [state=syncing], [state=queued])) { --c: var(--solconnect-active, #0969da) }
[part=base] { display: inline-flex; align-items: center; gap: 0.5em }
[part=dot] { flex: none; inline-size: 0.625em; block-size: 0.625em; border-radius: 50%; background: var(--c); forced-color-adjust: none }
[role=status] { position: absolute; inline-size: 1px; block-size: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap }
[part=progress] { inline-size: 6em; block-size: 0.5em; accent-color: var(--c) }
[part=progress][hidden] { display: none }
:host(:is([state=connecting], [state=syncing])) [part=dot] { animation: pulse 1.2s ease-in-out infinite alternate }
@keyframes pulse { to { opacity: 0.3 } }
@media (prefers-reduced-motion: reduce) { [part=dot] { animation: none !important } }
@media (prefers-color-scheme: dark) {
  :host { --c: var(--solconnect-synced, #3fb950); color: var(--solconnect-color, #e6edf3) }
  :host([state=storage]) { --c: var(--solconnect-storage, #f85149) }
  :host([state=conflict]) { --c: var(--solconnect-conflict, #d29922) }
  :host(:is([state=offline], [state=signed-out])) { --c: var(--solconnect-offline, #8b949e) }
  :host(:is([state=connecting], [state=syncing], [state=queued])) { --c: var(--solconnect-active, #58a6ff) }
}`;

let sheet: CSSStyleSheet | undefined;

/** The styles of all elements. A sheet that is made by script needs no `style-src` in a page's policy. */
function styles(): CSSStyleSheet {
  if (!sheet) {
    sheet = new CSSStyleSheet();
    sheet.replaceSync(CSS);
  }
  return sheet;
}

// Servers have no elements, and import this file all the same.
const Base = globalThis.HTMLElement ?? (class {} as typeof HTMLElement);

/**
 * Says where syncing stands: storage trouble, conflict, not signed in, offline, connecting, syncing with a progress bar, so many
 * waiting, up to date. What is more urgent is shown at once; each state is held for 400 ms before a less urgent one, so that nothing
 * flickers. Screen readers are told of a state that lasts for a second, politely.
 *
 * Parts for styles: `base`, `dot`, `text`, `progress`. Custom properties: `--solconnect-font`, `--solconnect-color`, and for the dot and
 * the bar `--solconnect-synced`, `-active`, `-offline`, `-conflict`, `-storage`.
 *
 * @example
 * ```ts
 * import 'solconnect-sync/status';
 * document.querySelector('solconnect-sync-status').sdk = sdk;
 * ```
 */
export class SolconnectSyncStatus extends Base {
  #sdk: StatusSdk | null = null;
  #texts = TEXTS;
  #end: (() => void) | undefined;
  #parts: Parts | undefined;
  #shown: { readonly name: StatusName; readonly sinceMs: number } | undefined;
  #holding: ReturnType<typeof setTimeout> | undefined;
  #saying: ReturnType<typeof setTimeout> | undefined;

  /** Whose status it shows; `null` for none. */
  get sdk(): StatusSdk | null {
    return this.#sdk;
  }

  set sdk(sdk: StatusSdk | null) {
    this.#sdk = sdk;
    if (this.isConnected) this.connectedCallback();
  }

  /** What it says: those that are left out are in English. */
  get texts(): StatusTexts {
    return this.#texts;
  }

  set texts(texts: Partial<StatusTexts>) {
    this.#texts = { ...TEXTS, ...texts };
    this.#show();
  }

  connectedCallback(): void {
    // What was set before the element was defined hides the accessor.
    for (const name of ['sdk', 'texts'] as const) {
      const own = Object.getOwnPropertyDescriptor(this, name);
      if (own && delete this[name as never]) Object.assign(this, { [name]: own.value as unknown });
    }
    this.disconnectedCallback();
    this.#end = this.#sdk ? syncStateOf(this.#sdk).subscribe(() => this.#show()) : undefined;
    this.#show();
  }

  disconnectedCallback(): void {
    this.#end?.();
    this.#end = undefined;
    clearTimeout(this.#holding);
    clearTimeout(this.#saying);
    this.#saying = undefined;
    // What comes next has nothing to do with it.
    this.#shown = undefined;
  }

  #show(): void {
    if (!this.isConnected) return;
    const { text, status, progress } = this.#parts ??= this.#build();
    const state = this.#sdk ? syncStateOf(this.#sdk).getSnapshot() : IDLE;
    const name = nameOf(state);
    const shown = this.#shown;
    clearTimeout(this.#holding);
    const heldMs = shown ? performance.now() - shown.sinceMs : HOLD_MS;
    if (shown && NAMES.indexOf(name) > NAMES.indexOf(shown.name) && heldMs < HOLD_MS) {
      this.#holding = setTimeout(() => this.#show(), HOLD_MS - heldMs);
      return;
    }
    const isAnother = shown?.name !== name;
    if (isAnother) this.#shown = { name, sinceMs: performance.now() };
    if (this.getAttribute('state') !== name) this.setAttribute('state', name);
    const says = this.#texts[name](state);
    if (text.textContent !== says) {
      text.textContent = says;
      // What there is to begin with is no news.
      if (shown) this.#sayLater(text, status, isAnother);
      else status.textContent = says;
    }
    progress.hidden = name !== 'syncing' || !state.progress;
    progress.max = state.progress?.totalMessages ?? 1;
    progress.value = Math.min(state.progress?.messagesSynced ?? 0, progress.max);
    progress.setAttribute('aria-label', this.#texts.syncing(state));
  }

  /** Screen readers say what changes and lasts, and nothing else. Of the same state, at most one text in that time. */
  #sayLater(text: HTMLElement, status: HTMLElement, isAnother: boolean): void {
    if (isAnother) clearTimeout(this.#saying);
    else if (this.#saying !== undefined) return;
    this.#saying = setTimeout(() => {
      this.#saying = undefined;
      if (status.textContent !== text.textContent) status.textContent = text.textContent;
    }, LASTS_MS);
  }

  #build(): Parts {
    const root = this.attachShadow({ mode: 'open' });
    root.adoptedStyleSheets = [styles()];
    const make = <K extends keyof HTMLElementTagNameMap>(tag: K, part: string): HTMLElementTagNameMap[K] => {
      const element = document.createElement(tag);
      element.setAttribute('part', part);
      return element;
    };
    const [base, dot, text, progress] = [make('span', 'base'), make('span', 'dot'), make('span', 'text'), make('progress', 'progress')];
    const status = document.createElement('span');
    // What is seen and what is read out are two: what is seen changes all the time.
    for (const seen of [dot, text]) seen.setAttribute('aria-hidden', 'true');
    status.setAttribute('role', 'status');
    status.setAttribute('aria-live', 'polite');
    base.append(dot, text, status, progress);
    root.append(base);
    return { text, status, progress };
  }
}

interface Parts {
  readonly text: HTMLElement;
  /** What is read out. */
  readonly status: HTMLElement;
  readonly progress: HTMLProgressElement;
}

declare global {
  interface HTMLElementTagNameMap {
    'solconnect-sync-status': SolconnectSyncStatus;
  }
}

// Another copy of this file may have defined it.
if (globalThis.customElements && !customElements.get('solconnect-sync-status')) customElements.define('solconnect-sync-status', SolconnectSyncStatus);
