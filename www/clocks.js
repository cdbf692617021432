// Vector clocks, drawn: a line per device with its messages as dots, and a table of who has how much of whom.

import { counterOf, directCauses, knows } from './causality.js';
import { bdi, count, el, snippet, svg } from './dom.js';
import { drawMatrix } from './matrix.js';

const WIDE = { label: 172, top: 30, lane: 62, right: 16 };
const NARROW = { label: 14, top: 44, lane: 70, right: 12 };
const STEP_MIN = 24;
const STEP_MAX = 92;
const WAITING_SHOWN = 6;

export function createClocks({ lanes: host, detail, matrix }) {
  const layers = { zone: svg('g'), shade: svg('g'), tracks: svg('g'), arrows: svg('g'), labels: svg('g', { 'aria-hidden': 'true' }), dots: svg('g') };
  const head = svg(
    'marker',
    { id: 'arrow-head', viewBox: '0 0 8 8', refX: 6, refY: 4, markerWidth: 8, markerHeight: 8, orient: 'auto', markerUnits: 'userSpaceOnUse' },
    svg('path', { class: 'arrow-head', d: 'M1.5 1L6 4L1.5 7' }),
  );
  const drawing = svg(
    'svg',
    { role: 'group', 'aria-label': 'Messages by device, in the order all agree on. Arrow keys move between them.' },
    svg('defs', {}, head),
    ...Object.values(layers),
  );
  const dots = new Map(); // entry id to its group
  let model = null;
  let selected = null;
  let shown = []; // entries drawn, left to right
  let drawnFor = '';
  let detailFor = '';
  host.append(drawing);
  new ResizeObserver(() => draw()).observe(host);

  drawing.addEventListener('keydown', (event) => {
    const at = shown.findIndex((entry) => entry.id === document.activeElement?.dataset?.id);
    const to = { ArrowLeft: at - 1, ArrowUp: at - 1, ArrowRight: at + 1, ArrowDown: at + 1, Home: 0, End: shown.length - 1 }[event.key];
    if (event.key === 'Escape') return select(null);
    if (to === undefined || !shown[to]) return;
    event.preventDefault();
    select(shown[to].id);
    dots.get(shown[to].id).focus();
  });

  function select(id) {
    selected = id === selected ? null : id;
    draw();
  }

  function layout() {
    const width = Math.max(host.clientWidth, 240);
    const metrics = width < 620 ? NARROW : WIDE;
    const owners = model.devices.map((device) => ({ ...device, owns: (entry) => entry.deviceId === device.deviceId }));
    const strangers = [...model.sequenced, ...model.waiting].some((entry) => !model.owner(entry.deviceId));
    if (strangers) owners.push({ name: 'other', label: 'Other devices', wallet: 'other', stranger: true, owns: (entry) => !model.owner(entry.deviceId) });
    const queues = owners.map((owner) => model.waiting.filter(owner.owns).slice(0, WAITING_SHOWN));
    const columns = Math.max(0, ...queues.map((queue) => queue.length));
    const space = width - metrics.label - metrics.right - 24;
    const zoneWidth = columns > 0 ? columns * STEP_MIN + 40 : 0;
    const entries = model.sequenced.slice(-Math.max(3, Math.floor((space - zoneWidth) / STEP_MIN)));
    const step = Math.min(STEP_MAX, Math.max(STEP_MIN, (space - zoneWidth) / Math.max(1, entries.length)));
    const start = metrics.label + 22;
    const logEnd = start + Math.max(entries.length, 1) * step - step / 2 + 6;
    const place = new Map();
    const laneY = (index) => metrics.top + index * metrics.lane + metrics.lane / 2;
    const laneOf = (entry) => owners.findIndex((owner) => owner.owns(entry));
    entries.forEach((entry, i) => place.set(entry.id, { x: start + i * step, y: laneY(laneOf(entry)) }));
    queues.forEach((queue, lane) => queue.forEach((entry, i) => place.set(entry.id, { x: logEnd + 30 + i * STEP_MIN, y: laneY(lane) })));
    return {
      width,
      metrics,
      owners,
      queues,
      columns,
      entries,
      step,
      start,
      logEnd,
      zoneWidth,
      place,
      laneY,
      height: metrics.top + owners.length * metrics.lane + 4,
    };
  }

  function draw() {
    if (!model || host.clientWidth === 0) return;
    const plan = layout();
    shown = [...plan.entries, ...plan.queues.flat()];
    if (selected && !plan.place.has(selected)) selected = null;
    const signature = JSON.stringify([
      plan.width,
      selected,
      plan.owners.map((o) => [o.label, o.cursor, o.clock, o.alive, o.offline, o.queued]),
      shown.map((e) => [e.id, e.sequence, e.edited, e.deleted, e.versions.length]),
    ]);
    if (signature === drawnFor) return;
    drawnFor = signature;
    drawing.setAttribute('viewBox', `0 0 ${plan.width} ${plan.height}`);
    drawing.setAttribute('width', plan.width);
    drawing.setAttribute('height', plan.height);
    drawing.classList.toggle('has-selection', selected !== null);
    drawZone(plan);
    drawTracks(plan);
    drawArrows(plan);
    drawCut(plan);
    drawDots(plan);
    drawDetail();
  }

  function drawZone({ columns, logEnd, zoneWidth, height, entries, place, step }) {
    const every = step < 34 ? 2 : 1;
    layers.labels.replaceChildren(
      ...entries
        .filter((_, i) => (entries.length - 1 - i) % every === 0)
        .map((entry) => svg('text', { class: 'axis', x: place.get(entry.id).x, y: 14, 'text-anchor': 'middle' }, `${entry.sequence}`)),
    );
    layers.zone.replaceChildren(...edits(entries, place, step));
    if (columns === 0) return;
    layers.zone.append(svg('rect', { class: 'zone', x: logEnd + 8, y: 2, width: zoneWidth, height: height - 4, rx: 10 }));
    layers.labels.append(svg('text', { class: 'axis', x: logEnd + 18, y: 16 }, 'not sent'));
  }

  /** Edits and deletions take a place in the log too, but no dot: a tick on the axis for each run of them. */
  function edits(entries, place, step) {
    const after = (entry, i) =>
      (entries[i + 1]?.sequence ?? Math.max(entry.sequence, ...model.devices.map((device) => device.cursor)) + 1) - entry.sequence - 1;
    return entries.filter((entry, i) => after(entry, i) > 0).map((entry) => svg('path', { class: 'edit-tick', d: `M${place.get(entry.id).x + step / 2} 7v7` }));
  }

  function drawTracks({ owners, entries, logEnd, place, laneY, metrics, queues, step }) {
    const left = metrics.label + 4;
    const nodes = [];
    const labels = [];
    const total = Object.values(model.heads).reduce((sum, head) => sum + head, 0);
    owners.forEach((owner, i) => {
      const y = laneY(i);
      const wallet = { 'data-wallet': owner.wallet };
      const last = entries.findLast((entry) => entry.sequence <= owner.cursor);
      if (last && !owner.stranger) {
        const end = last === entries.at(-1) ? logEnd : place.get(last.id).x + step / 2;
        nodes.push(svg('line', { class: 'track', x1: end, x2: logEnd, y1: y, y2: y }));
        nodes.push(svg('line', { ...wallet, class: 'track known', x1: left, x2: end, y1: y, y2: y }));
        nodes.push(svg('line', { ...wallet, class: 'frontier', x1: end, x2: end, y1: y - 9, y2: y + 9 }));
      }
      if (!last || owner.stranger) nodes.push(svg('line', { class: 'track', x1: left, x2: logEnd, y1: y, y2: y }));
      if (queues[i].length > 0) nodes.push(svg('line', { ...wallet, class: 'track own', x1: logEnd, x2: place.get(queues[i].at(-1).id).x, y1: y, y2: y }));
      const hidden = (owner.queued ?? 0) - queues[i].length;
      if (hidden > 0 && queues[i].length > 0)
        labels.push(svg('text', { class: 'axis', x: place.get(queues[i].at(-1).id).x, y: y + 22, 'text-anchor': 'end' }, `+${hidden} more`));
      const known = Object.entries(owner.clock ?? {}).reduce((sum, [id, counter]) => sum + Math.min(counter, model.heads[id] ?? 0), 0);
      const away = owner.stranger ? null : !owner.alive ? 'killed' : owner.offline ? 'offline' : null;
      const has = owner.stranger ? '' : total === 0 ? 'nothing yet' : known === total ? `has all ${total}` : `has ${known} of ${total}`;
      const under = [has, away].filter(Boolean).join(', ');
      if (metrics === NARROW) {
        labels.push(svg('text', { ...wallet, class: 'lane-name', x: 2, y: y - 20 }, owner.label, svg('tspan', { class: 'lane-state', dx: 8 }, under)));
      } else {
        labels.push(svg('text', { ...wallet, class: 'lane-name', x: 2, y: y - 3 }, owner.label), svg('text', { class: 'lane-state', x: 2, y: y + 15 }, under));
      }
    });
    layers.tracks.replaceChildren(...nodes);
    layers.labels.append(...labels);
  }

  function drawArrows({ place }) {
    const byAuthor = (deviceId, counter) => shown.findLast((entry) => entry.deviceId === deviceId && entry.counter <= counter);
    const previous = new Map();
    const paths = [];
    for (const entry of shown) {
      const to = place.get(entry.id);
      for (const cause of directCauses(entry, byAuthor, previous.get(entry.deviceId))) {
        const from = place.get(cause.id);
        if (from.y === to.y || from.x >= to.x) continue;
        const down = Math.sign(to.y - from.y);
        const lit = selected === entry.id ? ' is-lit' : '';
        const pull = Math.abs(to.y - from.y) * 0.55;
        paths.push(
          svg('path', {
            class: `arrow${lit}`,
            'marker-end': 'url(#arrow-head)',
            d: `M${from.x} ${from.y + 8 * down}C${from.x} ${from.y + pull * down} ${to.x} ${to.y - pull * down} ${to.x} ${to.y - 10 * down}`,
          }),
        );
      }
      previous.set(entry.deviceId, entry);
    }
    layers.arrows.replaceChildren(...paths);
  }

  /** The clock of the chosen message as a cut through all lines: left of it is what its author knew. */
  function drawCut({ owners, place, metrics, laneY, start }) {
    layers.shade.replaceChildren();
    const entry = selected && shown.find((one) => one.id === selected);
    if (!entry) return;
    const left = metrics.label + 4;
    const points = owners.map((owner, i) => {
      const known = shown.filter((one) => owner.owns(one) && knows(entry, one)).map((one) => place.get(one.id).x);
      return [known.length > 0 ? Math.max(...known) + 12 : start - 14, laneY(i)];
    });
    const half = metrics.lane / 2 - 3;
    const line = points
      .map(([x, y]) => `L${x} ${y - half}L${x} ${y + half}`)
      .join('')
      .replace('L', 'M');
    const wallet = { 'data-wallet': model.owner(entry.deviceId)?.wallet ?? 'other' };
    layers.shade.append(
      svg('path', { ...wallet, class: 'past', d: `${line}L${left} ${points.at(-1)[1] + half}L${left} ${points[0][1] - half}Z` }),
      svg('path', { ...wallet, class: 'cut', d: line }),
    );
  }

  function drawDots({ place, owners }) {
    const chosen = selected && shown.find((entry) => entry.id === selected);
    for (const [id, node] of dots) {
      if (place.has(id)) continue;
      node.remove();
      dots.delete(id);
    }
    const stop = selected ?? shown.at(-1)?.id;
    shown.forEach((entry, i) => {
      let node = dots.get(entry.id);
      if (!node) {
        node = svg('g', {
          role: 'button',
          'data-id': entry.id,
          onclick: () => select(entry.id),
          onkeydown: (event) => (event.key === 'Enter' || event.key === ' ') && (event.preventDefault(), select(entry.id)),
        });
        node.append(
          svg('circle', { class: 'hit', r: 16 }),
          svg('circle', { class: 'ring', r: 11 }),
          svg('circle', { class: 'dot', r: 6.5 }),
          svg('path', { class: 'mark' }),
        );
        dots.set(entry.id, node);
      }
      if (layers.dots.childNodes[i] !== node) layers.dots.insertBefore(node, layers.dots.childNodes[i] ?? null);
      const { x, y } = place.get(entry.id);
      const relation = !chosen ? '' : entry === chosen ? 'is-chosen' : knows(chosen, entry) ? 'is-past' : knows(entry, chosen) ? 'is-later' : 'is-concurrent';
      node.setAttribute('class', `message-dot ${relation}${entry.sequence === undefined ? ' is-waiting' : ''}${entry.deleted ? ' is-deleted' : ''}`);
      node.dataset.wallet = owners.find((owner) => owner.owns(entry)).wallet;
      node.style.setProperty('transform', `translate(${x}px, ${y}px)`);
      node.setAttribute('tabindex', entry.id === stop ? '0' : '-1');
      node.setAttribute('aria-pressed', String(entry.id === selected));
      node.setAttribute(
        'aria-label',
        `${entry.sequence === undefined ? 'Not sent' : `Message ${entry.sequence}`}, ${model.label(entry.deviceId, entry.wallet)}: ${entry.deleted ? 'deleted' : snippet(entry.text, 60)}`,
      );
      node.lastChild.setAttribute('d', entry.deleted ? 'M-3 -3L3 3M3 -3L-3 3' : entry.edited ? 'M-2.5 0H2.5' : '');
    });
  }

  const missedBy = (entry) => shown.filter((one) => one !== entry && !knows(entry, one) && !knows(one, entry));

  function drawDetail() {
    const entry = selected && shown.find((one) => one.id === selected);
    // Read aloud when it changes, and only then.
    const signature = JSON.stringify(entry ? [entry, missedBy(entry).length] : shown.length === 0);
    if (signature === detailFor) return;
    detailFor = signature;
    detail.classList.toggle('is-key', !entry);
    if (!entry) {
      const key = (className, text) => el('span', { class: 'key' }, el('i', { class: className }), text);
      detail.replaceChildren(
        ...(shown.length === 0
          ? ['No messages yet. The first one starts the drawing.']
          : [
              key('key-dot', 'in the log'),
              key('key-hollow', 'waiting in an outbox'),
              key('key-line', 'read so far'),
              key('key-arrow', 'had seen it before writing'),
              key('key-tick', 'edits and deletions'),
            ]),
      );
      return;
    }
    const missed = missedBy(entry);
    const seen = model.devices
      .filter((device) => device.deviceId && device.deviceId !== entry.deviceId)
      .map((device) => `${Math.min(counterOf(entry.clock, device.deviceId), model.heads[device.deviceId] ?? 0) || 'nothing'} from ${device.label}`);
    const places = missed.filter((one) => one.sequence !== undefined).map((one) => `#${one.sequence}`);
    const some = places.length > 0 && places.length === missed.length ? ` (${places.slice(0, 8).join(', ')}${places.length > 8 ? ' …' : ''})` : '';
    detail.replaceChildren(
      el('strong', {}, entry.sequence === undefined ? 'Waiting' : `#${entry.sequence}`),
      ` ${model.label(entry.deviceId, entry.wallet)}: `,
      entry.deleted ? 'deleted' : bdi(`“${snippet(entry.text, 90)}”`),
      el('br'),
      `Written after seeing ${seen.join(' and ')}. `,
      missed.length === 0 ? 'Nothing was written at the same time.' : `It and ${count(missed.length, 'other message')}${some} did not know of each other.`,
    );
  }

  return {
    update(next) {
      model = next;
      draw();
      drawMatrix(matrix, model);
    },
  };
}
