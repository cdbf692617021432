// The three devices as frames of this page. Killing one removes its frame at once: no code of it runs any more.

import { DEVICES } from './cast.js';
import { count, el, icon } from './dom.js';

export function createFrames({ host, tabs, changed, announce }) {
  const all = new Map(); // device name to { device, alive, report, iframe, ...parts }
  let common = null;

  for (const device of DEVICES) all.set(device.name, build(device));
  host.append(...[...all.values()].map((frame) => frame.article));
  tabs.append(...[...all.values()].map((frame) => frame.tab));

  function build(device) {
    const toggle = el('button', { type: 'button', class: 'secondary kill', onclick: () => (frame.alive ? kill(device.name) : restore(device.name)) });
    const fingerprint = el('span', { class: 'agrees', hidden: true }, icon('check'), 'Same order');
    const screen = el('div', { class: 'screen' });
    const title = `device-${device.name}`;
    const article = el(
      'article',
      { class: `device is-${device.kind}`, 'data-wallet': device.wallet, 'data-device': device.name, 'aria-labelledby': title },
      el('header', { class: 'device-head' }, el('h3', { id: title }, icon(device.kind), device.label), fingerprint, toggle),
      screen,
    );
    const note = el('span', { class: 'tab-note' });
    const tab = el(
      'button',
      { type: 'button', class: 'tab', 'data-wallet': device.wallet, onclick: () => article.scrollIntoView({ block: 'nearest', inline: 'start' }) },
      icon(device.kind),
      el('span', {}, device.label),
      note,
    );
    const frame = { device, alive: false, report: null, iframe: null, article, toggle, screen, tab, note, fingerprint };
    return frame;
  }

  // On a narrow screen the devices stand in a row to swipe through; the tabs say which one is in view.
  const inView = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) all.get(target.dataset.device).tab.setAttribute('aria-current', String(isIntersecting));
    },
    { root: host, threshold: 0.6 },
  );
  for (const { article } of all.values()) inView.observe(article);

  function mount(frame) {
    const { device, report } = frame;
    frame.alive = true;
    frame.iframe = iframeOf(device, device.label, report?.offline ? { offline: '1' } : {});
    frame.screen.replaceChildren(frame.iframe);
    frame.named = null;
    label(frame);
  }

  /** A page of a device. */
  function iframeOf(device, title, more) {
    const query = new URLSearchParams({ name: device.name, peer: common.addresses[device.peer], strategy: common.strategy, ...more });
    return el('iframe', { title, src: `device.html?${query}` });
  }

  function label(frame) {
    frame.toggle.textContent = frame.alive ? 'Kill' : 'Restore';
    frame.toggle.setAttribute('aria-label', `${frame.toggle.textContent} ${frame.device.label}`);
    frame.article.classList.toggle('is-killed', !frame.alive);
  }

  function kill(name) {
    const frame = all.get(name);
    if (!frame.alive) return;
    // Its own word of this very moment: what it told last is older.
    const queued = frame.iframe.contentWindow.queuedMessageCount?.() ?? 0;
    frame.iframe.remove();
    frame.iframe = null;
    frame.alive = false;
    frame.screen.replaceChildren(
      el(
        'div',
        { class: 'grave' },
        el('p', { class: 'grave-title' }, 'Killed'),
        el('p', {}, 'Its page was torn out in the middle of whatever it did, without a goodbye.'),
        el('p', {}, `Its database still holds the conversation${queued > 0 ? `, and ${count(queued, 'message')} that ${queued === 1 ? 'waits' : 'wait'} to be sent` : ''}.`),
        el('button', { type: 'button', class: 'primary', onclick: () => restore(name, true) }, 'Restore from its database'),
      ),
    );
    label(frame);
    announce(`${frame.device.label} was killed.`);
    changed();
  }

  function restore(name, focus = false) {
    const frame = all.get(name);
    if (frame.alive || !common) return;
    mount(frame);
    if (focus) frame.toggle.focus();
    announce(`${frame.device.label} is back.`);
    changed();
  }

  function command(name, ...call) {
    const [what, ...args] = call;
    all.get(name).iframe?.contentWindow.postMessage({ command: what, args }, location.origin);
  }

  addEventListener('message', (event) => {
    if (event.origin !== location.origin || event.data?.from !== 'device') return;
    const frame = all.get(event.data.name);
    // A report that a killed frame left behind says nothing about the one that took its place.
    if (!frame?.alive || event.source !== frame.iframe.contentWindow) return;
    const { phase } = event.data;
    frame.report = phase === 'ready' ? event.data : { ...frame.report, phase };
    changed();
  });

  return {
    all,
    iframeOf,
    command,
    kill,
    restore,
    start(next) {
      common = next;
      for (const frame of all.values()) if (!frame.alive) mount(frame);
    },
    /** Tells every device what the others are called. */
    name(next) {
      const text = JSON.stringify([...next]);
      for (const frame of all.values()) {
        if (!frame.alive || frame.named === text || frame.report?.phase !== 'ready') continue;
        frame.named = text;
        command(frame.device.name, 'names', next);
      }
    },
    update(model) {
      for (const device of model.devices) {
        const { note, tab } = all.get(device.name);
        const says = !device.alive ? 'killed' : device.queued > 0 ? `${device.queued} waiting` : device.offline ? 'offline' : '';
        if (note.textContent !== says) note.textContent = says;
        tab.classList.toggle('is-away', !device.alive || device.offline);
      }
    },
    /** Marks, for a while, the devices that were found to agree. */
    celebrate() {
      for (const frame of all.values()) frame.fingerprint.hidden = !frame.alive;
      setTimeout(() => {
        for (const frame of all.values()) frame.fingerprint.hidden = true;
      }, 8000);
    },
    show(name) {
      const { article } = all.get(name);
      if (host.scrollWidth > host.clientWidth) article.scrollIntoView({ block: 'nearest', inline: 'start' });
    },
  };
}
