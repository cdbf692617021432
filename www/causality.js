// Reading vector clocks: which entries did not know of each other.

/** A device's counter, 0 where the clock does not name it. Devices name themselves, perhaps like a field that every object has. */
export function counterOf(clock, deviceId) {
  return Object.hasOwn(clock, deviceId) ? clock[deviceId] : 0;
}

export function knows(later, earlier) {
  return counterOf(later.clock, earlier.deviceId) >= earlier.counter;
}

/**
 * Groups of entries connected by "neither knew of the other". `entries` stand in the log's order, in which no entry
 * knows a later one; so each is held against the earlier entries of other devices that its clock does not cover.
 */
export function concurrentGroups(entries) {
  const parent = new Map();
  const root = (entry) => {
    let at = entry;
    while (parent.has(at)) at = parent.get(at);
    return at;
  };
  const touched = new Set();
  const lanes = new Map();
  for (const entry of entries) {
    for (const [deviceId, lane] of lanes) {
      if (deviceId === entry.deviceId) continue;
      for (let i = lane.length - 1; i >= 0 && !knows(entry, lane[i]); i--) {
        touched.add(entry).add(lane[i]);
        const [a, b] = [root(entry), root(lane[i])];
        if (a !== b) parent.set(a, b);
      }
    }
    if (!lanes.has(entry.deviceId)) lanes.set(entry.deviceId, []);
    lanes.get(entry.deviceId).push(entry);
  }
  const groups = new Map();
  for (const entry of entries) {
    if (!touched.has(entry)) continue;
    const key = root(entry);
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(entry);
  }
  return [...groups.values()];
}

/** What an entry's author had just learned: per other device the newest entry, unless another of these implies it. */
export function directCauses(entry, byAuthor, previous) {
  const news = Object.entries(entry.clock)
    .filter(([deviceId, counter]) => deviceId !== entry.deviceId && counter > counterOf(previous?.clock ?? {}, deviceId))
    .map(([deviceId, counter]) => byAuthor(deviceId, counter))
    .filter((cause) => cause !== undefined);
  return news.filter((cause) => !news.some((other) => other !== cause && knows(other, cause)));
}
