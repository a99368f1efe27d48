/** The trackers over the map: a canvas that is drawn with each of the map's frames, and while anything glides. */

import type { Map as MapLibre, MapMouseEvent } from "maplibre-gl";

import { devices, isBlocked, motionOf, onPosition, positions } from "../core/fleet.ts";
import { dark, stillness } from "../core/preferences.ts";
import type { Motion } from "../core/status.ts";
import type { Position } from "../core/types.ts";
import { type Glide, isDone, next, shownAt } from "./glide.ts";
import { turned } from "./rings.ts";

const REACH_PX = 18; // how near a click must be
const LABELS_FROM_ZOOM = 9;
const FEW = 25; // so many are named at every zoom, where the names have room
const LABEL_ROOM_PX = [90, 20] as const;
const LABELS_MAX = 300; // more would be read by nobody, and cost frames
const NAMES_MAX = 4 * LABELS_MAX;
const LABEL_PX = 22;
const LABEL_FONT = "600 12px system-ui, 'Segoe UI', Roboto, 'Noto Sans', sans-serif";
const ARROWS_FROM_ZOOM = 6;

const FRAME_MS = 16;
const PAUSE_MS_MAX = 500;
const MARK_PX = 32;
const SHEET_COLUMNS = 9;
const TURNS = 72; // directions of an arrow: a copy that is turned as it is drawn costs several times one that is not
const STEP_PX = 0.4; // a mark that has moved less since it was drawn need not be drawn again
const TILE_PX = 512;

const COLOURS: Record<"light" | "dark", Record<Motion, string>> = {
  light: { moving: "#16794a", idle: "#1f5fae", offline: "#67757c", unknown: "#67757c" },
  dark: { moving: "#3fc07f", idle: "#6aa5f2", offline: "#93a3a9", unknown: "#93a3a9" },
};

const NAME_CHARACTERS_MAX = 28; // of a longer one the beginning: it would cover half the map

const shortened = (name: string): string => {
  const letters = [...name]; // not half of a pair
  return letters.length > NAME_CHARACTERS_MAX ? `${letters.slice(0, NAME_CHARACTERS_MAX - 1).join("").trimEnd()}…` : name;
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
  const sheets = new Map<string, ImageBitmap>();
  const names = new Map<string, ImageBitmap>();

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
    const centre = map.getCenter().lng; // of a map that shows 180° each tracker is drawn on its own side
    const colours = COLOURS[dark.peek() ? "dark" : "light"];
    const few = glides.size <= FEW;
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
      const { x, y } = map.project([turned(at.longitude, centre), at.latitude]);
      if (x < -30 || y < -30 || x > width + 30 || y > height + 30) continue;
      if (!isDone(glide, now)) {
        gliding = true;
        const way = Math.hypot(glide.to.longitude - glide.from.longitude, glide.to.latitude - glide.from.latitude);
        fastest = Math.max(fastest, (way * pxPerDegree * 2) / glide.lasts); // twice: it sets out fast
      }
      places.push({ id, x, y });
      const motion = motionOf(device);
      if (id === selected) halo(x, y, colours[motion]);
      const large = few || zoom >= ARROWS_FROM_ZOOM;
      if (motion === "moving" && large) arrow(x, y, at.course - bearing, colours[motion]);
      else disc(x, y, large ? 7 : 4.5, colours[motion]);
      const hasRoom = () => labelled.every((one) => Math.abs(one.x - x) > LABEL_ROOM_PX[0] || Math.abs(one.y - y) > LABEL_ROOM_PX[1]);
      const named = zoom >= LABELS_FROM_ZOOM ? labelled.length < LABELS_MAX : few && hasRoom();
      if (id === selected || named) labelled.push({ x, y, text: shortened(device.name) });
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

  /** A sheet of marks, drawn once for their colour and size, and copied from then on: copies of one image are drawn together. */
  function sheet(key: string, count: number, paintOnce: (pen: OffscreenCanvasRenderingContext2D, which: number) => void): ImageBitmap {
    let found = sheets.get(key);
    if (!found) {
      const rows = Math.ceil(count / SHEET_COLUMNS);
      const drawn = new OffscreenCanvas(MARK_PX * SHEET_COLUMNS * devicePixelRatio, MARK_PX * rows * devicePixelRatio);
      const pen = drawn.getContext("2d")!;
      for (let which = 0; which < count; which++) {
        pen.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
        pen.translate(((which % SHEET_COLUMNS) + 0.5) * MARK_PX, (Math.floor(which / SHEET_COLUMNS) + 0.5) * MARK_PX);
        paintOnce(pen, which);
      }
      found = drawn.transferToImageBitmap();
      sheets.set(key, found);
    }
    return found;
  }

  function copy(from: ImageBitmap, which: number, x: number, y: number) {
    const size = MARK_PX * devicePixelRatio;
    const left = (which % SHEET_COLUMNS) * size;
    const top = Math.floor(which / SHEET_COLUMNS) * size;
    context.drawImage(from, left, top, size, size, x - MARK_PX / 2, y - MARK_PX / 2, MARK_PX, MARK_PX);
  }

  function disc(x: number, y: number, radius: number, colour: string) {
    const drawn = sheet(`disc ${radius} ${colour} ${devicePixelRatio}`, 1, (pen) => {
      pen.beginPath();
      pen.arc(0, 0, radius, 0, 7);
      pen.fillStyle = colour;
      pen.fill();
      pen.lineWidth = radius > 5 ? 2.5 : 1.5;
      pen.strokeStyle = rim();
      pen.stroke();
    });
    copy(drawn, 0, x, y);
  }

  function arrow(x: number, y: number, degrees: number, colour: string) {
    const drawn = sheet(`arrow ${colour} ${devicePixelRatio}`, TURNS, (pen, turn) => {
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
    const turn = Math.round((degrees / 360) * TURNS);
    copy(drawn, ((turn % TURNS) + TURNS) % TURNS, x, y);
  }

  function halo(x: number, y: number, colour: string) {
    context.beginPath();
    context.arc(x, y, 22, 0, 7);
    context.globalAlpha = 0.22;
    context.fillStyle = colour;
    context.fill();
    context.globalAlpha = 1;
  }

  /** A name with its rim, written once: letters with rims cost more than all marks together. */
  function written(text: string): ImageBitmap {
    const key = `${text} ${dark.peek()} ${devicePixelRatio}`;
    let found = names.get(key);
    if (!found) {
      if (names.size >= NAMES_MAX) names.clear();
      context.font = LABEL_FONT;
      const width = Math.ceil(context.measureText(text).width) + 6;
      const drawn = new OffscreenCanvas(Math.ceil(width * devicePixelRatio), LABEL_PX * devicePixelRatio);
      const pen = drawn.getContext("2d")!;
      pen.scale(devicePixelRatio, devicePixelRatio);
      pen.font = LABEL_FONT;
      pen.textAlign = "center";
      pen.lineWidth = 3.5;
      pen.lineJoin = "round";
      pen.strokeStyle = dark.peek() ? "rgb(12 21 23 / 85%)" : "rgb(255 255 255 / 90%)";
      pen.strokeText(text, width / 2, LABEL_PX - 6);
      pen.fillStyle = dark.peek() ? "#e6eff0" : "#14252b";
      pen.fillText(text, width / 2, LABEL_PX - 6);
      found = drawn.transferToImageBitmap();
      names.set(key, found);
    }
    return found;
  }

  /** Names under the marks, each only where no other stands already. */
  function labels(list: { x: number; y: number; text: string }[]) {
    const taken: { left: number; right: number; top: number; bottom: number }[] = [];
    for (const { x, y, text } of list) {
      const drawn = written(text);
      const width = drawn.width / devicePixelRatio;
      const box = { left: x - width / 2, right: x + width / 2, top: y + 13, bottom: y + 29 };
      const crowded = taken.some(
        (other) => box.left < other.right && box.right > other.left && box.top < other.bottom && box.bottom > other.top,
      );
      if (crowded) continue;
      taken.push(box);
      context.drawImage(drawn, box.left, y + 31 - LABEL_PX, width, LABEL_PX);
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
