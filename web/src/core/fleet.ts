/** The trackers that one may see, kept current by the socket. Positions change often: they live outside of signals. */

import { batch, signal } from "@preact/signals";

import { api } from "./api.ts";
import { type Motion, motionFrom, type Status, statusFrom } from "./status.ts";
import type { Device, Event, Geofence, Group, Position } from "./types.ts";

export const devices = signal<ReadonlyMap<number, Device>>(new Map());
export const groups = signal<readonly Group[]>([]);
export const geofences = signal<readonly Geofence[]>([]);
export const connected = signal(false);
/** The socket was lost, or does not come to be: it is tried again. */
export const adrift = signal(false);
/** When adrift: of which moment what is shown is. */
export const asOf = signal<Date | null>(null);
export const loaded = signal(false);
/** Counts up, at most a few times a second, when positions have changed. */
export const moved = signal(0);

export const positions = new Map<number, Position>();

type Listener<T> = (item: T) => void;
const positionListeners = new Set<Listener<Position>>();
const eventListeners = new Set<Listener<Event>>();

export function onPosition(listener: Listener<Position>): () => void {
  positionListeners.add(listener);
  return () => positionListeners.delete(listener);
}

export function onEvent(listener: Listener<Event>): () => void {
  eventListeners.add(listener);
  return () => eventListeners.delete(listener);
}

/** A blocked tracker stands in the list of devices for its management's sake; it is not shown anywhere else. */
export const isBlocked = (device: Device): boolean => Boolean(device.attributes?.block);

export const motionOf = (device: Device): Motion => motionFrom(device.status, positions.get(device.id));
export const statusOf = (device: Device): Status => statusFrom(device.status, positions.get(device.id));

const FEW = 500;
const ANNOUNCE_MS = 250;
const ANNOUNCE_MANY_MS = 1_000; // a list of thousands takes its time to sort

let announcing = 0;
function announce() {
  if (announcing) return;
  announcing = window.setTimeout(
    () => {
      announcing = 0;
      batch(() => {
        if (waiting.size) replace([]);
        moved.value++;
      });
    },
    positions.size > FEW ? ANNOUNCE_MANY_MS : ANNOUNCE_MS,
  );
}

function takePositions(list: readonly Position[]) {
  for (const position of list) {
    positions.set(position.deviceId, position);
    for (const listener of positionListeners) listener(position);
  }
  if (list.length) announce();
}

/** Of these only the last contact or the like is new: lists of thousands hear of it together, a few times a second. */
const waiting = new Map<number, Device>();

function replace(list: readonly Device[]) {
  const next = new Map(devices.peek());
  for (const device of [...waiting.values(), ...list]) {
    next.set(device.id, device);
    if (isBlocked(device)) positions.delete(device.id);
  }
  waiting.clear();
  devices.value = next;
}

function takeDevices(list: readonly Device[]) {
  if (!list.length) return;
  const now = devices.peek();
  const known = list.every((device) => {
    const before = now.get(device.id);
    return before && isBlocked(before) === isBlocked(device);
  });
  if (!known) replace(list); // somebody comes or goes: at once
  else for (const device of list) waiting.set(device.id, device);
  announce();
}

export async function refresh(): Promise<void> {
  const [list, latest, folders, fences] = await Promise.all([
    api.get<Device[]>("/devices"),
    api.get<Position[]>("/positions"),
    api.get<Group[]>("/groups").catch(() => []),
    api.get<Geofence[]>("/geofences").catch(() => []),
  ]);
  batch(() => {
    positions.clear();
    waiting.clear();
    devices.value = new Map(list.map((device) => [device.id, device]));
    groups.value = folders;
    geofences.value = fences;
    loaded.value = true;
    moved.value++;
  });
  takePositions(latest);
}

export const refreshDevices = async (): Promise<void> => {
  const list = await api.get<Device[]>("/devices");
  waiting.clear();
  devices.value = new Map(list.map((device) => [device.id, device]));
  for (const id of [...positions.keys()]) {
    const device = devices.value.get(id);
    if (!device || isBlocked(device)) positions.delete(id);
  }
  moved.value++;
};

export const refreshGeofences = async (): Promise<void> => {
  geofences.value = await api.get<Geofence[]>("/geofences");
};

// ------------------------------------------------------------------------------------------------- the socket

const PAUSE_MS_MIN = 1_000;
const PAUSE_MS_MAX = 30_000;

let socket: WebSocket | null = null;
let pause = PAUSE_MS_MIN;
let retry = 0;
let wanted = false;
let heardAt = 0; // by a clock that nobody sets
let told: Date | null = null;

const SILENCE_MS = 130_000; // the server says something each 55 s
/** A way that has gone without a word (a laptop that slept, a cable that was pulled) is not seen by the browser for long. */
setInterval(() => {
  if (connected.peek() && performance.now() - heardAt > SILENCE_MS) lose();
}, 10_000);
addEventListener("offline", lose);
addEventListener("online", () => {
  if (wanted && !connected.peek()) open();
});

/** Not waiting for the farewell of whoever is not there. */
function lose() {
  const lost = socket;
  socket = null;
  lost?.close();
  if (lost) openLater();
}

function openLater() {
  connected.value = false;
  if (!wanted) return;
  asOf.value = told;
  adrift.value = true;
  clearTimeout(retry);
  retry = window.setTimeout(open, pause * (0.75 + Math.random() / 2));
  pause = Math.min(pause * 2, PAUSE_MS_MAX);
}

export function connect(): void {
  wanted = true;
  open();
}

export function disconnect(): void {
  wanted = false;
  clearTimeout(retry);
  socket?.close();
  socket = null;
  connected.value = false;
  adrift.value = false;
  loaded.value = false;
  told = null;
  devices.value = new Map();
  waiting.clear();
  positions.clear();
}

function open() {
  clearTimeout(retry);
  const address = new URL("/api/socket", location.href);
  address.protocol = address.protocol.replace("http", "ws");
  const opened = new WebSocket(address);
  socket = opened;
  let came = false;
  opened.onopen = () => {
    if (socket !== opened) return opened.close();
    came = true;
    pause = PAUSE_MS_MIN;
    hear();
    connected.value = true;
    adrift.value = false;
    refresh().catch(() => opened.close());
  };
  opened.onmessage = (message) => {
    hear();
    const said = JSON.parse(String(message.data)) as {
      devices?: Device[];
      positions?: Position[];
      events?: Event[];
    };
    batch(() => {
      if (said.devices) takeDevices(said.devices);
      if (said.positions) takePositions(said.positions);
      for (const event of said.events ?? []) for (const listener of eventListeners) listener(event);
    });
  };
  opened.onclose = () => {
    if (socket !== opened) return;
    openLater();
    // where a proxy lets no sockets pass it is asked instead; and who was signed out learns it so
    if (!came) refresh().then(note, () => null);
  };
}

/** What is shown is of now. */
function note() {
  told = new Date();
  if (adrift.peek()) asOf.value = told;
}

function hear() {
  heardAt = performance.now();
  note();
}
