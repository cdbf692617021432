// One tab stop for a whole list: arrows, Home and End move within it.

/**
 * `targets` selects what can have the focus. `step(target, way)` may give another next one than the neighbour in the document.
 */
export function roving(list, targets, step = null) {
  let active = null;

  const all = () => [...list.querySelectorAll(targets)];

  function setActive(target) {
    if (active === target) return;
    active?.setAttribute('tabindex', '-1');
    active = target;
    active?.setAttribute('tabindex', '0');
  }

  list.addEventListener('focusin', (event) => {
    const target = event.target.closest(targets);
    if (target) setActive(target);
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
    update(first = null) {
      const nodes = all();
      for (const node of nodes) if (!node.hasAttribute('tabindex')) node.setAttribute('tabindex', '-1');
      if (!active || !active.isConnected || !active.matches(targets)) setActive(first ?? nodes[0] ?? null);
    },
  };
}
