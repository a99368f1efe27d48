/** Where a tracker is drawn between two fixes: it glides from where it was drawn to where it is, and never jumps. */

export interface Shown {
  longitude: number;
  latitude: number;
  course: number;
}

export interface Glide {
  from: Shown;
  to: Shown;
  beganAt: number;
  lasts: number;
}

const LASTS_MS_MIN = 400;
const LASTS_MS_MAX = 4_000; // a tracker that is drawn where it was longer ago than this would mislead
const JUMP_DEG = 1; // farther than this between two fixes is no drive: gliding would draw a lie across the map

const eased = (part: number): number => part * (2 - part);

export function shownAt(glide: Glide, now: number): Shown {
  const part = glide.lasts <= 0 ? 1 : Math.min(1, Math.max(0, (now - glide.beganAt) / glide.lasts));
  if (part >= 1) return glide.to;
  const way = eased(part);
  const { from, to } = glide;
  const turn = ((to.course - from.course + 540) % 360) - 180;
  return {
    longitude: from.longitude + shortWay(from.longitude, to.longitude) * way,
    latitude: from.latitude + (to.latitude - from.latitude) * way,
    course: (from.course + turn * way + 360) % 360,
  };
}

/** Degrees to go from one longitude to another, across 180° where that is shorter. */
const shortWay = (from: number, to: number): number => ((to - from + 540) % 360) - 180;

export const isDone = (glide: Glide, now: number): boolean => now >= glide.beganAt + glide.lasts;

/** The next glide of a tracker; ``still``: the person wants no movement. It lasts about as long as fixes are apart. */
export function next(before: Glide | undefined, to: Shown, now: number, still: boolean): Glide {
  if (!before) return { from: to, to, beganAt: now, lasts: 0 };
  const from = shownAt(before, now);
  const far = Math.abs(shortWay(from.longitude, to.longitude)) > JUMP_DEG || Math.abs(to.latitude - from.latitude) > JUMP_DEG;
  if (still || far) return { from: to, to, beganAt: now, lasts: 0 };
  const apart = now - before.beganAt;
  return { from, to, beganAt: now, lasts: Math.min(LASTS_MS_MAX, Math.max(LASTS_MS_MIN, apart)) };
}
