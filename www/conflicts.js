// What happened at the same time: messages that did not know of each other, and edits that collided.

import { concurrentGroups } from './causality.js';
import { bdi, count, el, snippet, svg } from './dom.js';

const CARDS_SHOWN = 4;
const LINES_SHOWN = 5;
const DOTS_SHOWN = 9;

export function createConflicts({ says, cards: host, more, strategy, command, announce }) {
  const settled = new Map(); // message id to { message, versions } of collided edits, also after they were settled
  const nodes = new Map(); // key to { node, signature }
  let model = null;
  let all = false;
  let heard = null; // keys announced; null until the first look, which only finds what is old
  more.addEventListener('click', () => {
    all = !all;
    update(model);
  });

  function find() {
    const found = concurrentGroups(model.sequenced).map((entries) => ({ key: `m-${entries[0].id}`, kind: 'messages', entries, at: entries.at(-1).sequence }));
    for (const message of model.sequenced) if (message.versions.length > 1) settled.set(message.id, { versions: message.versions });
    for (const [id, { versions }] of settled) {
      const message = model.entry(id);
      if (message) found.push({ key: `v-${id}`, kind: 'versions', message, versions, open: message.versions.length > 1, at: message.sequence + 0.5 });
    }
    const needsChoice = (one) => Number(one.kind === 'versions' && one.open && strategy.value === 'manual');
    return found.sort((a, b) => needsChoice(b) - needsChoice(a) || b.at - a.at);
  }

  function update(next) {
    model = next;
    const found = find();
    const showing = all ? found : found.slice(0, CARDS_SHOWN);
    says.textContent =
      found.length === 0
        ? 'Nothing yet. When two devices write without having heard of each other, it is shown here, with what became of it.'
        : 'Nobody lost anything here: this is what was written without knowing of each other, and what became of it.';
    more.hidden = found.length <= CARDS_SHOWN;
    more.textContent = all ? 'Show fewer' : `Show ${count(found.length - CARDS_SHOWN, 'earlier one')}`;

    for (const [key, { node }] of nodes) {
      if (showing.some((one) => one.key === key)) continue;
      node.remove();
      nodes.delete(key);
    }
    showing.forEach((one, i) => {
      const signature = JSON.stringify([one, model.devices.map((device) => [device.deviceId, device.ready])]);
      let card = nodes.get(one.key);
      if (!card) nodes.set(one.key, (card = { node: el('li', { class: `card is-${one.kind}`, 'data-key': one.key }), signature: '' }));
      if (card.signature !== signature) {
        card.signature = signature;
        const focused = card.node.contains(document.activeElement) ? document.activeElement.dataset.does : null;
        card.node.classList.toggle('is-open', one.open === true);
        card.node.replaceChildren(...(one.kind === 'messages' ? messagesCard(one) : versionsCard(one)).filter(Boolean));
        if (focused) (card.node.querySelector(`[data-does="${focused}"]`) ?? document.getElementById('conflicts-title')).focus({ preventScroll: true });
      }
      if (host.childNodes[i] !== card.node) host.insertBefore(card.node, host.childNodes[i] ?? null);
    });

    const news = found.filter((one) => heard && !heard.has(one.key));
    if (news.length > 0) announce(`${count(news.length, 'new conflict')}, explained under Conflicts.`);
    if (heard || model.devices.some((device) => device.ready)) heard = new Set(found.map((one) => one.key));
  }

  const nameOf = (entry) => model.label(entry.deviceId, entry.wallet);
  const walletOf = (entry) => model.owner(entry.deviceId)?.wallet ?? 'other';
  const list = (names) => (names.length < 2 ? names.join('') : `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`);

  function messagesCard({ entries }) {
    const names = [...new Set(entries.map(nameOf))];
    const rest = entries.length - LINES_SHOWN;
    return [
      el(
        'div',
        { class: 'card-head' },
        fork(entries),
        el(
          'div',
          {},
          el('h3', {}, `${count(entries.length, 'message')}, written apart`),
          el('p', {}, `${list(names)} wrote without knowing of each other. All are kept, in one order for everybody:`),
        ),
      ),
      el(
        'ol',
        { class: 'order', 'aria-label': 'In the order of the log' },
        ...entries
          .slice(0, LINES_SHOWN)
          .map((entry) =>
            el(
              'li',
              { 'data-wallet': walletOf(entry) },
              el('span', { class: 'place' }, `#${entry.sequence}`),
              entry.deleted ? el('em', {}, 'deleted') : bdi(snippet(entry.text, 60)),
              el('span', { class: 'by' }, nameOf(entry)),
            ),
          ),
        rest > 0 ? el('li', { class: 'rest' }, `and ${rest.toLocaleString('en')} more`) : null,
      ),
    ];
  }

  function versionsCard({ message, versions, open }) {
    const undecided = open && strategy.value === 'manual';
    const chooser =
      model.devices.find((device) => device.ready && !device.offline && device.walletAddress === message.wallet) ??
      model.devices.find((device) => device.ready && device.walletAddress === message.wallet);
    const status = !open
      ? message.deleted
        ? 'Settled: the message is deleted, on every device.'
        : 'Settled. Every device shows the version that was chosen.'
      : undecided
        ? 'You decide. Until then every device shows the first one.'
        : `Settled by the rule “${strategy.label}”. ${strategy.says} The other is kept, should you want it.`;
    return [
      el(
        'div',
        { class: 'card-head' },
        fork(versions, true),
        el(
          'div',
          {},
          el('h3', {}, undecided ? `Which edit of #${message.sequence} stays?` : `${count(versions.length, 'edit')} of #${message.sequence}, made apart`),
          el('p', {}, status),
        ),
      ),
      el(
        'ol',
        { class: 'order', 'aria-label': 'Versions' },
        ...(open ? versions : [message]).map((version, i) =>
          el(
            'li',
            { 'data-wallet': walletOf(version) },
            el('span', { class: 'place' }, i === 0 ? 'shown' : 'kept'),
            version.deleted ? el('em', {}, 'deleted') : bdi(snippet(version.text, 90)),
            open ? el('span', { class: 'by' }, nameOf({ ...version, wallet: message.wallet })) : null,
            open && chooser && (undecided || i > 0)
              ? el(
                  'button',
                  {
                    type: 'button',
                    class: 'secondary small',
                    'data-does': `keep-${i}`,
                    onclick: () => command(chooser.name, 'resolve', message.id, version.id),
                  },
                  undecided ? 'Keep this' : 'Use this',
                )
              : null,
          ),
        ),
      ),
      open && !chooser ? el('p', { class: 'hint' }, 'None of its author’s devices is running: restore one to choose.') : null,
    ];
  }

  /** What both knew on the left, what each wrote on a line of its own, and one line again. */
  function fork(entries, versions = false) {
    const lanes = [...new Set(entries.map((entry) => entry.deviceId))].slice(0, 4);
    const shown = entries.slice(0, DOTS_SHOWN);
    const height = 34 + (lanes.length - 1) * 30;
    const width = 148;
    const middle = height / 2;
    const y = (lane) => 17 + lane * 30;
    const x = (i) => (shown.length === 1 || versions ? 74 : 46 + (i * 56) / (shown.length - 1));
    const nodes = [
      svg('circle', { class: 'fork-common', cx: 10, cy: middle, r: 4 }),
      svg('circle', { class: 'fork-common', cx: width - 10, cy: middle, r: 4 }),
    ];
    lanes.forEach((deviceId, lane) => {
      const at = y(lane);
      nodes.unshift(
        svg('path', {
          class: 'fork-line',
          d: `M10 ${middle}C26 ${middle} 22 ${at} 38 ${at}H${width - 38}C${width - 22} ${at} ${width - 26} ${middle} ${width - 10} ${middle}`,
        }),
      );
      shown.forEach((entry, i) => {
        if (entry.deviceId === deviceId) nodes.push(svg('circle', { class: 'fork-dot', 'data-wallet': walletOf(entry), cx: x(i), cy: at, r: 5.5 }));
      });
    });
    return svg('svg', { class: 'fork', viewBox: `0 0 ${width} ${height}`, width, height, 'aria-hidden': 'true' }, ...nodes);
  }

  return { update };
}
