// Who is told what. Handlers outlive engines: each engine that starts tells those events that somebody listens to.

import type {
  Conflict, ConnectionState, DeviceState, DeviceView, MessageStatus, MessageView, RecoveryView, SyncEvents, SyncProgress, SyncStats,
} from '../solconnect_sync.js';
import { functionOf, unknownName } from './arguments.js';
import { errorOf, type SyncError } from './errors.js';
import { type Message, messageOf } from './message.js';
import type { Port, TabState } from './port.js';

/**
 * What each event tells. The names of the first protocol, such as `onStatusChanged`, work too: their handlers get the same
 * values one by one, in this order.
 */
export interface SdkEvents {
  /** A sync of a session began. */
  syncStarted: { sessionId: string };
  /** It went on. `messagesSynced` never falls. */
  syncProgress: { sessionId: string; progress: SyncProgress };
  /** All is sent and stored. */
  syncCompleted: { sessionId: string; stats: SyncStats };
  /** It failed for now, with one of the codes of `syncMessages`; what is queued stays queued. */
  syncFailed: { sessionId: string; error: SyncError };
  /** Messages, or versions of one message, were written without knowing of each other. */
  conflictDetected: { sessionId: string; conflicts: Conflict[] };
  /** An own message is in the stored log. */
  messageSynced: { sessionId: string; messageId: string };
  /**
   * A message of this wallet moved on, or an edit or deletion, which has an id of its own (that of its receipt). With `failed`, `error` says why the relay refused it for good: `MESSAGE_ID_TAKEN`,
   * `MESSAGE_TOO_LARGE`, `INVALID_MESSAGE_FORMAT`, or another refusal of the relay.
   */
  statusChanged: { sessionId: string; messageId: string; status: MessageStatus; error?: SyncError };
  /** A message has another winning version, or its versions are in conflict. */
  messageChanged: { sessionId: string; messageId: string };
  /** Devices of a session came, left or went on. */
  devicesChanged: { sessionId: string; devices: DeviceState[] };
  /** The connection to the relay changed. */
  connectionChanged: { state: ConnectionState };
  /** So many messages wait now. */
  queueChanged: { queuedMessageCount: number };
  /**
   * This device goes on under a new id in all sessions, because its storage was copied or set back, or because it was removed from the
   * account. Messages keep their ids.
   */
  deviceReplaced: { oldId: string; newId: string };
  /**
   * The relay's log of a session has taken the place of the stored one (`acceptRelayLog`). What was stored behind the entry `keptThrough`
   * left, and comes again from the relay or from who wrote it; so many messages of it are this device's, and are queued.
   */
  logReplaced: { sessionId: string; keptThrough: number; offeredCount: number };
  /** The connected wallet has one more device; also this one, when it has signed in for the first time. `getDevices()` has them all. */
  deviceAdded: { device: DeviceView };
  /** That device waits to be approved, and this one may do it: `approveDevice`. */
  deviceRequest: { device: DeviceView };
  /**
   * This device and that one, of which one is approved and the other one waits, show another number than before (`device.number`), or none any
   * more. Told on both. A person who sees the same number on both has both before them: `approveDevice`.
   */
  deviceNumber: { device: DeviceView };
  /** A device of the connected wallet was approved. */
  deviceApproved: { deviceId: string };
  /** A device is none of the connected wallet's any more, and its key never will be again. Of this device itself `signInNeeded` tells too. */
  deviceRemoved: { deviceId: string };
  /** The connected wallet has another recovery code or passkey, made here or on another of its devices, or one of them no longer. */
  recoveryChanged: { recovery: RecoveryView };
  /**
   * The relay serves this device only when its wallet has signed: it has not, could not or would not (`WALLET_REJECTED`,
   * `WALLET_CANNOT_SIGN` and other codes of the wallet), the relay did not take what it signed (`CERTIFICATE_EXPIRED` and others), or the
   * device was removed (`DEVICE_REMOVED`). What is stored can be read, and what is written waits; a device that was removed refuses to write.
   * `signIn` asks again. A handler that is added while it is so hears it at once.
   */
  signInNeeded: { error?: SyncError };
  /**
   * The browser has deleted what was stored, it could not be made again, and nobody keeps these messages any more: keep their
   * texts, or show them to the person. They were not sent, as far as this device knows. An edit that was not sent is told as its
   * message with the new text. Where the storage could be made again nothing is lost, and `warning` alone tells of it.
   */
  storageLost: { lost: Message[] };
  /** Something is wrong that no call can be blamed for; see `onWarning` for the codes. */
  warning: { error: SyncError };
  /**
   * Another wallet has begun a session with this one, or added it to a group, which has a `name`: once for each handler, also one that is added later, until the user answers (`acceptSession`,
   * `declineSession`, `blockWallet`), also offline. A session that another device of this wallet began or accepted is no
   * invitation: it is simply there.
   */
  sessionInvited: { sessionId: string; peerWallet: string; name?: string };
  /**
   * Who is in a group, who may change it, or what it is called is otherwise, or this wallet is in it no more: `getMembers`,
   * `conversations`. Also told when this device has queued such a change.
   */
  membersChanged: { sessionId: string };
  /**
   * An epoch began in an encrypted session, somebody came or left, or this device can read more: `getEncryption`. What else it shows,
   * `deviceApproved`, `deviceRemoved` and `signInNeeded` tell.
   */
  encryptionChanged: { sessionId: string };
  /** Another wallet is connected now, or none (`null`): by a call, or because the person switched in the wallet itself. */
  walletChanged: { address: string | null };
  /** This tab has another role among those of its wallet, or, while it waits for its turn, another number of calls that wait with it. See `getTabRole`. */
  tabChanged: TabState;
}

type EventName = keyof SdkEvents;

/** In the order of the arguments of handlers of the old names. */
const FIELDS: { readonly [E in EventName]: readonly (keyof SdkEvents[E] & string)[] } = {
  syncStarted: ['sessionId'],
  syncProgress: ['sessionId', 'progress'],
  syncCompleted: ['sessionId', 'stats'],
  syncFailed: ['sessionId', 'error'],
  conflictDetected: ['sessionId', 'conflicts'],
  messageSynced: ['sessionId', 'messageId'],
  statusChanged: ['sessionId', 'messageId', 'status', 'error'],
  messageChanged: ['sessionId', 'messageId'],
  devicesChanged: ['sessionId', 'devices'],
  connectionChanged: ['state'],
  queueChanged: ['queuedMessageCount'],
  deviceReplaced: ['oldId', 'newId'],
  logReplaced: ['sessionId', 'keptThrough', 'offeredCount'],
  deviceAdded: ['device'],
  deviceRequest: ['device'],
  deviceNumber: ['device'],
  deviceApproved: ['deviceId'],
  deviceRemoved: ['deviceId'],
  recoveryChanged: ['recovery'],
  signInNeeded: ['error'],
  storageLost: ['lost'],
  warning: ['error'],
  sessionInvited: ['sessionId', 'peerWallet', 'name'],
  membersChanged: ['sessionId'],
  encryptionChanged: ['sessionId'],
  walletChanged: ['address'],
  tabChanged: ['role', 'waitingCallCount'],
};

type Handler = (...values: never[]) => void;

interface Listener {
  /** The name that it was added under. */
  readonly event: string;
  readonly handler: Handler;
}

const oldName = (name: EventName): string => `on${name[0]?.toUpperCase()}${name.slice(1)}`;

/** What is so now: what events would have told whoever listens from now on. */
type Standing = (name: EventName) => readonly SdkEvents[EventName][];

/** Adds, removes and tells the handlers of an SDK. */
export class Listeners {
  readonly #standing: Standing;
  #listeners: readonly Listener[] = [];
  #engine: Port | null = null;
  /** What the engine tells already. */
  #forwarded = new Set<EventName>();
  /** Why the wallet of this engine did not sign, as the surface told it: the engine does not know. */
  #signInError: SyncError | undefined;
  #isAsked = false;

  constructor(standing: Standing) {
    this.#standing = standing;
  }

  /**
   * Adds a handler; the same one of the same event is added once. What is so already it is told behind the present turn.
   *
   * Errors, thrown: `INVALID_ARGUMENT` for an event that there is not, and for a handler that is no function.
   */
  add(event: unknown, handler: Handler): () => void {
    const name = nameOf(event);
    functionOf('the handler', handler);
    const isThere = this.#listeners.some((listener) => listener.event === event && listener.handler === handler);
    if (!isThere) {
      const listener = { event: event as string, handler };
      this.#listeners = [...this.#listeners, listener];
      const standing = this.#standing(name);
      if (standing.length > 0) queueMicrotask(() => standing.forEach((event) => this.#tellOne(listener, name, valuesOf(name, event))));
    }
    this.#forward(name);
    return () => this.remove(event, handler);
  }

  /** Removes a handler; also one that was not added. */
  remove(event: unknown, handler: unknown): void {
    this.#listeners = this.#listeners.filter((listener) => listener.event !== event || listener.handler !== handler);
  }

  /** From now on events come from this engine, or from none. */
  attach(engine: Port | null): void {
    this.#engine = engine;
    this.#forwarded = new Set();
    this.#signInError = undefined;
    for (const { event } of this.#listeners) this.#forward(nameOf(event));
  }

  #forward(name: EventName): void {
    const engine = this.#engine;
    if (!engine || name === 'walletChanged' || name === 'tabChanged' || this.#forwarded.has(name)) return;
    this.#forwarded.add(name);
    const place = (FIELDS[name] as readonly string[]).indexOf('error');
    const tell = (...values: unknown[]): void => {
      if (this.#engine !== engine || (name === 'signInNeeded' && this.#isAsked && !values[0])) return;
      if (values[place]) values[place] = errorOf(values[place]);
      if (name === 'storageLost') values[0] = (values[0] as MessageView[]).map((view) => messageOf(view, view.sender_wallet));
      this.#tell(name, values);
    };
    engine.on(oldName(name) as keyof SyncEvents, tell);
  }

  /** Tells of an event that the surface makes. */
  emit<E extends EventName>(name: E, event: SdkEvents[E]): void {
    if (name === 'signInNeeded') this.#signInError = (event as SdkEvents['signInNeeded']).error;
    this.#tell(name, valuesOf(name, event));
  }

  /** The wallet is asked to sign, or has answered: meanwhile nobody else need ask it. */
  asking(isAsked: boolean): void {
    this.#isAsked = isAsked;
  }

  /** The wallet has signed: what kept it from that before is no reason any more. */
  signed(): void {
    this.#signInError = undefined;
  }

  /** A handler that throws is reported and disturbs nobody. As of an `EventTarget`: one that was removed meanwhile does not hear it, nor one that was added. */
  #tell(name: EventName, values: readonly unknown[]): void {
    for (const listener of this.#listeners) if (listener.event === name || listener.event === oldName(name)) this.#tellOne(listener, name, values);
  }

  #tellOne(listener: Listener, name: EventName, values: readonly unknown[]): void {
    const { event, handler } = listener;
    if (!this.#listeners.includes(listener)) return;
    if (name === 'signInNeeded') values = [values[0] ?? this.#signInError];
    const fields = FIELDS[name].map((field, place) => [field, values[place]] as const).filter(([, value]) => value !== undefined);
    try {
      if (event === name) (handler as (event: object) => void)(Object.fromEntries(fields));
      else (handler as (...values: readonly unknown[]) => void)(...values);
    } catch (thrown) {
      console.error(thrown);
    }
  }
}

function valuesOf<E extends EventName>(name: E, event: SdkEvents[E]): readonly unknown[] {
  return FIELDS[name].map((field) => event[field]);
}

function nameOf(event: unknown): EventName {
  const names = Object.keys(FIELDS) as EventName[];
  const name = names.find((name) => name === event || oldName(name) === event);
  if (!name) throw unknownName('the SDK', 'event', typeof event === 'string' ? event : typeof event, names);
  return name;
}
