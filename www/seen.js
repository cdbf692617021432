// One message as the relay has it, beside what the devices read: the bytes are those that left a device of this page.

import { bdi, count, el, snippet } from './dom.js';
import { partsOf } from './wire.js';

const KEPT = 600;
const CHOICES = 12;
const SNIPPET = 60;
/** So many bytes of a text are shown. */
const BYTES_SHOWN = 64;
const time = new Intl.DateTimeFormat('en', { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });

const keyOf = ({ deviceId, counter }) => `${deviceId} ${counter}`;
const sizeOf = (text) => new TextEncoder().encode(text).length;

export function createSeen({ choice, relay, devices }) {
  const sent = new Map(); // the bytes of each message that was sent, and when it left, by device and counter
  let model = null;
  let chosen = null; // the id of the message that somebody chose; otherwise it is the newest
  let drawn = '';

  choice.addEventListener('change', () => {
    chosen = choice.value;
    draw();
  });

  function draw() {
    if (!model) return;
    const entries = model.sequenced.filter((entry) => sent.has(keyOf(entry)) && !entry.deleted).slice(-CHOICES).reverse();
    const entry = entries.find(({ id }) => id === chosen) ?? entries[0] ?? null;
    const key = JSON.stringify([entries.map(({ id, text }) => [id, text]), entry]);
    if (drawn === key) return;
    drawn = key;
    choice.parentElement.hidden = devices.parentElement.hidden = entry === null;
    choice.replaceChildren(...entries.map(({ id, text, sequence, deviceId, wallet }) => el('option', { value: id }, `#${sequence} ${model.label(deviceId, wallet)}: ${snippet(text, SNIPPET)}`)));
    if (entry) choice.value = entry.id;
    relay.replaceChildren(...(entry ? ofRelay(entry, sent.get(keyOf(entry))) : [el('p', {}, 'Write something: its bytes are shown here as they leave the device.')]));
    devices.replaceChildren(...(entry ? ofDevices(entry) : []));
  }

  function ofRelay(entry, { bytes, at }) {
    const { epoch, head, nonce, padded, tag } = partsOf(bytes);
    const hex = Array.from(bytes.subarray(0, BYTES_SHOWN), (byte) => byte.toString(16).padStart(2, '0')).join(' ');
    const rest = bytes.length - BYTES_SHOWN;
    const facts = [
      ['From', `device ${entry.deviceId.slice(0, 6)} of ${model.label(entry.deviceId, entry.wallet).split('’')[0]}’s wallet`],
      ['Place', `#${entry.sequence}, left the device at ${time.format(at)}`],
      ['Epoch', `${epoch}: each has a key of its own`],
      ['Size', `${count(bytes.length, 'byte')}: ${head} of layout and epoch, ${nonce} of nonce, ${padded} of text with its padding, ${tag} of tag`],
    ];
    return [
      el('code', { class: 'bytes' }, hex, rest > 0 ? ` … ${count(rest, 'more byte')}` : ''),
      el('dl', { class: 'facts' }, ...facts.flatMap(([name, value]) => [el('dt', {}, name), el('dd', {}, value)])),
    ];
  }

  function ofDevices({ text, edited }) {
    return [
      el('p', { class: 'read' }, bdi(text)),
      el('p', { class: 'by' }, `${count(sizeOf(text), 'byte')} of text${edited ? ', edited since: the bytes beside it are those of the first version' : ''}`),
    ];
  }

  return {
    /** These messages leave a device. */
    take(messages) {
      for (const message of messages) sent.set(keyOf(message), { bytes: message.bytes, at: new Date() });
      for (const key of sent.keys()) {
        if (sent.size <= KEPT) break;
        sent.delete(key);
      }
      draw();
    },
    update(now) {
      model = now;
      draw();
    },
  };
}
