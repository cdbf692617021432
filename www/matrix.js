// Rows know, columns wrote: each cell is filled as far as the row has read what the column wrote.

import { counterOf } from './causality.js';
import { el } from './dom.js';

export function drawMatrix(host, model) {
  const authors = model.devices.map((device) => ({ label: device.label, wallet: device.wallet, ids: device.deviceId ? [device.deviceId] : [] }));
  const strangers = Object.keys(model.heads).filter((deviceId) => !model.owner(deviceId));
  if (strangers.length > 0) authors.push({ label: 'Others', wallet: 'other', ids: strangers });
  const sum = (ids, of) => ids.reduce((total, id) => total + of(id), 0);
  const rows = model.devices.map((device) => ({
    device,
    cells: authors.map((author) => ({
      author,
      own: author.ids.includes(device.deviceId),
      total: sum(author.ids, (id) => model.heads[id] ?? 0),
      known: sum(author.ids, (id) => Math.min(counterOf(device.clock, id), model.heads[id] ?? 0)),
    })),
  }));
  const signature = JSON.stringify(rows.map(({ device, cells }) => [device.alive, device.offline, cells.map((cell) => [cell.known, cell.total])]));
  if (host.dataset.signature === signature) return;
  host.dataset.signature = signature;

  host.replaceChildren(
    el(
      'table',
      {},
      el('caption', {}, 'How much each reader has of what each author wrote. Edits, deletions and new keys count too.'),
      el(
        'thead',
        {},
        el(
          'tr',
          {},
          el('th', { scope: 'col' }, el('span', { class: 'corner' }, 'Reader ↓ Author →')),
          ...authors.map((author) => el('th', { scope: 'col', 'data-wallet': author.wallet }, ...twoLines(author.label))),
        ),
      ),
      el(
        'tbody',
        {},
        ...rows.map(({ device, cells }) =>
          el(
            'tr',
            { class: !device.alive || device.offline ? 'is-away' : null },
            el('th', { scope: 'row', 'data-wallet': device.wallet }, ...twoLines(device.label)),
            ...cells.map(cell),
          ),
        ),
      ),
    ),
  );
}

function cell({ author, known, total, own }) {
  const fill = el('span', { class: 'fill' });
  fill.style.setProperty('--share', `${total === 0 ? 0 : (known / total) * 100}%`);
  const state = total === 0 ? ' is-void' : known < total ? ' is-behind' : '';
  return el(
    'td',
    { 'data-wallet': author.wallet },
    el(
      'span',
      { class: `cell${state}${own ? ' is-own' : ''}` },
      fill,
      el(
        'span',
        { class: 'numbers' },
        total === 0 ? el('span', { class: 'sr' }, 'nothing written') : `${known}`,
        total === 0 ? '' : el('span', { class: 'of' }, el('span', { class: 'sr' }, ' of '), el('span', { 'aria-hidden': 'true' }, '/'), `${total}`),
      ),
    ),
  );
}

function twoLines(label) {
  const [who, ...what] = label.split(' ');
  return [el('span', { class: 'who' }, who), ' ', el('span', { class: 'what' }, what.join(' '))];
}
