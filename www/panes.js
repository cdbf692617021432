// Two more tabs of one of the devices, side by side: which tab owns, and what becomes of the others when that one is frozen or closed.

import { DEVICES } from './cast.js';
import { el } from './dom.js';

const device = DEVICES.find(({ name }) => name === 'alice-laptop');
const ROLES = {
  owner: 'Owns storage and connection',
  follower: 'Works through another tab',
  joining: 'Waits for an owner',
  blocked: 'Waits for the storage',
  refused: 'Cannot take part',
};

export function createPanes({ host, opener, frames, announce }) {
  const panes = [1, 2].map(build);
  const above = el('p', {});
  const silently = el('input', { type: 'checkbox' });
  const bar = el('div', { class: 'pane-bar', hidden: true }, above, el('label', {}, silently, 'Freeze without notice'));
  opener.addEventListener('click', () => {
    opener.hidden = true;
    bar.hidden = false;
    host.before(bar);
    host.append(...panes.map(({ article }) => article));
    for (const pane of panes) open(pane);
    silently.focus();
  });

  function build(number) {
    const title = `Tab ${number + 1} of ${device.label}`;
    const role = el('span', { class: 'role' });
    const freeze = el('button', { type: 'button', class: 'secondary kill', onclick: () => (pane.isFrozen ? thaw(pane) : freezeNow(pane)) });
    const close = el('button', { type: 'button', class: 'secondary kill', onclick: () => (pane.iframe ? shut(pane) : open(pane)) });
    const screen = el('div', { class: 'screen' });
    const head = el('header', { class: 'device-head' }, el('h3', { id: `pane-${number}` }, title), el('div', { class: 'pane-state' }, role, freeze, close));
    const article = el('article', { class: 'device', 'data-wallet': device.wallet, 'data-pane': number, 'aria-labelledby': `pane-${number}` }, head, screen);
    const pane = { title, article, role, freeze, close, screen, iframe: null, isFrozen: false, hasNotice: true, report: null };
    return pane;
  }

  function open(pane) {
    Object.assign(pane, { iframe: frames.iframeOf(device, pane.title, { tab: '1' }), isFrozen: false, report: null });
    pane.screen.replaceChildren(pane.iframe);
    update();
  }

  function shut(pane) {
    pane.iframe.remove();
    Object.assign(pane, { iframe: null, isFrozen: false, report: null });
    update();
    announce(`${pane.title} was closed.`);
  }

  function freezeNow(pane) {
    pane.hasNotice = !silently.checked;
    tell(pane, 'freeze', pane.hasNotice);
    pane.isFrozen = true;
    pane.iframe.inert = true;
    update();
    announce(`${pane.title} is frozen${pane.hasNotice ? '' : ' without notice'}.`);
  }

  function thaw(pane) {
    // What it told last is of before.
    Object.assign(pane, { isFrozen: false, report: null });
    pane.iframe.inert = false;
    tell(pane, 'thaw', pane.hasNotice);
    update();
    announce(`${pane.title} goes on.`);
  }

  function tell(pane, command, ...args) {
    pane.iframe.contentWindow.postMessage({ command, args }, location.origin);
  }

  function render(pane) {
    const { report, iframe, isFrozen } = pane;
    const owner = ownerName();
    const owns = owner ? `; ${owner} owns` : '';
    const says = !iframe ? `Closed${owns}` : isFrozen ? `Frozen${pane.hasNotice ? '' : ' without notice'}${owns}` : roleOf(report, owner);
    if (pane.role.textContent !== says) pane.role.textContent = says;
    pane.role.classList.toggle('is-owner', iframe !== null && !isFrozen && report?.role === 'owner');
    pane.article.classList.toggle('is-frozen', isFrozen);
    pane.article.classList.toggle('is-killed', !iframe);
    for (const [button, label] of [[pane.freeze, isFrozen ? 'Thaw' : 'Freeze'], [pane.close, iframe ? 'Close' : 'Open']]) {
      if (button.textContent !== label) button.textContent = label;
      button.setAttribute('aria-label', `${label} ${pane.title}`);
    }
    pane.freeze.disabled = !iframe;
  }

  addEventListener('message', (event) => {
    if (event.origin !== location.origin || event.data?.from !== 'device') return;
    const pane = panes.find(({ iframe }) => iframe && event.source === iframe.contentWindow);
    if (!pane) return;
    pane.report = event.data;
    update();
  });

  /** The tab that owns, by what all of them say: whoever acts on one tab need not see the others. */
  function ownerName() {
    const { alive, report } = frames.all.get(device.name);
    if (alive && report?.role === 'owner') return 'tab 1';
    const owner = panes.findIndex((pane) => pane.iframe && !pane.isFrozen && pane.report?.role === 'owner');
    return owner < 0 ? null : `tab ${owner + 2}`;
  }

  function update() {
    const { alive, report } = frames.all.get(device.name);
    const says = `${device.label} above is tab 1: ${alive ? roleOf(report, ownerName()).toLowerCase() : 'killed'}.`;
    if (above.textContent !== says) above.textContent = says;
    for (const pane of panes) render(pane);
  }

  return {
    start: () => {
      opener.disabled = false;
    },
    update,
  };
}

function roleOf(report, owner) {
  if (report?.role === 'follower' && owner) return `Works through ${owner}`;
  const waiting = report?.waitingCalls > 0 && ['joining', 'blocked'].includes(report.role) ? `, ${report.waitingCalls} calls in memory` : '';
  return `${ROLES[report?.role] ?? ROLES.joining}${waiting}`;
}
