// The records that every contender stores and carries, for pages and for servers.

export const devices = ['7kQ2mXvTn4Rz9LdWa', '3JhYcP8sVbE6uGfKt', 'Nw5xRq1DzMj2oHyTe', '9BvUaS7kLpXc4FgZd', 'Tq6eWm3YrKn8JsVhP'];
const wallets = ['7Np41oeYqPefeNQEHSv1UDhYrehxin3NStELsSKCT4K2', '4uQeVj5tqViQh7yWWGStvkEG1Zmhx6uasJtWCJziofM'];
const session = '5b1c6a54-09d7-8e3f-a2b4-6c7d8e9f0a1b';

const firstTimeMs = Date.UTC(2026, 0, 5, 9);

const idOf = (device, counter) => `${session}:${devices[device]}:${counter}`;

function record(device, counter, clock, text, timeMs) {
  return {
    id: idOf(device, counter),
    session,
    device: devices[device],
    wallet: wallets[device % 2],
    time: new Date(timeMs).toISOString(),
    clock,
    text,
  };
}

// Five devices write a history in turn, each knowing all before it.
const placeOf = (index) => ({ device: index % devices.length, counter: Math.floor(index / devices.length) + 1 });

/** The id of the message at that place of a history. */
export function historyId(index) {
  const { device, counter } = placeOf(index);
  return idOf(device, counter);
}

/** The message at that place of a history. */
export function historyRecord(index, text) {
  const { device, counter } = placeOf(index);
  const clock = Object.fromEntries(devices.map((name, other) => [name, counter - (other > device ? 1 : 0)]).filter(([, known]) => known > 0));
  return record(device, counter, clock, text, firstTimeMs + index * 4_217);
}

/** The next message of the fifth device, once each of the others has written one. */
export function ownRecord(counter, text) {
  const own = devices.length - 1;
  const clock = Object.fromEntries(devices.map((name, device) => [name, device === own ? counter : 1]));
  return record(own, counter, clock, text, Date.now());
}
