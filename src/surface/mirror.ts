// What the owning tab tells the others of its state, and what their getters answer from it.

import type {
  ConnectionState, DeviceState, DeviceView, InvitationView, EngineError, RecoveryView, SessionView, SolConnectSDK as Engine, SyncStats, SyncStatus,
} from '../solconnect_sync.js';
import { textOf } from './arguments.js';
import { errorOf, SyncError } from './errors.js';

/** What there is to know of one session. */
export interface SessionState {
  readonly view: SessionView;
  readonly devices: DeviceState[];
  readonly stats: SyncStats;
}

/** What applications wished of the device in any tab, and what no store has. The next owner goes by it. */
export interface Wishes {
  readonly offline: boolean;
  /** Sessions with auto-sync: the interval, or `undefined` for the configured one. */
  readonly autoSync: { readonly [sessionId: string]: number | undefined };
}

/** The state of an engine, or, in news, so much of it as may have changed: all but the sessions, and those of them that were named. */
export interface State {
  readonly status: SyncStatus;
  readonly connection: ConnectionState;
  readonly deviceId: string;
  /** Of the wallet. An owner of an earlier version tells none. */
  readonly accountDevices?: DeviceView[];
  readonly recovery?: RecoveryView;
  readonly invitations: InvitationView[];
  readonly sessions: { readonly [sessionId: string]: SessionState };
  readonly wishes: Wishes;
}

type EngineResult<T> = { success: true; data: T } | { success: false; error: EngineError };

/** The getters of an engine. */
export const GETTERS = [
  'getSyncStatus', 'getConnectionStatus', 'getActiveSessions', 'getStoredSessions', 'getInvitations', 'getDeviceId', 'getDevices', 'getAccountDevices', 'getRecovery', 'getSyncStats',
] as const;

export type Readable = Pick<Engine, (typeof GETTERS)[number]>;

const must = <T>(result: EngineResult<T>): T => {
  if (result.success) return result.data;
  throw errorOf(result.error);
};

function viewOf(engine: Engine, sessionId: string): SessionView[] {
  const session = engine.getSession(sessionId);
  return session.success ? [session.data] : [];
}

/** The state of an engine, with the stored ones of these sessions; without ids, with all. */
export function stateOf(engine: Engine, wishes: Wishes, sessionIds?: ReadonlySet<string>): State {
  const sessions: { [sessionId: string]: SessionState } = {};
  const views = sessionIds ? [...sessionIds].flatMap((id) => viewOf(engine, id)) : must(engine.getStoredSessions());
  for (const view of views) {
    const id = view.session_id;
    sessions[id] = { view, devices: must(engine.getDevices(id)), stats: must(engine.getSyncStats(id)) };
  }
  return {
    status: must(engine.getSyncStatus()), connection: must(engine.getConnectionStatus()), deviceId: must(engine.getDeviceId()),
    accountDevices: must(engine.getAccountDevices()), recovery: must(engine.getRecovery()),
    invitations: must(engine.getInvitations()), sessions, wishes,
  };
}

/** The state of an engine in another tab, as far as it was told. It answers as the engine would. */
export class Mirror implements Readable {
  #state: State;

  constructor(state: State) {
    this.#state = state;
  }

  get state(): State {
    return this.#state;
  }

  /** Takes in news. */
  take(news: State): void {
    this.#state = { ...news, sessions: { ...this.#state.sessions, ...news.sessions } };
  }

  getSyncStatus(): EngineResult<SyncStatus> {
    return told(this.#state.status);
  }

  getConnectionStatus(): EngineResult<ConnectionState> {
    return told(this.#state.connection);
  }

  getActiveSessions(): EngineResult<SessionView[]> {
    return told(this.#views.filter(({ isActive }) => isActive));
  }

  getStoredSessions(): EngineResult<SessionView[]> {
    return told(this.#views);
  }

  getInvitations(): EngineResult<InvitationView[]> {
    return told(this.#state.invitations);
  }

  getDeviceId(): EngineResult<string> {
    return told(this.#state.deviceId);
  }

  getAccountDevices(): EngineResult<DeviceView[]> {
    return told(this.#state.accountDevices ?? []);
  }

  getRecovery(): EngineResult<RecoveryView> {
    return told(this.#state.recovery ?? {});
  }

  getDevices(sessionId: string): EngineResult<DeviceState[]> {
    return this.#of(sessionId, 'devices');
  }

  getSyncStats(sessionId: string): EngineResult<SyncStats> {
    return this.#of(sessionId, 'stats');
  }

  /** In the engine's order, which is that of their ids. */
  get #views(): SessionView[] {
    const { sessions } = this.#state;
    return Object.keys(sessions).sort().map((id) => (sessions[id] as SessionState).view);
  }

  #of<F extends keyof SessionState>(sessionId: string, field: F): EngineResult<SessionState[F]> {
    const { sessions } = this.#state;
    try {
      if (Object.hasOwn(sessions, textOf('sessionId', sessionId))) return told((sessions[sessionId] as SessionState)[field]);
      throw new SyncError('UNKNOWN_SESSION', 'the session was not started on this device: call startSession, or acceptSession for an invitation');
    } catch (thrown) {
      return { success: false, error: errorOf(thrown) };
    }
  }
}

/** A copy: who reads it may change it. */
const told = <T>(data: T): EngineResult<T> => ({ success: true, data: structuredClone(data) });
