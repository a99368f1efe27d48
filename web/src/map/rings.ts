/** Rings of polygons across 180° and around a pole. */

type Coordinates = number[];

/**
 * A ring whose longitudes run on past 180° instead of jumping to the other side. One that goes around the earth is led
 * along the nearer pole, so that it closes.
 */
export function unwrapped(ring: Coordinates[]): Coordinates[] {
  let turns = 0;
  const found = ring.map((point, at) => {
    const before = ring[at - 1];
    if (before) {
      const step = point[0]! - before[0]!;
      if (step > 180) turns -= 360;
      else if (step < -180) turns += 360;
    }
    return [point[0]! + turns, point[1]!];
  });
  const first = found[0];
  const last = found.at(-1);
  if (!first || !last || Math.abs(last[0]! - first[0]!) < 180) return found;
  const pole = first[1]! < 0 ? -90 : 90;
  return [...found, [last[0]!, pole], [first[0]!, pole], first];
}
