/** Fences as the API writes them: WKT with latitude before longitude, and CIRCLE (lat lon, metres). */

export type Point = [longitude: number, latitude: number];

export type Shape =
  | { kind: "circle"; centre: Point; radius: number }
  | { kind: "polygon"; rings: Point[][] }
  | { kind: "polygons"; parts: Point[][][] }
  | { kind: "line"; parts: Point[][] };

const EARTH_M = 6_371_008.8;

function points(text: string): Point[] {
  return text.split(",").map((pair) => {
    const [latitude, longitude] = pair.trim().split(/\s+/).map(Number);
    if (latitude === undefined || longitude === undefined || Number.isNaN(latitude + longitude)) {
      throw new Error(`not a pair of coordinates: ${pair.trim()}`);
    }
    return [longitude, latitude];
  });
}

const inner = (text: string): string => text.trim().replace(/^\(/, "").replace(/\)$/, "");

/** Splits "(a),(b)" at the commas between its parentheses. */
function split(text: string): string[] {
  const found: string[] = [];
  let depth = 0;
  let start = 0;
  for (let at = 0; at < text.length; at++) {
    if (text[at] === "(") depth++;
    else if (text[at] === ")") depth--;
    else if (text[at] === "," && depth === 0) {
      found.push(text.slice(start, at));
      start = at + 1;
    }
  }
  found.push(text.slice(start));
  return found;
}

/** Throws where the text is none of the shapes that we draw. */
export function parse(wkt: string): Shape {
  const match = /^\s*([A-Z]+)\s*(?:Z\s*)?\((.*)\)\s*$/is.exec(wkt);
  if (!match) throw new Error(`not WKT: ${wkt.slice(0, 40)}`);
  const body = match[2]!;
  switch (match[1]!.toUpperCase()) {
    case "CIRCLE": {
      const [centre, radius] = body.split(",");
      return { kind: "circle", centre: points(centre!)[0]!, radius: Number(radius) };
    }
    case "POLYGON":
      return { kind: "polygon", rings: split(body).map((ring) => points(inner(ring))) };
    case "MULTIPOLYGON":
      return {
        kind: "polygons",
        parts: split(body).map((part) => split(inner(part)).map((ring) => points(inner(ring)))),
      };
    case "LINESTRING":
      return { kind: "line", parts: [points(body)] };
    case "MULTILINESTRING":
      return { kind: "line", parts: split(body).map((line) => points(inner(line))) };
    default:
      throw new Error(`a shape that is not drawn here: ${match[1]}`);
  }
}

const pair = ([longitude, latitude]: Point): string => `${round(latitude)} ${round(longitude)}`;
const round = (degrees: number): string => String(Math.round(degrees * 1e7) / 1e7);
const ring = (line: Point[]): string => `(${line.map(pair).join(", ")})`;

export function format(shape: Shape): string {
  switch (shape.kind) {
    case "circle":
      return `CIRCLE (${pair(shape.centre)}, ${Math.round(shape.radius * 10) / 10})`;
    case "polygon":
      return `POLYGON (${shape.rings.map(ring).join(", ")})`;
    case "polygons":
      return `MULTIPOLYGON (${shape.parts.map((part) => `(${part.map(ring).join(", ")})`).join(", ")})`;
    case "line":
      return shape.parts.length === 1
        ? `LINESTRING ${ring(shape.parts[0]!)}`
        : `MULTILINESTRING (${shape.parts.map(ring).join(", ")})`;
  }
}

/** The point that lies some metres from another, by bearing in degrees, on a sphere. */
export function along([longitude, latitude]: Point, bearing: number, metres: number): Point {
  const angle = metres / EARTH_M;
  const turn = (bearing * Math.PI) / 180;
  const from = (latitude * Math.PI) / 180;
  const to = Math.asin(Math.sin(from) * Math.cos(angle) + Math.cos(from) * Math.sin(angle) * Math.cos(turn));
  const east = Math.atan2(
    Math.sin(turn) * Math.sin(angle) * Math.cos(from),
    Math.cos(angle) - Math.sin(from) * Math.sin(to),
  );
  return [longitude + (east * 180) / Math.PI, (to * 180) / Math.PI];
}

/** A circle as a ring of points, closed. */
export function circleRing(centre: Point, radius: number, steps = 96): Point[] {
  const line = Array.from({ length: steps }, (_, step) => along(centre, (step * 360) / steps, radius));
  return [...line, line[0]!];
}

/** Metres between two points, on a sphere. */
export function metresBetween([lon1, lat1]: Point, [lon2, lat2]: Point): number {
  const rad = Math.PI / 180;
  const dLat = (lat2 - lat1) * rad;
  const dLon = (lon2 - lon1) * rad;
  const a = Math.sin(dLat / 2) ** 2 + Math.cos(lat1 * rad) * Math.cos(lat2 * rad) * Math.sin(dLon / 2) ** 2;
  return 2 * EARTH_M * Math.asin(Math.sqrt(a));
}
