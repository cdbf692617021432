/** `work` for many callers: those who come while it is under way share the next one, so each is served by one that began after its call. */
export function grouped(work) {
  let last = Promise.resolve();
  let next = null;
  return () => {
    next ??= last.catch(() => {}).then(() => {
      next = null;
      last = work();
      return last;
    });
    return next;
  };
}
