// One tab stop for a whole list: arrows, Home and End move within it.

/**
 * `targets` selects what can have the focus; buttons in a target are reached with Tab from it, and from nowhere else.
 * `step(target, way)` may give another next one than the neighbour in the document. `entry()` gives where Tab comes into the list;
 * without it that is where it was left.
 */
export function roving(list, targets, { step = null, entry = null } = {}) {
  let active = null;

  const all = () => [...list.querySelectorAll(targets)];

  function setActive(target) {
    if (active === target) return;
    active?.setAttribute('tabindex', '-1');
    active = target;
    active?.setAttribute('tabindex', '0');
  }

  /** The buttons in a target are stops while the focus is in it. */
  function setStops(target, tabindex) {
    for (const button of target.querySelectorAll('button')) {
      if (button.getAttribute('tabindex') !== tabindex) button.setAttribute('tabindex', tabindex);
    }
  }

  list.addEventListener('focusin', (event) => {
    const target = event.target.closest(targets);
    if (!target) return;
    setActive(target);
    setStops(target, '0');
  });
  list.addEventListener('focusout', (event) => {
    const target = event.target.closest(targets);
    if (target && !target.contains(event.relatedTarget)) setStops(target, '-1');
    if (entry && !list.contains(event.relatedTarget)) setActive(entry());
  });
  list.addEventListener('keydown', async (event) => {
    const target = event.target.closest?.(targets);
    if (!target || event.target !== target || event.altKey || event.ctrlKey || event.metaKey) return;
    const way = { ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity }[event.key];
    if (way === undefined) return;
    event.preventDefault();
    const nodes = all();
    const place = Math.min(Math.max(nodes.indexOf(target) + way, 0), nodes.length - 1);
    const next = (await step?.(target, way)) ?? nodes[place];
    next?.focus();
  });

  return {
    /** To be called when nodes came or left. */
    update() {
      const nodes = all();
      const focused = document.activeElement;
      for (const node of nodes) {
        if (!node.hasAttribute('tabindex')) node.setAttribute('tabindex', '-1');
        setStops(node, node.contains(focused) ? '0' : '-1');
      }
      if (entry && !list.contains(focused)) setActive(entry());
      else if (!active || !active.isConnected || !active.matches(targets)) setActive(nodes[0] ?? null);
    },
  };
}
