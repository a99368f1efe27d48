/** One tracker's day: its way on the map, trips and stops, a speed chart, and a player that runs through it. */

import { useSignal, useSignalEffect } from "@preact/signals";
import type { Feature } from "geojson";
import type { GeoJSONSource } from "maplibre-gl";
import { useEffect, useMemo, useRef } from "preact/hooks";

import { address, api } from "../core/api.ts";
import { dateAt, interval, shift } from "../core/days.ts";
import { devices, geofences, isBlocked, loaded } from "../core/fleet.ts";
import { distance, duration, speed, speedNumber, speedUnit, time, timeWithSeconds } from "../core/format.ts";
import { dark, zone } from "../core/preferences.ts";
import { go, place } from "../core/router.ts";
import { may } from "../core/session.ts";
import type { Event, Position, Stop, Trip } from "../core/types.ts";
import { t } from "../i18n/index.ts";
import { addLayers, boundsOf, FENCE_LAYERS, featuresOf, pointsOf } from "../map/layers.ts";
import { continued } from "../map/rings.ts";
import { map, MapButtons, offset, padding, useMap } from "../map/stage.tsx";
import { Icon, type IconName } from "../ui/icon.tsx";
import { Button, Empty, Remote, useRemote } from "../ui/parts.tsx";
import { at as placeAt, indexAt } from "./replay.ts";
import { eventName } from "./words.ts";

interface Day {
  positions: Position[];
  trips: Trip[];
  stops: Stop[];
  events: Event[];
}

const RATES = [1, 10, 60, 300, 1200] as const;
const SLOW_KN = 16;
const FAST_KN = 49;

const TOLD_BY_TRIPS = new Set(["deviceMoving", "deviceStopped"]);

async function load(deviceId: number, from: string, to: string): Promise<Day> {
  const query = { deviceId, from, to };
  const reports = may("reports");
  const none = async <T,>(): Promise<T[]> => [];
  const [positions, trips, stops, events] = await Promise.all([
    api.get<Position[]>("/positions", query),
    reports ? api.get<Trip[]>("/reports/trips", query) : none<Trip>(),
    reports ? api.get<Stop[]>("/reports/stops", query) : none<Stop>(),
    reports ? api.get<Event[]>("/reports/events", { ...query, type: "allEvents" }) : none<Event>(),
  ]);
  return { positions, trips, stops, events: events.filter((event) => !TOLD_BY_TRIPS.has(event.type)) };
}

export default function History() {
  const list = [...devices.value.values()]
    .filter((device) => !isBlocked(device))
    .sort((a, b) => a.name.localeCompare(b.name));
  const today = dateAt(Date.now(), zone.value);
  const deviceId = Number(place.value.query.get("device")) || list[0]?.id || 0;
  const day = place.value.query.get("day") ?? today;
  const { from, to } = interval(day, zone.value);
  const remote = useRemote(() => (deviceId ? load(deviceId, from, to) : Promise.resolve(NO_DAY)), [deviceId, from]);
  const moment = useSignal(0);
  const show = (changes: { device?: number; day?: string }) =>
    go("/history", { device: deviceId, day, ...changes }, true);
  const found = remote.value.value;
  useEffect(() => {
    moment.value = found?.positions[0] ? Date.parse(found.positions[0].fixTime) : 0;
  }, [found]);
  return (
    <>
      {found && <Drawn day={found} moment={moment} />}
      <section class="panel" aria-label={t("nav.history")} id="content" tabIndex={-1}>
        <header>
          <select
            class="input"
            aria-label={t("history.tracker")}
            value={String(deviceId)}
            onChange={(event) => show({ device: Number(event.currentTarget.value) })}
          >
            {list.map((device) => (
              <option key={device.id} value={String(device.id)}>
                {device.name}
              </option>
            ))}
          </select>
          <div class="row">
            <Button icon="left" label={t("history.before")} onClick={() => show({ day: shift(day, -1) })} />
            <input
              class="input grow"
              type="date"
              aria-label={t("history.day")}
              value={day}
              max={today}
              onChange={(event) => event.currentTarget.value && show({ day: event.currentTarget.value })}
            />
            <Button
              icon="right"
              label={t("history.after")}
              disabled={day >= today}
              onClick={() => show({ day: shift(day, 1) })}
            />
          </div>
        </header>
        <div class="scroll">
          <Remote remote={remote}>
            {(value) =>
              list.length === 0 && loaded.value ? (
                <Empty icon="antenna" title={t("live.none")}>
                  <p>{t("live.noneHint")}</p>
                </Empty>
              ) : value.positions.length === 0 ? (
                <Empty icon="road" title={t("history.nothing")}>
                  <p>{t("history.nothingHint")}</p>
                </Empty>
              ) : (
                <Timeline day={value} moment={moment} />
              )
            }
          </Remote>
        </div>
        {found && found.positions.length > 0 && <Exports deviceId={deviceId} from={from} to={to} />}
      </section>
      <MapButtons onFit={() => found && fitTo(found.positions)} />
      {found && found.positions.length > 1 && <Player day={found} moment={moment} />}
    </>
  );
}

const NO_DAY: Day = { positions: [], trips: [], stops: [], events: [] };

function fitTo(positions: readonly Position[]) {
  const bounds = boundsOf([pointsOf(positions)]);
  if (bounds) map.value?.fitBounds(bounds, { padding: padding(true), maxZoom: 16, duration: 500 });
}

// ------------------------------------------------------------------------------------------------- on the map

const pace = (knots: number): "slow" | "middle" | "fast" =>
  knots < SLOW_KN ? "slow" : knots < FAST_KN ? "middle" : "fast";

/** The way, a feature for each run of one pace. */
function way(positions: readonly Position[]): Feature[] {
  const found: Feature[] = [];
  let line: number[][] = [];
  let now = "";
  const points = continued(positions.map((one) => [one.longitude, one.latitude]));
  for (const [index, one] of positions.entries()) {
    const point = points[index]!;
    line.push(point);
    const next = positions[index + 1];
    const mine = pace(one.speed);
    if (!next || mine !== now) {
      if (line.length > 1) {
        found.push({ type: "Feature", geometry: { type: "LineString", coordinates: line }, properties: { pace: now || mine } });
      }
      line = [point];
      now = mine;
    }
  }
  return found;
}

function Drawn({ day, moment }: { day: Day; moment: { value: number } }) {
  useMap(
    (made) => {
      const under = addLayers(made, "history-fences", FENCE_LAYERS.map((one) => ({ ...one, id: `history-${one.id}` })));
      under.data(geofences.value.flatMap(featuresOf));
      const line = addLayers(made, "history-way", [
        {
          id: "history-casing",
          type: "line",
          layout: { "line-cap": "round", "line-join": "round" },
          paint: { "line-color": "#ffffff", "line-width": 7, "line-opacity": 0.75 },
        },
        {
          id: "history-line",
          type: "line",
          layout: { "line-cap": "round", "line-join": "round" },
          paint: {
            "line-color": ["match", ["get", "pace"], "slow", "#2f7fd1", "middle", "#12906b", "#d6452b"],
            "line-width": 4,
          },
        },
      ]);
      line.data(way(day.positions));
      const pins = addLayers(made, "history-pins", [
        {
          id: "history-pin",
          type: "circle",
          paint: {
            "circle-radius": ["match", ["get", "kind"], "event", 6, 9],
            "circle-color": ["match", ["get", "kind"], "event", "#f2b705", "stop", "#1f5fae", "start", "#16794a", "#b3261e"],
            "circle-stroke-color": "#ffffff",
            "circle-stroke-width": 2,
          },
        },
        {
          id: "history-pin-text",
          type: "symbol",
          layout: { "text-field": ["get", "sign"], "text-font": ["Noto Sans Bold"], "text-size": 11, "text-allow-overlap": true },
          paint: { "text-color": "#ffffff" },
        },
      ]);
      pins.data(pinsOf(day));
      const head = addLayers(made, "history-head", [
        {
          id: "history-head-dot",
          type: "circle",
          paint: {
            "circle-radius": 9,
            "circle-color": "#0b5d66",
            "circle-stroke-color": "#ffffff",
            "circle-stroke-width": 3,
          },
        },
      ]);
      fitTo(day.positions);
      return () => {
        head.remove();
        pins.remove();
        line.remove();
        under.remove();
      };
    },
    [day],
  );
  useSignalEffect(() => {
    const now = moment.value;
    const source = map.value?.getSource("history-head") as GeoJSONSource | undefined;
    const found = placeAt(day.positions, now);
    if (source && found) {
      source.setData({
        type: "Feature",
        geometry: { type: "Point", coordinates: [found.longitude, found.latitude] },
        properties: {},
      });
    }
  });
  return null;
}

function pinsOf(day: Day): Feature[] {
  const byId = new Map(day.positions.map((one) => [one.id, one]));
  const pin = (longitude: number, latitude: number, kind: string, sign: string): Feature => ({
    type: "Feature",
    geometry: { type: "Point", coordinates: [longitude, latitude] },
    properties: { kind, sign },
  });
  const found: Feature[] = [];
  for (const event of day.events) {
    const where = byId.get(event.positionId) ?? placeAt(day.positions, Date.parse(event.eventTime));
    if (where) found.push(pin(where.longitude, where.latitude, "event", ""));
  }
  found.push(...day.stops.map((stop) => pin(stop.longitude, stop.latitude, "stop", "P")));
  const first = day.positions[0];
  const last = day.positions.at(-1);
  if (first && last) {
    found.push(pin(first.longitude, first.latitude, "start", "A"), pin(last.longitude, last.latitude, "end", "B"));
  }
  return found;
}

// ------------------------------------------------------------------------------------------------- the time line

interface Entry {
  at: number;
  icon: IconName;
  tone: string;
  title: string;
  sub: string;
  key: string;
}

function entriesOf(day: Day): Entry[] {
  const found: Entry[] = [
    ...day.trips.map((trip) => ({
      at: Date.parse(trip.startTime),
      icon: "road" as const,
      tone: "moving",
      title: `${distance(trip.distance)} · ${duration(trip.duration)}`,
      sub: [t("history.fastest", { speed: speed(trip.maxSpeed) }), trip.endAddress].filter(Boolean).join(" · "),
      key: `trip${trip.startTime}`,
    })),
    ...day.stops.map((stop) => ({
      at: Date.parse(stop.startTime),
      icon: "parking" as const,
      tone: "idle",
      title: t("history.stop", { duration: duration(stop.duration) }),
      sub: stop.address ?? "",
      key: `stop${stop.startTime}`,
    })),
    ...day.events.map((event) => ({
      at: Date.parse(event.eventTime),
      icon: "bell" as const,
      tone: "",
      title: eventName(event.type, event.attributes),
      sub: geofences.value.find((fence) => fence.id === event.geofenceId)?.name ?? "",
      key: `event${event.id}`,
    })),
  ];
  return found.sort((a, b) => a.at - b.at);
}

function Timeline({ day, moment }: { day: Day; moment: { value: number } }) {
  const entries = useMemo(() => entriesOf(day), [day]);
  const metres = day.trips.reduce((sum, trip) => sum + trip.distance, 0);
  const driven = day.trips.reduce((sum, trip) => sum + trip.duration, 0);
  return (
    <>
      <dl class="facts small" style={{ padding: "12px 14px" }}>
        <dt>{t("history.driven")}</dt>
        <dd>
          {distance(metres)} · {duration(driven)}
        </dd>
        <dt>{t("history.fixes")}</dt>
        <dd>{day.positions.length}</dd>
      </dl>
      <ol class="timeline">
        {entries.map((entry) => (
          <li key={entry.key}>
            <button
              type="button"
              class="row-item"
              onClick={() => {
                moment.value = entry.at;
                const where = placeAt(day.positions, entry.at);
                if (where) map.value?.easeTo({ center: [where.longitude, where.latitude], zoom: 14, offset: offset(true) });
              }}
            >
              <time dateTime={new Date(entry.at).toISOString()}>{time(new Date(entry.at))}</time>
              <span class={`badge-icon ${entry.tone}`}>
                <Icon name={entry.icon} />
              </span>
              <span class="grow">
                <span class="name" style={{ display: "block" }}>
                  {entry.title}
                </span>
                <span class="sub">{entry.sub}</span>
              </span>
            </button>
          </li>
        ))}
      </ol>
    </>
  );
}

function Exports({ deviceId, from, to }: { deviceId: number; from: string; to: string }) {
  const query = { deviceId, from, to };
  const links: [string, string][] = [
    ["GPX", address("/positions/gpx", query)],
    ["KML", address("/positions/kml", query)],
    ["CSV", address("/positions/csv", query)],
    ["GeoJSON", address("/positions/geojson", query)],
  ];
  if (may("reports")) links.push(["XLSX", address("/reports/route/xlsx", query)]);
  return (
    <footer>
      <div class="row wrap small">
        <Icon name="download" />
        <span class="visually-hidden">{t("history.export")}</span>
        {links.map(([name, href]) => (
          <a key={name} href={href} download>
            {name}
          </a>
        ))}
      </div>
    </footer>
  );
}

// ------------------------------------------------------------------------------------------------- the player

function Player({ day, moment }: { day: Day; moment: { value: number } }) {
  const playing = useSignal(false);
  const rate = useSignal<number>(60);
  const first = Date.parse(day.positions[0]!.fixTime);
  const last = Date.parse(day.positions.at(-1)!.fixTime);
  useEffect(() => {
    if (!playing.value) return;
    let before = performance.now();
    let frame = 0;
    const step = (now: number) => {
      moment.value = Math.min(last, moment.value + (now - before) * rate.value);
      before = now;
      if (moment.value >= last) playing.value = false;
      else frame = requestAnimationFrame(step);
    };
    frame = requestAnimationFrame(step);
    return () => cancelAnimationFrame(frame);
  }, [playing.value, rate.value, day]);
  const index = indexAt(day.positions, moment.value);
  const here = day.positions[Math.max(0, index)];
  return (
    <section class="player" aria-label={t("history.player")}>
      <div class="row">
        <Button
          kind="primary"
          icon={playing.value ? "pause" : "play"}
          label={playing.value ? t("history.pause") : t("history.play")}
          onClick={() => {
            if (!playing.value && moment.value >= last) moment.value = first;
            playing.value = !playing.value;
          }}
        />
        <input
          type="range"
          min={first}
          max={last}
          step={1000}
          value={moment.value}
          aria-label={t("history.moment")}
          aria-valuetext={moment.value ? timeWithSeconds(new Date(moment.value)) : ""}
          onInput={(event) => (moment.value = Number(event.currentTarget.value))}
        />
        <span class="nowrap strong">{moment.value ? timeWithSeconds(new Date(moment.value)) : ""}</span>
        <span class="nowrap muted">{here ? speed(here.speed) : ""}</span>
        <select
          class="input narrow"
          aria-label={t("history.rate")}
          value={String(rate.value)}
          onChange={(event) => (rate.value = Number(event.currentTarget.value))}
        >
          {RATES.map((one) => (
            <option key={one} value={String(one)}>
              {one} ×
            </option>
          ))}
        </select>
      </div>
      <Chart day={day} moment={moment} />
    </section>
  );
}

function Chart({ day, moment }: { day: Day; moment: { value: number } }) {
  const box = useRef<HTMLDivElement>(null);
  const chart = useRef<{ setCursor: (at: { left: number; top: number }) => void; valToPos: (value: number, axis: string) => number } | null>(
    null,
  );
  const isDark = dark.value;
  useEffect(() => {
    const holder = box.current;
    if (!holder) return;
    let gone = false;
    let clean = () => {};
    void Promise.all([import("uplot"), import("uplot/dist/uPlot.min.css")]).then(([{ default: UPlot }]) => {
      if (gone) return;
      const style = getComputedStyle(document.documentElement);
      const colour = (name: string) => style.getPropertyValue(name).trim();
      const axis = { stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
      const made = new UPlot(
        {
          width: holder.clientWidth,
          height: holder.clientHeight,
          legend: { show: false },
          padding: [8, 8, 0, 0],
          cursor: { y: false, drag: { x: false, y: false } },
          scales: { x: { time: true }, y: { range: (_, _low, high) => [0, Math.max(10, high * 1.1)] } },
          tzDate: (seconds) => UPlot.tzDate(new Date(seconds * 1000), zone.value),
          axes: [
            { ...axis, size: 26, values: (_, splits) => splits.map((one) => time(new Date(one * 1000))) },
            { ...axis, size: 40, splits: undefined },
          ],
          series: [
            {},
            { label: speedUnit(), stroke: colour("--accent"), fill: colour("--accent-soft"), width: 1.6, points: { show: false } },
          ],
        },
        [
          day.positions.map((one) => Date.parse(one.fixTime) / 1000),
          day.positions.map((one) => speedNumber(one.speed)),
        ],
        holder,
      );
      const press = (event: PointerEvent) => {
        const edge = made.over.getBoundingClientRect();
        moment.value = made.posToVal(event.clientX - edge.left, "x") * 1000;
      };
      made.over.addEventListener("pointerdown", press);
      const watch = new ResizeObserver(() => made.setSize({ width: holder.clientWidth, height: holder.clientHeight }));
      watch.observe(holder);
      chart.current = made;
      clean = () => {
        watch.disconnect();
        made.destroy();
        chart.current = null;
      };
    });
    return () => {
      gone = true;
      clean();
    };
  }, [day, isDark]);
  useSignalEffect(() => {
    const now = moment.value / 1000;
    const made = chart.current;
    if (made && now) made.setCursor({ left: made.valToPos(now, "x"), top: 10 });
  });
  return <div class="chart" ref={box} aria-hidden="true" />;
}
