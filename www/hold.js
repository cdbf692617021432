// What a page can do in the place of a browser that freezes it: all that reaches its code from outside waits until it is thawed.
// That is timers, messages of other tabs and of the relay, answers of the storage, and locks. What it awaits within itself goes on.

/** What waits, in its order, while it is frozen. */
let held = null;

/** Does it, or has it wait while the page is frozen. */
function pass(work) {
  if (!held) return work();
  return new Promise((resolve) => {
    held.push(() => resolve(work()));
  });
}

function holdTimers() {
  const { setTimeout: begin, clearTimeout: end } = globalThis;
  const late = new Set();
  globalThis.setTimeout = (callback, ...rest) => {
    const timer = begin.call(globalThis, (...args) => {
      late.add(timer);
      pass(() => late.delete(timer) && callback(...args));
    }, ...rest);
    return timer;
  };
  globalThis.clearTimeout = (timer) => {
    late.delete(timer);
    end.call(globalThis, timer);
  };
}

/** Events of a class, for handlers that are properties. The one that is there when the page goes on hears what waited. */
function holdEvents({ prototype }, names) {
  for (const name of names) {
    const { set } = Object.getOwnPropertyDescriptor(prototype, name);
    const handlers = new WeakMap();
    Object.defineProperty(prototype, name, {
      get() {
        return handlers.get(this) ?? null;
      },
      set(handler) {
        handlers.set(this, handler);
        set.call(this, handler && ((event) => pass(() => handlers.get(this)?.call(this, event))));
      },
    });
  }
}

function holdLocks({ prototype }) {
  const { request } = prototype;
  prototype.request = function (...args) {
    const granted = args.pop();
    const over = request.call(this, ...args, (lock) => pass(() => granted(lock)));
    return new Promise((resolve, reject) => {
      over.then((value) => pass(() => resolve(value)), (error) => pass(() => reject(error)));
    });
  };
}

/** Freezes this page. With `notice` it is told before, as Chromium tells pages; other browsers do not. */
export function freeze(notice) {
  if (notice) document.dispatchEvent(new Event('freeze'));
  held ??= [];
}

/** It goes on, with all that has come meanwhile. */
export function thaw(notice) {
  const waiting = held ?? [];
  held = null;
  if (notice) document.dispatchEvent(new Event('resume'));
  for (const go of waiting) go();
}

holdTimers();
holdEvents(BroadcastChannel, ['onmessage']);
holdEvents(WebSocket, ['onopen', 'onmessage', 'onclose', 'onerror']);
holdEvents(IDBRequest, ['onsuccess', 'onerror']);
holdEvents(IDBOpenDBRequest, ['onblocked', 'onupgradeneeded']);
holdEvents(IDBTransaction, ['oncomplete', 'onabort', 'onerror']);
holdEvents(IDBDatabase, ['onclose', 'onversionchange']);
if (globalThis.LockManager) holdLocks(globalThis.LockManager);
