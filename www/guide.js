// The way through the demo in four steps: each is a button that does it, and counts too when done by hand.

import { DEVICES } from './cast.js';
import { count, el, icon } from './dom.js';
import { agreement } from './model.js';

const [PHONE, LAPTOP, BOB] = DEVICES.map((device) => device.name);
const LINES = [
  ['I am in the tunnel, no signal.', 'Are you still coming tonight?'],
  ['Bring the blue umbrella!', 'Shall I bring anything?'],
  ['Still underground.', 'It has started to rain here.'],
];

export function createGuide({ steps: host, more, frames, announce }) {
  let model = null;
  let at = 0;
  let round = 0;
  let finding = null; // what the last step found
  let countsBefore = null;
  const waits = new Set();

  const STEPS = [
    {
      title: 'Go offline',
      says: 'Cut Alice’s phone off from the relay.',
      does: 'Go offline',
      run: () => offline(PHONE, true),
      done: () => device(PHONE).offline,
    },
    {
      title: 'Write on both sides',
      says: 'Alice’s phone and Bob’s phone write. Neither hears the other.',
      does: 'Write both',
      async run() {
        const [alice, bob] = LINES[round % LINES.length];
        frames.show(PHONE);
        frames.command(PHONE, 'send', alice);
        frames.command(BOB, 'send', bob);
      },
      done: () => countsBefore !== null && [PHONE, BOB].every((name) => own(name) > (countsBefore[name] ?? 0)),
    },
    {
      title: 'Come back',
      says: 'Alice’s phone finds the relay again and sends what it kept.',
      does: 'Come back',
      run: () => offline(PHONE, false),
      done: () => !device(PHONE).offline && device(PHONE).queued === 0 && device(PHONE).connection === 'connected',
    },
    {
      title: 'See the same order',
      says: 'Compare the three conversations, message by message.',
      does: 'Compare',
      async run() {
        await until(() => agreement(model).same, 6000);
        const { same, messages, isWhole, running } = agreement(model);
        finding = same
          ? `${isWhole ? '' : 'The last '}${count(messages, 'message')}, in the same order on ${running} of ${DEVICES.length} devices.`
          : 'Not yet: some device is still away, or messages still wait. Bring everyone back and compare again.';
        announce(finding);
        if (same) {
          frames.celebrate();
          at = STEPS.length;
        }
      },
      done: () => false,
    },
  ];

  const EXTRAS = [
    { label: 'Edit one message in two places', run: collide },
    { label: 'Write 200 offline, then drain', run: drain },
    { label: 'Kill a device while it sends', run: killWhileSending },
  ];

  const device = (name) => model.devices.find((one) => one.name === name);
  const own = (name) => model.heads[device(name).deviceId] ?? 0;
  const offline = (name, wanted) => {
    frames.show(name);
    frames.command(name, 'setOffline', wanted);
  };

  /** Waits for the model to show something; gives up quietly, for what is shown then says why. */
  function until(holds, timeout_ms) {
    return new Promise((resolve) => {
      const wait = {
        check() {
          if (!holds()) return;
          clearTimeout(wait.timer);
          waits.delete(wait);
          resolve(true);
        },
        timer: setTimeout(() => {
          waits.delete(wait);
          resolve(false);
        }, timeout_ms),
      };
      waits.add(wait);
      wait.check();
    });
  }

  async function everyoneBack() {
    for (const { name } of DEVICES) frames.restore(name);
    await until(() => model.devices.every((one) => one.ready), 8000);
    for (const { name } of DEVICES) frames.command(name, 'setOffline', false);
    await until(() => agreement(model).same, 8000);
  }

  async function collide() {
    await everyoneBack();
    const before = model.sequenced.length;
    frames.command(PHONE, 'send', 'Let us meet at seven.');
    await until(() => model.sequenced.length > before && agreement(model).same, 6000);
    const target = model.sequenced.findLast((entry) => entry.wallet === device(PHONE).walletAddress && !entry.deleted);
    if (!target) return;
    for (const name of [PHONE, LAPTOP]) frames.command(name, 'setOffline', true);
    await until(() => [PHONE, LAPTOP].every((name) => device(name).offline), 3000);
    frames.command(PHONE, 'edit', target.id, 'Let us meet at eight.');
    frames.command(LAPTOP, 'edit', target.id, 'Let us meet at half past six.');
    await until(() => [PHONE, LAPTOP].every((name) => device(name).queued > 0), 3000);
    for (const name of [PHONE, LAPTOP]) frames.command(name, 'setOffline', false);
    await until(() => model.entry(target.id)?.versions.length > 1, 6000);
    document.getElementById('conflicts-title').scrollIntoView({ block: 'center' });
  }

  async function drain() {
    frames.show(PHONE);
    const before = device(PHONE).queued;
    frames.command(PHONE, 'writeMany', 200);
    await until(() => device(PHONE).queued >= before + 200, 15000);
    await new Promise((resolve) => setTimeout(resolve, 1500)); // for the reader: to see the full outbox
    frames.command(PHONE, 'setOffline', false);
  }

  async function killWhileSending() {
    await drain();
    await until(() => device(PHONE).queued > 0 && device(PHONE).queued < 200, 8000);
    frames.kill(PHONE);
    announce('Restore it: what it had not sent is still there, and nothing arrives twice.');
  }

  let busy = false;
  async function doIt(run, nextFocus) {
    if (busy || !model) return;
    busy = true;
    render();
    try {
      await run();
    } finally {
      busy = false;
      render();
      if (nextFocus) host.querySelector('button:not(:disabled)')?.focus();
    }
  }

  function advance() {
    while (at < STEPS.length && STEPS[at].done()) {
      at += 1;
      if (at === 1) countsBefore = Object.fromEntries([PHONE, BOB].map((name) => [name, own(name)]));
    }
  }

  function again() {
    at = 0;
    round += 1;
    finding = null;
    countsBefore = null;
    advance();
    render();
    host.querySelector('button')?.focus();
  }

  let rendered = '';
  function render() {
    const signature = JSON.stringify([at, busy, finding, model !== null]);
    if (signature === rendered) return;
    rendered = signature;
    const focused = host.contains(document.activeElement);
    host.replaceChildren(
      ...STEPS.map((step, i) => {
        const state = i < at ? 'is-done' : i === at ? 'is-next' : 'is-later';
        const isLast = i === STEPS.length - 1;
        const over = isLast && at === STEPS.length;
        return el(
          'li',
          { class: `step ${state}${isLast && finding ? ' has-finding' : ''}`, 'aria-current': i === at ? 'step' : null },
          el('span', { class: 'step-number' }, i < at ? icon('check') : `${i + 1}`),
          el(
            'div',
            { class: 'step-text' },
            el('h3', {}, step.title, i < at ? el('span', { class: 'sr' }, ' (done)') : null),
            el('p', {}, isLast && finding ? finding : step.says),
            i === at
              ? el('button', { type: 'button', class: 'primary', disabled: busy || model === null, onclick: () => doIt(step.run, true) }, step.does)
              : over
                ? el('button', { type: 'button', class: 'secondary', onclick: again }, 'Once more')
                : null,
          ),
        );
      }),
    );
    more.replaceChildren(
      'Then try: ',
      ...EXTRAS.map((extra) =>
        el('button', { type: 'button', class: 'quiet', disabled: busy || model === null, onclick: () => doIt(extra.run, false) }, extra.label),
      ),
    );
    if (focused) host.querySelector('button:not(:disabled)')?.focus();
  }
  render();

  return {
    update(next) {
      if (!next.devices.some((one) => one.ready)) return;
      model = next;
      advance();
      for (const wait of [...waits]) wait.check();
      render();
    },
  };
}
