/** The trackers over the map: a canvas that is drawn with each of the map's frames, and while anything glides. */

import type { Map as MapLibre, MapMouseEvent } from "maplibre-gl";

import { devices, isBlocked, type Motion, motionOf, onPosition, positions } from "../core/fleet.ts";
import { dark, stillness } from "../core/preferences.ts";
import type { Position } from "../core/types.ts";
import { type Glide, isDone, next, shownAt } from "./glide.ts";

const REACH_PX = 18; // how near a click must be
const LABELS_FROM_ZOOM = 9;
const LABELS_MAX = 300; // more would be read by nobody, and cost frames
const ARROWS_FROM_ZOOM = 6;

const FRAME_MS = 16;
const PAUSE_MS_MAX = 500;
const MARK_PX = 32;
const TURNS = 72; // directions of an arrow: a copy that is turned as it is drawn costs several times one that is not
const STEP_PX = 0.4; // a mark that has moved less since it was drawn need not be drawn again
const TILE_PX = 512;

const COLOURS: Record<"light" | "dark", Record<Motion, string>> = {
  light: { moving: "#16794a", idle: "#1f5fae", offline: "#67757c", unknown: "#67757c" },
  dark: { moving: "#3fc07f", idle: "#6aa5f2", offline: "#93a3a9", unknown: "#93a3a9" },
};

export interface FleetLayer {
  /** Draw again: something other than a position has changed. */
  draw: () => void;
  select: (id: number | null) => void;
  /** Only these are drawn; null: all. */
  show: (ids: ReadonlySet<number> | null) => void;
  remove: () => void;
}

/** ``onPick`` is told which tracker was clicked, or null; ``onGlide`` where the selected one is drawn. */
export function addFleet(
  map: MapLibre,
  onPick: (id: number | null) => void,
  onGlide?: (longitude: number, latitude: number) => void,
): FleetLayer {
  const canvas = document.createElement("canvas");
  canvas.className = "fleet";
  map.getCanvasContainer().append(canvas);
  const context = canvas.getContext("2d")!;
  const glides = new Map<number, Glide>();
  const places: { id: number; x: number; y: number }[] = [];
  let selected: number | null = null;
  let shown: ReadonlySet<number> | null = null;
  let frame = 0;
  let later = 0;
  const marks = new Map<string, HTMLCanvasElement>();

  const take = (position: Position) => {
    const to = { longitude: position.longitude, latitude: position.latitude, course: position.course };
    glides.set(position.deviceId, next(glides.get(position.deviceId), to, performance.now(), stillness.matches));
    ask();
  };
  for (const position of positions.values()) take(position);
  const stopListening = onPosition(take);

  function ask() {
    if (frame) return;
    frame = requestAnimationFrame(() => {
      frame = 0;
      paint();
    });
  }

  function paint() {
    const ratio = devicePixelRatio;
    const { clientWidth: width, clientHeight: height } = map.getCanvas();
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      canvas.style.width = `${width}px`;
      canvas.style.height = `${height}px`;
    }
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    places.length = 0;
    const now = performance.now();
    const zoom = map.getZoom();
    const bearing = map.getBearing();
    const colours = COLOURS[dark.peek() ? "dark" : "light"];
    let gliding = false;
    const pxPerDegree = (TILE_PX * 2 ** zoom) / 360;
    let fastest = 0; // px a millisecond
    const labelled: { x: number; y: number; text: string }[] = [];
    for (const [id, glide] of glides) {
      const device = devices.peek().get(id);
      if (!device || !positions.has(id) || isBlocked(device)) {
        glides.delete(id);
        continue;
      }
      if (shown && !shown.has(id)) continue;
      const at = shownAt(glide, now);
      if (id === selected) onGlide?.(at.longitude, at.latitude);
      const { x, y } = map.project([at.longitude, at.latitude]);
      if (x < -30 || y < -30 || x > width + 30 || y > height + 30) continue;
      if (!isDone(glide, now)) {
        gliding = true;
        const way = Math.hypot(glide.to.longitude - glide.from.longitude, glide.to.latitude - glide.from.latitude);
        fastest = Math.max(fastest, (way * pxPerDegree * 2) / glide.lasts); // twice: it sets out fast
      }
      places.push({ id, x, y });
      const motion = motionOf(device);
      if (id === selected) halo(x, y, colours[motion]);
      if (motion === "moving" && zoom >= ARROWS_FROM_ZOOM) arrow(x, y, at.course - bearing, colours[motion]);
      else disc(x, y, zoom < ARROWS_FROM_ZOOM ? 4.5 : 7, colours[motion]);
      if (id === selected || (zoom >= LABELS_FROM_ZOOM && labelled.length < LABELS_MAX)) {
        labelled.push({ x, y, text: device.name });
      }
    }
    labels(labelled);
    canvas.dataset.drawn = String(places.length);
    if (gliding) askIn(STEP_PX / fastest);
  }

  /** Draw again once something has moved enough to be seen: at a small scale that is seldom. */
  function askIn(milliseconds: number) {
    if (!(milliseconds > FRAME_MS)) ask();
    else if (!later) {
      later = window.setTimeout(() => {
        later = 0;
        ask();
      }, Math.min(milliseconds, PAUSE_MS_MAX));
    }
  }

  const rim = () => (dark.peek() ? "#0c1517" : "#ffffff");

  /** A mark, drawn once for its colour and size, and copied from then on. */
  function mark(key: string, paintOnce: (pen: CanvasRenderingContext2D) => void): HTMLCanvasElement {
    let found = marks.get(key);
    if (!found) {
      found = document.createElement("canvas");
      found.width = found.height = MARK_PX * devicePixelRatio;
      const pen = found.getContext("2d")!;
      pen.scale(devicePixelRatio, devicePixelRatio);
      pen.translate(MARK_PX / 2, MARK_PX / 2);
      paintOnce(pen);
      marks.set(key, found);
    }
    return found;
  }

  const copy = (from: HTMLCanvasElement, x: number, y: number) =>
    context.drawImage(from, x - MARK_PX / 2, y - MARK_PX / 2, MARK_PX, MARK_PX);

  function disc(x: number, y: number, radius: number, colour: string) {
    const drawn = mark(`disc ${radius} ${colour} ${devicePixelRatio}`, (pen) => {
      pen.beginPath();
      pen.arc(0, 0, radius, 0, 7);
      pen.fillStyle = colour;
      pen.fill();
      pen.lineWidth = radius > 5 ? 2.5 : 1.5;
      pen.strokeStyle = rim();
      pen.stroke();
    });
    copy(drawn, x, y);
  }

  function arrow(x: number, y: number, degrees: number, colour: string) {
    const turn = Math.round((degrees / 360) * TURNS);
    const drawn = mark(`arrow ${colour} ${((turn % TURNS) + TURNS) % TURNS} ${devicePixelRatio}`, (pen) => {
      pen.rotate((turn * 2 * Math.PI) / TURNS);
      pen.beginPath();
      pen.moveTo(0, -12);
      pen.lineTo(8.5, 9.5);
      pen.lineTo(0, 5.5);
      pen.lineTo(-8.5, 9.5);
      pen.closePath();
      pen.fillStyle = colour;
      pen.lineJoin = "round";
      pen.lineWidth = 4;
      pen.strokeStyle = rim();
      pen.stroke();
      pen.fill();
    });
    copy(drawn, x, y);
  }

  function halo(x: number, y: number, colour: string) {
    context.beginPath();
    context.arc(x, y, 22, 0, 7);
    context.globalAlpha = 0.22;
    context.fillStyle = colour;
    context.fill();
    context.globalAlpha = 1;
  }

  /** Names under the marks, each only where no other stands already. */
  function labels(list: { x: number; y: number; text: string }[]) {
    context.font = "600 12px system-ui, 'Segoe UI', Roboto, 'Noto Sans', sans-serif";
    context.textAlign = "center";
    context.lineWidth = 3.5;
    context.lineJoin = "round";
    const taken: { left: number; right: number; top: number; bottom: number }[] = [];
    for (const { x, y, text } of list) {
      const half = context.measureText(text).width / 2 + 3;
      const box = { left: x - half, right: x + half, top: y + 13, bottom: y + 29 };
      const crowded = taken.some(
        (other) => box.left < other.right && box.right > other.left && box.top < other.bottom && box.bottom > other.top,
      );
      if (crowded) continue;
      taken.push(box);
      context.strokeStyle = dark.peek() ? "rgb(12 21 23 / 85%)" : "rgb(255 255 255 / 90%)";
      context.strokeText(text, x, y + 25);
      context.fillStyle = dark.peek() ? "#e6eff0" : "#14252b";
      context.fillText(text, x, y + 25);
    }
  }

  const nearest = (x: number, y: number): number | null => {
    let found: number | null = null;
    let best = REACH_PX;
    for (const place of places) {
      const away = Math.hypot(place.x - x, place.y - y);
      if (away < best) {
        best = away;
        found = place.id;
      }
    }
    return found;
  };
  const click = (event: MapMouseEvent) => onPick(nearest(event.point.x, event.point.y));
  const hover = (event: MapMouseEvent) => {
    map.getCanvas().style.cursor = nearest(event.point.x, event.point.y) === null ? "" : "pointer";
  };
  map.on("click", click);
  map.on("mousemove", hover);
  map.on("render", paint);
  paint();

  return {
    draw: ask,
    select: (id) => {
      selected = id;
      ask();
    },
    show: (ids) => {
      shown = ids;
      ask();
    },
    remove: () => {
      stopListening();
      cancelAnimationFrame(frame);
      clearTimeout(later);
      map.off("click", click);
      map.off("mousemove", hover);
      map.off("render", paint);
      map.getCanvas().style.cursor = "";
      canvas.remove();
    },
  };
}
