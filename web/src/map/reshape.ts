/** A shape's points as handles over the map: dragged with a finger or the mouse, or moved by the arrow keys. */

import type { Map as MapLibre, Marker } from "maplibre-gl";

import { added, linesOf, middlesOf, moved, removed, type Spot } from "../core/points.ts";
import type { Point, Shape } from "../core/wkt.ts";
import { t } from "../i18n/index.ts";

const STEP_PX = 10; // of an arrow key; with Shift 1
const ARROWS: Record<string, [number, number]> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

/** Show the handles; ``onChange`` is told of each new shape. What is answered takes them away. */
export async function reshape(map: MapLibre, begun: Shape, onChange: (shape: Shape) => void, keys: { onEscape: () => void; onEnter: () => void }): Promise<() => void> {
  const { Marker } = await import("maplibre-gl");
  let shape = begun;
  let markers: { marker: Marker; spot: Spot; middle: boolean }[] = [];

  const put = (next: Shape) => {
    shape = next;
    onChange(next);
  };
  const pointOf = (marker: Marker): Point => {
    const { lng, lat } = marker.getLngLat();
    return [lng, lat];
  };
  /** Each handle to where its point is now; a dragged one is there already. */
  const follow = (dragged?: Marker) => {
    const lines = linesOf(shape);
    const middles = middlesOf(shape);
    let middle = 0;
    for (const one of markers) {
      const place = one.middle ? middles[middle++]?.point : lines[one.spot.line]?.points[one.spot.at];
      if (place && one.marker !== dragged) one.marker.setLngLat(place);
    }
  };
  const build = (focus?: Spot) => {
    clear();
    const lines = linesOf(shape);
    lines.forEach(({ points }, line) => {
      points.forEach((point, at) => handle({ line, at }, point, cornerName(at, points.length)));
    });
    for (const { spot, point } of middlesOf(shape)) middle(spot, point);
    if (!focus) return;
    const found = markers.find(({ spot, middle }) => !middle && spot.line === focus.line && spot.at === focus.at);
    found?.marker.getElement().focus();
  };
  const cornerName = (at: number, of: number): string => {
    if (shape.kind !== "circle") return t("fences.point", { number: at + 1, count: of });
    return at === 0 ? t("fences.centre") : t("fences.edge");
  };
  const add = (kind: string, label: string, point: Point, spot: Spot, isMiddle: boolean) => {
    const element = document.createElement("button");
    element.type = "button";
    element.className = `fence-handle ${kind}`;
    element.setAttribute("aria-label", label);
    const marker = new Marker({ element, draggable: true }).setLngLat(point).addTo(map);
    markers.push({ marker, spot, middle: isMiddle });
    return { element, marker };
  };
  const handle = (spot: Spot, point: Point, label: string) => {
    const { element, marker } = add(shape.kind === "circle" && spot.at === 0 ? "centre" : "", label, point, spot, false);
    marker.on("drag", () => {
      put(moved(shape, spot, pointOf(marker)));
      follow(shape.kind === "circle" && spot.at === 1 ? undefined : marker);
    });
    const drop = () => {
      const next = removed(shape, spot);
      if (!next) return;
      put(next);
      build({ line: spot.line, at: Math.max(spot.at - 1, 0) });
    };
    element.addEventListener("dblclick", (event) => {
      event.stopPropagation();
      drop();
    });
    element.addEventListener("keydown", (event) => {
      const arrow = ARROWS[event.key];
      if (arrow) {
        const step = event.shiftKey ? 1 : STEP_PX;
        const at = map.project(marker.getLngLat());
        const to = map.unproject([at.x + arrow[0] * step, at.y + arrow[1] * step]);
        put(moved(shape, spot, [to.lng, to.lat]));
        follow();
      } else if (event.key === "Delete" || event.key === "Backspace") drop();
      else if (event.key === "Escape") keys.onEscape();
      else if (event.key === "Enter") keys.onEnter();
      else return;
      event.preventDefault();
      event.stopPropagation(); // the map would move, too
    });
  };
  const middle = (spot: Spot, point: Point) => {
    const { element, marker } = add("middle", t("fences.addPoint", { number: spot.at + 1 }), point, spot, true);
    const insert = () => {
      put(added(shape, spot, pointOf(marker)));
      build({ line: spot.line, at: spot.at + 1 });
    };
    marker.on("drag", () => onChange(added(shape, spot, pointOf(marker))));
    marker.on("dragend", insert);
    element.addEventListener("click", insert);
    element.addEventListener("keydown", (event) => {
      if (event.key === "Escape") keys.onEscape();
    });
  };
  const clear = () => {
    for (const { marker } of markers) marker.remove();
    markers = [];
  };
  build({ line: 0, at: 0 });
  return clear;
}
