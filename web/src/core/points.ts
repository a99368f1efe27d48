/** A shape's points, by line and place, to be moved, added and taken away. */

import { along, metresBetween, type Point, type Shape } from "./wkt.ts";

export const POINTS_MAX = 200; // of one shape that is changed by hand: each is a button over the map

export interface Spot {
  line: number;
  at: number;
}

interface Line {
  points: readonly Point[];
  closed: boolean;
}

/** All lines of a shape in one list; of a ring that is closed, its first point stands once. A circle's: its centre, and a point due east. */
export function linesOf(shape: Shape): Line[] {
  const ring = (points: Point[]): Line => ({ points: points.slice(0, -1), closed: true });
  switch (shape.kind) {
    case "circle":
      return [{ points: [shape.centre, along(shape.centre, 90, shape.radius)], closed: false }];
    case "polygon":
      return shape.rings.map(ring);
    case "polygons":
      return shape.parts.flat().map(ring);
    case "line":
      return shape.parts.map((points) => ({ points, closed: false }));
  }
}

export const countOf = (shape: Shape): number => linesOf(shape).reduce((sum, line) => sum + line.points.length, 0);

/** The same shape with other points in one of its lines. */
function withLine(shape: Shape, number: number, points: Point[]): Shape {
  const closed = (): Point[] => [...points, points[0]!];
  switch (shape.kind) {
    case "circle":
      return shape;
    case "polygon":
      return { ...shape, rings: shape.rings.map((ring, at) => (at === number ? closed() : ring)) };
    case "polygons": {
      let at = 0;
      return { ...shape, parts: shape.parts.map((part) => part.map((ring) => (at++ === number ? closed() : ring))) };
    }
    case "line":
      return { ...shape, parts: shape.parts.map((line, at) => (at === number ? points : line)) };
  }
}

const METRES_MIN = 1; // a circle's radius

/** With a point elsewhere. A circle's centre takes its edge along; its edge changes the radius. */
export function moved(shape: Shape, { line, at }: Spot, to: Point): Shape {
  if (shape.kind === "circle") {
    if (at === 0) return { ...shape, centre: to };
    return { ...shape, radius: Math.max(metresBetween(shape.centre, to), METRES_MIN) };
  }
  const points = [...linesOf(shape)[line]!.points];
  points[at] = to;
  return withLine(shape, line, points);
}

/** With one point more, after that spot. */
export function added(shape: Shape, { line, at }: Spot, point: Point): Shape {
  const points = [...linesOf(shape)[line]!.points];
  points.splice(at + 1, 0, point);
  return withLine(shape, line, points);
}

/** With one point less; null where too few would be left. */
export function removed(shape: Shape, { line, at }: Spot): Shape | null {
  const { points, closed } = linesOf(shape)[line]!;
  if (shape.kind === "circle" || points.length <= (closed ? 3 : 2)) return null;
  return withLine(shape, line, points.filter((_, place) => place !== at));
}

/** Where one more point could be: in the middle of each side. */
export function middlesOf(shape: Shape): { spot: Spot; point: Point }[] {
  if (shape.kind === "circle") return [];
  return linesOf(shape).flatMap(({ points, closed }, line) =>
    points.flatMap((point, at) => {
      const next = points[at + 1] ?? (closed ? points[0] : undefined);
      if (!next) return [];
      return [{ spot: { line, at }, point: [(point[0] + next[0]) / 2, (point[1] + next[1]) / 2] as Point }];
    }),
  );
}
