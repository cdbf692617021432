// Why the relay cannot be reached. A browser does not tell a page why a WebSocket failed, so this asks around.

import type { ConnectionState } from '../solconnect_sync.js';
import { SyncError } from './errors.js';

/** How long the relay may take to say whether it serves this page. */
const ANSWER_TIMEOUT_MS = 5_000;

/** Finds out once in each outage, and says it until there is a connection again. */
export class Reasons {
  #relay: () => string | null;
  #warn: (error: SyncError) => void;
  #reason: SyncError | null = null;
  #asking: Promise<void> | null = null;
  /** Who waits for a reason. */
  #waiting = new Set<(reason: SyncError) => void>();

  constructor(relay: () => string | null, warn: (error: SyncError) => void) {
    this.#relay = relay;
    this.#warn = warn;
  }

  /** Listens while an engine runs. A page's policy is told by an event, and only while the attempt is made. */
  attach(engine: object | null): void {
    if (engine) globalThis.addEventListener?.('securitypolicyviolation', this.#blocked);
    else globalThis.removeEventListener?.('securitypolicyviolation', this.#blocked);
  }

  /** What a handler has missed that is added in an outage: the first attempt is made before `connect` resolves. */
  get standing(): readonly { error: SyncError }[] {
    return this.#reason ? [{ error: this.#reason }] : [];
  }

  /** Follows the connection. */
  take(state: ConnectionState): void {
    if (state === 'connected') {
      this.#reason = null;
      this.#asking = null;
    } else if (state === 'waiting') {
      this.#asking ??= this.#ask();
    }
  }

  /** The same error, or a better one where the reason for it is known. */
  async explain(error: SyncError): Promise<SyncError> {
    if (error.code !== 'CONNECTION_FAILED' && error.code !== 'RELAY_DISCONNECTED') return error;
    await this.#asking;
    return this.#reason ? new SyncError(this.#reason.code, this.#reason.message, { cause: error }) : error;
  }

  /** What some work gives, or the reason as soon as it is known: no further attempt can succeed then. */
  async unlessKnown<T>(work: Promise<T>): Promise<T | SyncError> {
    if (this.#reason) return this.#reason;
    let wait: (reason: SyncError) => void = () => {};
    const reason = new Promise<SyncError>((resolve) => {
      wait = resolve;
      this.#waiting.add(wait);
    });
    try {
      return await Promise.race([work, reason]);
    } finally {
      this.#waiting.delete(wait);
    }
  }

  readonly #blocked = (event: Event): void => {
    const { effectiveDirective, blockedURI } = event as SecurityPolicyViolationEvent;
    const relay = this.#relay();
    if (!relay || effectiveDirective !== 'connect-src' || !isWithin(relay, blockedURI)) return;
    this.#found(new SyncError('CONNECTION_BLOCKED', `this page's Content-Security-Policy forbids ${relay}: its connect-src needs it, see docs/deploy.md`));
  };

  /** Asks the relay whether it serves this page's origin. A relay that is not there has no answer, and needs none. */
  async #ask(): Promise<void> {
    const relay = this.#relay();
    if (relay && !('WebSocket' in globalThis)) {
      this.#found(new SyncError('CONNECTION_FAILED', 'there is no WebSocket here: Node.js 20 needs --experimental-websocket'));
      return;
    }
    const { origin } = globalThis.location ?? {};
    if (!relay || !origin || this.#reason) return;
    const address = new URL(relay.replace(/^ws/, 'http'));
    address.search = `?solconnect-origin=${encodeURIComponent(origin)}`;
    try {
      const response = await fetch(address, { signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS), credentials: 'omit' });
      const answer = (await response.json()) as { relay?: unknown; originAllowed?: unknown };
      if (answer.relay !== 'solconnect' || answer.originAllowed !== false) return;
    } catch {
      return;
    }
    this.#found(new SyncError('ORIGIN_REFUSED', `the relay ${relay} does not serve pages of ${origin}: start it with --allow-origin ${origin}`));
  }

  #found(reason: SyncError): void {
    if (this.#reason) return;
    this.#reason = reason;
    this.#warn(reason);
    for (const wait of this.#waiting) wait(reason);
  }
}

/** Whether what was blocked is the connection to the relay, and not the question to it; reports name it by its origin alone or in full. */
function isWithin(relay: string, blocked: string): boolean {
  if (!URL.canParse(blocked)) return false;
  const [one, other] = [new URL(relay), new URL(blocked)];
  return one.host === other.host && one.protocol === other.protocol;
}
