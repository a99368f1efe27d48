/** Where a tracker was at a moment, from its fixes in order. */

interface Fix {
  fixTime: string;
  latitude: number;
  longitude: number;
}

const times = new WeakMap<readonly Fix[], number[]>();

function timesOf(fixes: readonly Fix[]): number[] {
  let found = times.get(fixes);
  if (!found) {
    found = fixes.map((fix) => Date.parse(fix.fixTime));
    times.set(fixes, found);
  }
  return found;
}

/** The last fix that is not after the moment; -1 before the first. */
export function indexAt(fixes: readonly Fix[], moment: number): number {
  const list = timesOf(fixes);
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle]! <= moment) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** The place on the straight line between the fixes before and after the moment; null where there are none. */
export function at(fixes: readonly Fix[], moment: number): { latitude: number; longitude: number } | null {
  if (!fixes.length) return null;
  const list = timesOf(fixes);
  const index = indexAt(fixes, moment);
  const before = fixes[Math.max(0, index)]!;
  const after = fixes[index + 1];
  if (index < 0 || !after) return { latitude: before.latitude, longitude: before.longitude };
  const span = list[index + 1]! - list[index]!;
  const part = span > 0 ? (moment - list[index]!) / span : 0;
  const east = ((after.longitude - before.longitude + 540) % 360) - 180;
  return {
    latitude: before.latitude + (after.latitude - before.latitude) * part,
    longitude: before.longitude + east * part,
  };
}
