/** What a tab is made with. */
export interface TabConfig {
  /** Random, below 2^53. */
  id: number;
  /** The version of what tabs say to each other. */
  protocol: number;
  /** The oldest version of others that this one understands. */
  speaks: number;
  hasLocks: boolean;
  /** A digest of the options that all tabs of a database must share. */
  settings: string;
}

/** What one tab says to others. */
export interface TabMessage {
  protocol: number;
  speaks: number;
  from: number;
  to: number | undefined;
  kind: 'hello' | 'owner' | 'start' | 'call' | 'answer' | 'news' | 'ping' | 'pong' | 'seen' | 'bye' | 'free' | 'gone';
  claim: number;
  number: number;
  doneThrough: number;
  isKeyed: boolean;
  visible: boolean;
  settings: string | undefined;
  error: SdkError | undefined;
  body: unknown;
}

/** Something happened. The fields are described in `crates/core/src/tab/api.rs`. */
export type TabInput =
  | { type: 'open' | 'visible'; visible: boolean }
  | { type: 'close' | 'end' | 'locked' | 'unlocked' | 'fenced' | 'timeout' }
  | { type: 'call'; call: number; isKeyed: boolean; body: unknown }
  | { type: 'heard'; message: unknown }
  | { type: 'started'; claim: number }
  | { type: 'startFailed'; error: { code: string; message: string }; isFinal: boolean }
  | { type: 'ran'; from: number; call: number; isDone: boolean; result?: unknown }
  | { type: 'told' | 'gone'; body: unknown };

/** What to do. */
export type TabAction =
  | { type: 'lock' | 'steal' | 'unlock' | 'stop' | 'renewed' }
  | { type: 'start'; above: number }
  | { type: 'run'; from: number; call: number; key: { tab: number; call: number; doneThrough: number } | undefined; body: unknown }
  | { type: 'say'; message: TabMessage }
  | { type: 'answer'; call: number; result?: unknown; error?: SdkError }
  | { type: 'mirror' | 'tell' | 'gone'; body: unknown }
  | TabRole;

/** What a tab is. */
export type TabRole =
  | { type: 'role'; role: 'joining' | 'blocked' }
  | { type: 'role'; role: 'following'; claim: number }
  | { type: 'role'; role: 'owning'; claim: number; followerCount: number }
  | { type: 'role'; role: 'refused'; error: SdkError };
