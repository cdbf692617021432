// Making elements. Text only ever becomes text: there is no path from a string to markup here.

const SVG = 'http://www.w3.org/2000/svg';

export function el(tag, props = {}, ...children) {
  return fill(document.createElement(tag), props, children);
}

export function svg(tag, props = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

function fill(node, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** Text of strangers: its direction and its bidi controls end where it ends. */
export function bdi(text, props = {}) {
  return el('bdi', { dir: 'auto', ...props }, text);
}

// 16 x 16, drawn with one stroke.
const ICONS = {
  phone: 'M5 1.8h6a1.2 1.2 0 0 1 1.2 1.2v10a1.2 1.2 0 0 1-1.2 1.2H5A1.2 1.2 0 0 1 3.8 13V3A1.2 1.2 0 0 1 5 1.8M7 12.2h2',
  laptop: 'M3.5 3h9a1 1 0 0 1 1 1v6h-11V4a1 1 0 0 1 1-1M1 12.6h14',
  queued: 'M8 2.2a5.8 5.8 0 1 0 0 11.6A5.8 5.8 0 0 0 8 2.2M8 5v3.2l2 1.3',
  sending: 'M8 13V3.5M4.2 7.2 8 3.4l3.8 3.8',
  sent: 'M3 8.6l3.2 3.2L13 4.8',
  delivered: 'M1.2 8.8l3 3 6-6.6M7.6 11.3l.5.5 6.7-6.6',
  failed: 'M8 2.2a5.8 5.8 0 1 0 0 11.6A5.8 5.8 0 0 0 8 2.2M8 5v3.6M8 10.7v.4',
  fork: 'M4 13.5V11c0-3.5 0-3.5 4-6V2.5M12 13.5V11c0-3.5 0-3.5-4-6',
  connected: 'M2 6.2a9 9 0 0 1 12 0M4.3 8.9a5.6 5.6 0 0 1 7.4 0M8 12.2h.01',
  offline: 'M2 6.2a9 9 0 0 1 4.6-2.2M10.6 4.4A9 9 0 0 1 14 6.2M4.3 8.9a5.6 5.6 0 0 1 2.4-1.3M8 12.2h.01M2.5 13.5l11-11',
  check: 'M3 8.6l3.2 3.2L13 4.8',
  back: 'M9.8 3 4.8 8l5 5',
  pencil: 'M3 13l.6-2.8L10.9 2.9l2.2 2.2-7.3 7.3zM9.4 4.4l2.2 2.2',
  bin: 'M3 4.5h10M6 4.5v-2h4v2M4.5 4.5l.6 9h5.8l.6-9M6.8 7v4M9.2 7v4',
  down: 'M8 3v10M3.8 8.8 8 13l4.2-4.2',
  lock: 'M3.5 7.2h9v6.3h-9zM5.3 7.2V5a2.7 2.7 0 0 1 5.4 0v2.2M8 9.8v1.4',
  unlock: 'M3.5 7.2h9v6.3h-9zM5.3 7.2V5a2.7 2.7 0 0 1 5.2-1M8 9.8v1.4',
  cross: 'M4 4l8 8M12 4l-8 8',
};
ICONS.read = ICONS.delivered;
ICONS.connecting = ICONS.connected;
ICONS.waiting = ICONS.queued;

export function icon(name) {
  return svg('svg', { class: `icon icon-${name}`, viewBox: '0 0 16 16', 'aria-hidden': 'true' }, svg('path', { d: ICONS[name] }));
}

export function count(number, one, many = `${one}s`) {
  return `${number.toLocaleString('en')} ${number === 1 ? one : many}`;
}

/** The beginning of a text on one line. Cuts between code points, never inside one. */
export function snippet(text, length) {
  const points = Array.from(text.replace(/\s+/g, ' ').slice(0, length * 4));
  return points.length > length ? `${points.slice(0, length - 1).join('')}…` : points.join('');
}

/** Runs `work` soon, once for many calls, and at most every `interval_ms`. */
export function throttled(work, interval_ms) {
  let timer = null;
  let last = 0;
  return () => {
    timer ??= setTimeout(
      () => {
        timer = null;
        last = performance.now();
        work();
      },
      Math.max(0, interval_ms - (performance.now() - last)),
    );
  };
}
