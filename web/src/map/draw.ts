/** Drawing on the map: a circle, a polygon or a line, once; what was drawn comes back as a shape. */

import type { Map as MapLibre } from "maplibre-gl";

import { metresBetween, type Point, type Shape } from "../core/wkt.ts";

export type Drawing = "circle" | "polygon" | "corridor";

/** Begin to draw; what is answered gives it up. */
export async function draw(map: MapLibre, what: Drawing, onDone: (shape: Shape) => void): Promise<() => void> {
  const [{ TerraDraw, TerraDrawCircleMode, TerraDrawLineStringMode, TerraDrawPolygonMode }, { TerraDrawMapLibreGLAdapter }] =
    await Promise.all([import("terra-draw"), import("terra-draw-maplibre-gl-adapter")]);
  const styles = { fillColor: "#e4572e", outlineColor: "#e4572e", fillOpacity: 0.18, outlineWidth: 3 } as const;
  const made = new TerraDraw({
    adapter: new TerraDrawMapLibreGLAdapter({ map }),
    modes: [
      new TerraDrawCircleMode({ styles }),
      new TerraDrawPolygonMode({ styles: { ...styles, closingPointColor: "#0b5d66" } }),
      new TerraDrawLineStringMode({ styles: { lineStringColor: "#e4572e", lineStringWidth: 4 } }),
    ],
  });
  made.start();
  made.setMode(what === "corridor" ? "linestring" : what);
  map.doubleClickZoom.disable();
  let over = false;
  const stop = () => {
    if (over) return;
    over = true;
    made.stop();
    map.doubleClickZoom.enable();
    map.getCanvas().style.cursor = "";
  };
  made.on("finish", (id) => {
    const found = made.getSnapshotFeature(id);
    const geometry = found?.geometry;
    stop();
    if (geometry?.type === "LineString") onDone({ kind: "line", parts: [geometry.coordinates as Point[]] });
    if (geometry?.type === "Polygon") {
      const ring = geometry.coordinates[0] as Point[];
      onDone(what === "circle" ? circleOf(ring) : { kind: "polygon", rings: [ring] });
    }
  });
  return stop;
}

const PLACED_PX = 80;

/** A shape of some size about a place on the screen, for who draws without a pointer: its points are moved from there. */
export function placed(map: MapLibre, what: Drawing, [x, y]: readonly [number, number]): Shape {
  const at = (right: number, down: number): Point => {
    const { lng, lat } = map.unproject([x + right * PLACED_PX, y + down * PLACED_PX]);
    return [lng, lat];
  };
  if (what === "circle") return { kind: "circle", centre: at(0, 0), radius: metresBetween(at(0, 0), at(1, 0)) };
  if (what === "corridor") return { kind: "line", parts: [[at(-1, 0), at(1, 0)]] };
  return { kind: "polygon", rings: [[at(-1, -1), at(1, -1), at(1, 1), at(-1, 1), at(-1, -1)]] };
}

/** The circle that a ring of points was drawn around. */
function circleOf(ring: readonly Point[]): Shape {
  const points = ring.slice(1);
  const mean = (of: (point: Point) => number) => points.reduce((sum, point) => sum + of(point), 0) / points.length;
  const south = Math.min(...points.map((point) => point[1]));
  const north = Math.max(...points.map((point) => point[1]));
  const centre: Point = [mean((point) => point[0]), (south + north) / 2];
  return { kind: "circle", centre, radius: metresBetween(centre, points[0]!) };
}
