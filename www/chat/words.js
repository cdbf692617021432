// How wallets, conversations, times and statuses are shown.

import { count, el, svg } from '../dom.js';

/** A wallet in a few characters: nobody reads 44 of them. */
export const short = (wallet) => (wallet.length > 12 ? `${wallet.slice(0, 4)}…${wallet.slice(-4)}` : wallet);

/** The number that two devices show, as people compare it. */
export const spaced = (number) => `${number.slice(0, 3)} ${number.slice(3)}`;

/** What a device is called. */
export const deviceName = ({ isThisDevice, id }) => (isThisDevice ? `This device, ${id.slice(0, 6)}` : `Device ${id.slice(0, 6)}`);

const BROWSERS = [[/Edg\//, 'Edge'], [/OPR\//, 'Opera'], [/Firefox\//, 'Firefox'], [/Chrome\//, 'Chrome'], [/Safari\//, 'Safari']];
const SYSTEMS = [[/Android/, 'Android'], [/iPhone|iPad/, 'iOS'], [/CrOS/, 'ChromeOS'], [/Windows/, 'Windows'], [/Mac OS X/, 'macOS'], [/Linux/, 'Linux']];

/** Whether this browser has passkeys. Whether what keeps them can be used for this, only trying tells. */
export const HAS_PASSKEYS = globalThis.isSecureContext && 'PublicKeyCredential' in globalThis;

/** What one can come back by here, in a word; empty where there is nothing. */
export const waysBack = ({ code, passkey } = {}) => [code && 'recovery code', passkey && HAS_PASSKEYS && 'passkey'].filter(Boolean).join(' or ');

/** Of a passkey that the account does not have any more. */
export const LEFTOVER = 'The passkey that you had opens nothing any more: delete it in your password manager, or where else it is kept.';

/** What this browser is, for people. Of other devices nobody says it. */
export function thisBrowser({ userAgent } = navigator) {
  const named = (names) => names.find(([sign]) => sign.test(userAgent))?.[1];
  return `${named(BROWSERS) ?? 'A browser'} on ${named(SYSTEMS) ?? 'a device'}`;
}

/** Whether it may be one: only the SDK knows. */
export const isAddress = (text) => /^[1-9A-HJ-NP-Za-km-z]{32,44}$/.test(text);

export const isGroup = (conversation) => conversation.kind === 'group';

/** What a conversation of this wallet is called. */
export function titleOf(conversation, own) {
  if (isGroup(conversation)) return conversation.name;
  return conversation.peerWallet === own ? 'Notes to yourself' : short(conversation.peerWallet);
}

/** The picture of a conversation. */
export const pictureOf = (conversation) => picture(isGroup(conversation) ? conversation.sessionId : conversation.peerWallet);

/** Why nothing can be written in a group any more. */
export const OUT = { left: 'You left this group.', removed: 'You were removed from this group.' };

export const membersOf = ({ members }) => count(members.length, 'member');

const HUES = 6;
const CELLS = 5;

function seedOf(wallet) {
  let seed = 2166136261;
  for (const character of wallet) seed = Math.imul(seed ^ character.codePointAt(0), 16777619) >>> 0;
  return seed;
}

/** The class of a wallet's colour. */
export const hueOf = (wallet) => `hue-${seedOf(wallet) % HUES}`;

/** A picture that is always the same for a wallet: addresses look alike. */
export function picture(wallet) {
  let seed = seedOf(wallet);
  let path = '';
  for (let column = 0; column < 3; column += 1) {
    for (let row = 0; row < CELLS; row += 1) {
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
      if (seed >>> 31 === 0) continue;
      // Left and right are alike, which makes it look like something.
      for (const x of new Set([column, CELLS - 1 - column])) path += `M${x + 1.5} ${row + 1.5}h1v1h-1z`;
    }
  }
  return el('span', { class: `picture ${hueOf(wallet)}`, 'aria-hidden': 'true' }, svg('svg', { viewBox: '0 0 8 8' }, svg('path', { d: path })));
}

export const STATUS = { queued: 'Waiting to be sent', sending: 'Sending', sent: 'Sent', delivered: 'Delivered', read: 'Read', failed: 'Not sent' };

const clock = new Intl.DateTimeFormat('en', { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
const weekday = new Intl.DateTimeFormat('en', { weekday: 'long', day: 'numeric', month: 'long' });
const otherYear = new Intl.DateTimeFormat('en', { day: 'numeric', month: 'long', year: 'numeric' });
const shortDay = new Intl.DateTimeFormat('en', { day: 'numeric', month: 'short' });
const whole = new Intl.DateTimeFormat('en', { dateStyle: 'full', timeStyle: 'short', hourCycle: 'h23' });

const brief = new Intl.DateTimeFormat('en', { dateStyle: 'medium', timeStyle: 'short', hourCycle: 'h23' });

const DAY_MS = 86_400_000;

// Clocks of other devices may say anything.
const show = (format, time) => (Number.isNaN(time.getTime()) ? '' : format.format(time));

export const clockOf = (timestamp) => show(clock, new Date(timestamp));

export const wholeTimeOf = (timestamp) => show(whole, new Date(timestamp));

/** The same in fewer letters, for lists on a phone. */
export const dateTimeOf = (timestamp) => show(brief, new Date(timestamp));

/** Names a day in the reader's own time; two messages of one day give the same. */
export const dayKeyOf = (timestamp) => new Date(timestamp).toDateString();

export function dayOf(timestamp) {
  const time = new Date(timestamp);
  const now = new Date();
  if (time.toDateString() === now.toDateString()) return 'Today';
  if (time.toDateString() === new Date(now - DAY_MS).toDateString()) return 'Yesterday';
  return show(time.getFullYear() === now.getFullYear() ? weekday : otherYear, time);
}

/** The time of today, otherwise the day. */
export function briefTimeOf(timestamp) {
  const time = new Date(timestamp);
  return show(time.toDateString() === new Date().toDateString() ? clock : shortDay, time);
}
