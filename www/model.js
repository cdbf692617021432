// What all devices reported, put together: one list of entries, and how far each device is.

import { DEVICES } from './cast.js';

const REMEMBERED = 600;

/**
 * `frames`: per device its name, whether it is running, and its last report. `remembered`: entries of the log that were
 * reported once, by id; it is brought up to date.
 */
export function modelOf(frames, remembered) {
  const devices = DEVICES.map((device) => {
    const { alive, report } = frames.get(device.name);
    return {
      ...device,
      alive,
      ready: alive && report?.phase === 'ready',
      connection: alive ? (report?.connection ?? 'offline') : 'killed',
      offline: report?.offline ?? false,
      queued: report?.queued ?? 0,
      cursor: report?.cursor ?? 0,
      clock: report?.clock ?? {},
      deviceId: report?.deviceId ?? null,
      walletAddress: report?.wallet ?? null,
      messages: report?.messages ?? [],
      isWhole: report?.isWhole ?? false,
    };
  });

  const byId = new Map();
  for (const device of devices) {
    for (const message of device.messages) {
      const known = byId.get(message.id);
      if (!known || fresher(message, known, device, devices)) byId.set(message.id, message);
    }
  }
  for (const entry of byId.values()) if (entry.sequence !== undefined) remembered.set(entry.id, entry);
  const sequenced = [...remembered.values()].sort((a, b) => a.sequence - b.sequence).slice(-REMEMBERED);
  remembered.clear();
  for (const entry of sequenced) remembered.set(entry.id, entry);
  // Without the fields that every object has: devices name themselves.
  const heads = Object.create(null);
  for (const { clock } of devices) {
    for (const [deviceId, counter] of Object.entries(clock)) heads[deviceId] = Math.max(heads[deviceId] ?? 0, counter);
  }
  return {
    devices,
    heads,
    sequenced,
    waiting: [...byId.values()].filter((entry) => entry.sequence === undefined).sort((a, b) => a.counter - b.counter),
    entry: (id) => byId.get(id) ?? remembered.get(id),
    owner: (deviceId) => devices.find((device) => device.deviceId === deviceId),
    label(deviceId, wallet) {
      const owner = this.owner(deviceId);
      if (owner) return owner.label;
      const peer = devices.find((device) => device.walletAddress === wallet);
      return peer ? `Another device of ${peer.label.split('’')[0]}` : 'Another device';
    },
  };
}

/** A place in the log beats none; then the report of the device that has stored more. */
function fresher(message, known, device, devices) {
  if ((message.sequence === undefined) !== (known.sequence === undefined)) return message.sequence !== undefined;
  const source = devices.find((one) => one.messages.includes(known));
  return device.cursor > (source?.cursor ?? 0);
}

/** Whether all running devices show the same conversation, and nothing waits; and whether what they show is all of it. */
export function agreement(model) {
  const running = model.devices.filter((device) => device.ready);
  const orders = running.map((device) => device.messages.filter((message) => message.sequence !== undefined).map((message) => message.id));
  const length = Math.min(...orders.map((order) => order.length));
  const tails = orders.map((order) => JSON.stringify(order.slice(order.length - length)));
  const settled = running.every((device) => device.queued === 0 && device.cursor === running[0].cursor);
  const isWhole = running.every((device) => device.isWhole);
  return { running: running.length, messages: length, isWhole, same: running.length > 1 && settled && tails.every((tail) => tail === tails[0]) };
}
