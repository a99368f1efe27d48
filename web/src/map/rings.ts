/** Ways and rings across 180° and around a pole. */

type Coordinates = number[];

/** A way whose longitudes run on past 180° instead of jumping to the other side. */
export function continued(way: readonly Coordinates[]): Coordinates[] {
  let turns = 0;
  return way.map((point, at) => {
    const before = way[at - 1];
    if (before) {
      const step = point[0]! - before[0]!;
      if (step > 180) turns -= 360;
      else if (step < -180) turns += 360;
    }
    return [point[0]! + turns, point[1]!];
  });
}

/** A ring as a way that runs on. One that goes around the earth is led along the nearer pole, so that it closes. */
export function unwrapped(ring: readonly Coordinates[]): Coordinates[] {
  const found = continued(ring);
  const first = found[0];
  const last = found.at(-1);
  if (!first || !last || Math.abs(last[0]! - first[0]!) < 180) return found;
  const pole = first[1]! < 0 ? -90 : 90;
  return [...found, [last[0]!, pole], [first[0]!, pole], first];
}

/** The same meridian, by whole turns as near to another as may be. */
export const turned = (longitude: number, to: number): number => longitude + Math.round((to - longitude) / 360) * 360;

/** The narrowest span that holds all of these, each from west to east; like them it may run on past 180°. */
export function spanOf(spans: readonly (readonly [west: number, east: number])[]): [west: number, east: number] | null {
  const sorted = spans
    .map(([west, east]) => [turned(west, 0), turned(west, 0) + (east - west)] as const)
    .sort((a, b) => a[0] - b[0]);
  const last = sorted.reduce((far, [, east]) => Math.max(far, east), -Infinity);
  let reach = last - 360; // what lies farthest east so far; at first that of the turn before
  let widest = 0;
  let found: [number, number] | null = sorted.length ? [-180, 180] : null;
  for (const [west, east] of sorted) {
    if (west - reach > widest) {
      widest = west - reach;
      found = [west, reach === last - 360 ? last : reach + 360];
    }
    reach = Math.max(reach, east);
  }
  return found;
}
