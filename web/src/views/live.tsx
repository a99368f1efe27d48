/** The fleet as it moves: a list, the map, and one tracker's card. */

import { useComputed, useSignal, useSignalEffect } from "@preact/signals";
import type { Map as MapLibre } from "maplibre-gl";
import { useEffect, useRef } from "preact/hooks";

import { api } from "../core/api.ts";
import {
  devices,
  geofences,
  groups,
  isBlocked,
  loaded,
  motionOf,
  moved,
  onPosition,
  positions,
  statusOf,
} from "../core/fleet.ts";
import { ago, dateTime, distance, number, speed, speedNumber, speedUnit } from "../core/format.ts";
import { dark, zone } from "../core/preferences.ts";
import { go, place } from "../core/router.ts";
import { config, isGuest, may } from "../core/session.ts";
import type { Motion } from "../core/status.ts";
import type { Device, Position } from "../core/types.ts";
import { t } from "../i18n/index.ts";
import { addFleet, type FleetLayer } from "../map/fleet-layer.ts";
import { addLayers, boundsOf, FENCE_LAYERS, featuresOf, pointsOf } from "../map/layers.ts";
import { continued } from "../map/rings.ts";
import { map, MapButtons, offset, padding, useMap } from "../map/stage.tsx";
import { categoryIcon, Icon } from "../ui/icon.tsx";
import { Button, complain, Empty, Loading, Search } from "../ui/parts.tsx";
import { ShareDialog } from "./share.tsx";

const ROW_PX = 62;
const SPARE_ROWS = 6; // drawn above and below what is seen, for quick scrolling
const TRAIL_H = 2;
const TRAIL_POINTS_MAX = 20_000;
const FOLLOW_ZOOM = 14;

const byName = new Intl.Collator(undefined, { numeric: true });
const ORDER: Record<Motion, number> = { moving: 0, idle: 1, offline: 2, unknown: 3 };
const FILTERS = ["all", "moving", "idle", "offline"] as const;
type Filter = (typeof FILTERS)[number];

export default function Live() {
  const query = useSignal("");
  const filter = useSignal<Filter>("all");
  const group = useSignal(0);
  const following = useSignal(false);
  const trail = useSignal(false);
  const fences = useSignal(true);
  const height = useSignal<"" | "low" | "high">("");
  const selected = Number(place.value.query.get("device")) || null;
  const layer = useRef<FleetLayer | null>(null);
  const fitted = useRef(false);

  const select = (id: number | null) => {
    if (id !== selected) {
      following.value = false;
      trail.value = false;
    }
    go("/live", { device: id }, true);
  };

  const visible = useComputed(() => [...devices.value.values()].filter((device) => !isBlocked(device)));
  const counts = useComputed(() => {
    void moved.value;
    const found: Record<Filter, number> = { all: 0, moving: 0, idle: 0, offline: 0 };
    for (const device of visible.value) {
      found.all++;
      const motion = motionOf(device);
      found[motion === "unknown" ? "offline" : motion]++;
    }
    return found;
  });
  const listed = useComputed(() => {
    void moved.value;
    const words = query.value.trim().toLocaleLowerCase();
    return visible.value
      .filter((device) => {
        const motion = motionOf(device);
        if (filter.value !== "all" && (motion === "unknown" ? "offline" : motion) !== filter.value) return false;
        if (group.value && device.groupId !== group.value) return false;
        return !words || `${device.name} ${device.uniqueId}`.toLocaleLowerCase().includes(words);
      })
      .map((device) => ({ device, order: ORDER[motionOf(device)] })) // once for each, and not for each comparison
      .sort((a, b) => a.order - b.order || byName.compare(a.device.name, b.device.name))
      .map(({ device }) => device);
  });
  const narrowed = query.value.trim() !== "" || filter.value !== "all" || group.value !== 0;

  const fit = (made: MapLibre) => {
    const bounds = boundsOf([pointsOf(listed.value.flatMap((device) => positions.get(device.id) ?? []))]);
    if (bounds) made.fitBounds(bounds, { padding: padding(), maxZoom: 14, duration: 600 });
    return bounds !== null;
  };

  const latest = useRef({ select, selected, following });
  latest.current = { select, selected, following };

  useMap((made) => {
    const under = addLayers(made, "live-fences", FENCE_LAYERS.map((one) => ({ ...one, id: `live-${one.id}` })));
    const stopDrawing = fences.subscribe((on) => under.data(on ? geofences.value.flatMap(featuresOf) : []));
    const stopFences = geofences.subscribe((list) => under.data(fences.value ? list.flatMap(featuresOf) : []));
    const fleet = addFleet(
      made,
      (id) => latest.current.select(id),
      (longitude, latitude) => {
        if (latest.current.following.value && !made.isMoving()) made.setCenter([longitude, latitude]);
      },
    );
    layer.current = fleet;
    fleet.select(latest.current.selected);
    const letGo = () => {
      latest.current.following.value = false;
    };
    made.on("dragstart", letGo);
    fitted.current ||= fit(made);
    return () => {
      made.off("dragstart", letGo);
      stopDrawing();
      stopFences();
      fleet.remove();
      under.remove();
      layer.current = null;
    };
  });

  useSignalEffect(() => {
    void moved.value;
    void dark.value;
    layer.current?.draw();
    if (!fitted.current && map.value) fitted.current = fit(map.value);
  });
  useEffect(() => layer.current?.select(selected), [selected, map.value]);
  useEffect(() => {
    layer.current?.show(narrowed ? new Set(listed.value.map((device) => device.id)) : null);
  }, [listed.value, narrowed]);
  useEffect(() => {
    const at = selected === null ? undefined : positions.get(selected);
    const made = map.value;
    if (!at || !made) return;
    fitted.current = true;
    made.easeTo({ center: [at.longitude, at.latitude], zoom: Math.max(made.getZoom(), 11), offset: offset(false, true), duration: 500 });
  }, [selected, map.value]);
  useMap((made) => (selected && trail.value ? drawTrail(made, selected) : undefined), [selected, trail.value]);

  const device = selected === null ? undefined : devices.value.get(selected);
  const shown = device && !isBlocked(device) ? device : undefined;
  return (
    <>
      <section class={`panel ${height.value}`} aria-label={t("live.list")} id="content" tabIndex={-1}>
        <header>
          <button
            type="button"
            class="handle"
            aria-label={t("live.resize")}
            onClick={() => (height.value = height.value === "" ? "high" : height.value === "high" ? "low" : "")}
          />
          <Search label={t("live.search")} text={query} />
          <div class="filters" role="group" aria-label={t("live.filter")}>
            {FILTERS.map((one) => (
              <button key={one} type="button" aria-pressed={filter.value === one} onClick={() => (filter.value = one)}>
                {one !== "all" && <span class={`dot ${one}`} />}
                {t(`motion.${one}`)} <span class="muted">{counts.value[one]}</span>
              </button>
            ))}
          </div>
          {groups.value.length > 0 && (
            <select
              class="input"
              aria-label={t("field.group")}
              value={String(group.value)}
              onChange={(event) => (group.value = Number(event.currentTarget.value))}
            >
              <option value="0">{t("live.allGroups")}</option>
              {groups.value.map((one) => (
                <option key={one.id} value={String(one.id)}>
                  {one.name}
                </option>
              ))}
            </select>
          )}
        </header>
        {!loaded.value ? (
          <Loading />
        ) : visible.value.length === 0 ? (
          <Empty icon="antenna" title={t("live.none")}>
            <p>{t("live.noneHint")}</p>
            {may("devices") && (
              <Button kind="primary" icon="plus" onClick={() => go("/trackers", { add: 1 })}>
                {t("trackers.add")}
              </Button>
            )}
          </Empty>
        ) : listed.value.length === 0 ? (
          <Empty icon="search" title={t("live.noMatch")} />
        ) : (
          <Rows list={listed.value} selected={selected} onSelect={select} />
        )}
      </section>
      <MapButtons onFit={() => map.value && fit(map.value)} />
      {shown && (
        <Card
          device={shown}
          following={following.value}
          trail={trail.value}
          onFollow={() => {
            following.value = !following.value;
            const at = positions.get(shown.id);
            const made = map.value;
            if (following.value && at && made) {
              made.easeTo({ center: [at.longitude, at.latitude], zoom: Math.max(made.getZoom(), FOLLOW_ZOOM) });
            }
          }}
          onTrail={() => (trail.value = !trail.value)}
          onClose={() => select(null)}
        />
      )}
    </>
  );
}

/** A list of any length: only what is seen is in the page. */
function Rows({
  list,
  selected,
  onSelect,
}: {
  list: readonly Device[];
  selected: number | null;
  onSelect: (id: number) => void;
}) {
  const scroll = useRef<HTMLDivElement>(null);
  const top = useSignal(0);
  const tall = useSignal(800);
  useEffect(() => {
    const box = scroll.current;
    if (!box) return;
    const watch = new ResizeObserver(() => (tall.value = box.clientHeight));
    watch.observe(box);
    return () => watch.disconnect();
  }, []);
  void moved.value;
  const first = Math.max(0, Math.floor(top.value / ROW_PX) - SPARE_ROWS);
  const last = Math.min(list.length, Math.ceil((top.value + tall.value) / ROW_PX) + SPARE_ROWS);
  return (
    <div class="scroll" ref={scroll} onScroll={(event) => (top.value = event.currentTarget.scrollTop)}>
      <ul class="rows virtual" style={{ height: `${list.length * ROW_PX}px` }}>
        {list.slice(first, last).map((device, at) => (
          <li key={device.id}>
            <button
              type="button"
              class={`row-item ${device.id === selected ? "selected" : ""}`}
              aria-current={device.id === selected ? "true" : undefined}
              style={{ top: `${(first + at) * ROW_PX}px` }}
              onClick={() => onSelect(device.id)}
            >
              <RowContent device={device} />
            </button>
          </li>
        ))}
      </ul>
    </div>
  );
}

function RowContent({ device }: { device: Device }) {
  const { motion, word, knots } = statusOf(device);
  const battery = batteryOf(positions.get(device.id));
  return (
    <>
      <span class={`badge-icon ${motion}`}>
        <Icon name={categoryIcon(device.category)} />
      </span>
      <span class="grow">
        <span class="name ellipsis" title={device.name} style={{ display: "block" }}>
          {device.name}
        </span>
        <span class="sub ellipsis" style={{ display: "block" }}>
          {t(`status.${word}`)} · {device.lastUpdate ? ago(device.lastUpdate) : t("time.never")}
        </span>
      </span>
      <span class="value">
        {word === "moving" && knots !== null && <span class="strong">{speed(knots)}</span>}
        {battery !== null && (
          <span class={battery < 20 ? "chip bad" : "muted"} style={{ display: "block" }}>
            {number(battery, 0)} %
          </span>
        )}
      </span>
    </>
  );
}

export function batteryOf(at: Position | undefined): number | null {
  const level = at?.attributes?.batteryLevel;
  return typeof level === "number" ? level : null;
}

const HIDDEN = new Set(["distance", "totalDistance", "motion", "batteryLevel", "ignition", "hours"]);
const ATTRIBUTES_MAX = 30;

function Card({
  device,
  following,
  trail,
  onFollow,
  onTrail,
  onClose,
}: {
  device: Device;
  following: boolean;
  trail: boolean;
  onFollow: () => void;
  onTrail: () => void;
  onClose: () => void;
}) {
  void moved.value;
  const sharing = useSignal(false);
  const at = positions.get(device.id);
  const { motion, word, knots } = statusOf(device);
  const battery = batteryOf(at);
  const told = at?.attributes ?? {};
  const others = Object.entries(told).filter(([key, value]) => !HIDDEN.has(key) && typeof value !== "object");
  const inside = (at?.geofenceIds ?? [])
    .map((id) => geofences.value.find((fence) => fence.id === id)?.name)
    .filter(Boolean)
    .join(", ");
  return (
    <section class="details" aria-label={device.name}>
      <header>
        <span class={`badge-icon ${motion}`}>
          <Icon name={categoryIcon(device.category)} />
        </span>
        <div class="grow">
          <h2 class="ellipsis" title={device.name}>{device.name}</h2>
          <span class="small muted">{device.model || device.uniqueId}</span>
        </div>
        <Button kind="quiet" icon="close" label={t("action.close")} onClick={onClose} />
      </header>
      <div class="body">
        <div class="row between">
          <div>
            {knots !== null ? (
              <>
                <span class="speed-now">{number(speedNumber(knots), 0)}</span> <span class="muted">{speedUnit()}</span>
              </>
            ) : (
              <span class="muted">{at ? t("live.speedThen", { speed: speed(at.speed) }) : t("live.noFix")}</span>
            )}
          </div>
          <span class={`chip ${motion}`}>
            <span class={`dot ${motion}`} />
            {t(`status.${word}`)}
          </span>
        </div>
        {at && <Address at={at} />}
        <dl class="facts small">
          <dt>{t("live.lastContact")}</dt>
          <dd title={dateTime(device.lastUpdate)}>{ago(device.lastUpdate)}</dd>
          {at && (
            <>
              <dt>{t("live.fix")}</dt>
              <dd title={zone.value}>{dateTime(at.fixTime)}</dd>
              <dt>{t("live.place")}</dt>
              <dd>
                {number(at.latitude, 5)}, {number(at.longitude, 5)}
              </dd>
            </>
          )}
          {battery !== null && (
            <>
              <dt>{t("live.battery")}</dt>
              <dd>{number(battery, 0)} %</dd>
            </>
          )}
          {typeof told.ignition === "boolean" && (
            <>
              <dt>{t("live.ignition")}</dt>
              <dd>{told.ignition ? t("state.on") : t("state.off")}</dd>
            </>
          )}
          {typeof told.totalDistance === "number" && (
            <>
              <dt>{t("live.odometer")}</dt>
              <dd>{distance(told.totalDistance)}</dd>
            </>
          )}
          {inside && (
            <>
              <dt>{t("live.inside")}</dt>
              <dd>{inside}</dd>
            </>
          )}
        </dl>
        <div class="actions">
          <Button icon="follow" aria-pressed={following} onClick={onFollow}>
            {t("live.follow")}
          </Button>
          {!isGuest.value && (
            <>
              <Button icon="trail" aria-pressed={trail} onClick={onTrail}>
                {t("live.trail")}
              </Button>
              <Button icon="history" onClick={() => go("/history", { device: device.id })}>
                {t("nav.history")}
              </Button>
            </>
          )}
          {may("share") && (
            <Button icon="share" onClick={() => (sharing.value = true)}>
              {t("live.share")}
            </Button>
          )}
        </div>
        {others.length > 0 && (
          <details>
            <summary class="small">{t("live.attributes", { count: others.length })}</summary>
            <dl class="facts small">
              {others.slice(0, ATTRIBUTES_MAX).map(([key, value]) => (
                <>
                  <dt>{key}</dt>
                  <dd>{typeof value === "number" ? number(value, 3) : String(value)}</dd>
                </>
              ))}
            </dl>
          </details>
        )}
      </div>
      {sharing.value && <ShareDialog device={device} onClose={() => (sharing.value = false)} />}
    </section>
  );
}

/** The last hours of one tracker, growing as it moves. */
function drawTrail(made: MapLibre, deviceId: number): () => void {
  const line = addLayers(made, "trail", [
    {
      id: "trail-line",
      type: "line",
      layout: { "line-cap": "round", "line-join": "round" },
      paint: { "line-color": "#e4572e", "line-width": 3.5, "line-opacity": 0.85 },
    },
  ]);
  const points: [number, number][] = [];
  const draw = () =>
    line.data([{ type: "Feature", geometry: { type: "LineString", coordinates: continued(points) }, properties: {} }]);
  const now = Date.now();
  const from = new Date(now - TRAIL_H * 3_600_000).toISOString();
  api
    .get<Position[]>("/positions", { deviceId, from, to: new Date(now).toISOString() })
    .then((list) => {
      points.unshift(...list.slice(-TRAIL_POINTS_MAX).map((at): [number, number] => [at.longitude, at.latitude]));
      draw();
    })
    .catch(complain);
  const stop = onPosition((at) => {
    if (at.deviceId !== deviceId) return;
    points.push([at.longitude, at.latitude]);
    draw();
  });
  return () => {
    stop();
    line.remove();
  };
}

const ADDRESS_DIGITS = 3; // a hundred metres: whoever moves is not asked for at each fix

/** Where it is in words: as the server knows it already, or as it finds out while somebody looks. */
function Address({ at }: { at: Position }) {
  const found = useSignal("");
  const [latitude, longitude] = [at.latitude.toFixed(ADDRESS_DIGITS), at.longitude.toFixed(ADDRESS_DIGITS)];
  useEffect(() => {
    let gone = false;
    if (config.value.geocoder) {
      api.text("/server/geocode", { latitude: at.latitude, longitude: at.longitude }).then(
        (text) => {
          if (!gone) found.value = text;
        },
        () => {
          /* then there are the coordinates alone */
        },
      );
    }
    return () => {
      gone = true;
    };
  }, [at.deviceId, latitude, longitude]);
  const text = at.address || found.value;
  return text ? <p class="small">{text}</p> : null;
}
