/** Fences: drawn on the map, brought in from a file, and who is inside of them now. */

import { effect, useSignal } from "@preact/signals";
import type { Map as MapLibre } from "maplibre-gl";
import { useEffect, useRef } from "preact/hooks";

import { address, api, ApiError } from "../core/api.ts";
import { devices, geofences, loaded, moved, onEvent, positions, refreshGeofences } from "../core/fleet.ts";
import { ago, speedNumber, speedUnit, toKnots } from "../core/format.ts";
import { countOf, POINTS_MAX } from "../core/points.ts";
import { may } from "../core/session.ts";
import type { Geofence } from "../core/types.ts";
import { format, parse, type Shape } from "../core/wkt.ts";
import { t } from "../i18n/index.ts";
import { type Drawing, draw, placed } from "../map/draw.ts";
import { addFleet } from "../map/fleet-layer.ts";
import { addLayers, boundsOf, colourOf, CORRIDOR_M, FENCE_LAYERS, featuresOf, pointsOf, widthOf } from "../map/layers.ts";
import { reshape } from "../map/reshape.ts";
import { map, MapButtons, offset, padding, useMap } from "../map/stage.tsx";
import { DropZone } from "../ui/drop.tsx";
import { Icon, type IconName } from "../ui/icon.tsx";
import { Button, Checks, complain, Confirm, Dialog, Empty, Field, Remote, say, Search, Select, Spinner, TextField, useRemote } from "../ui/parts.tsx";

interface Inside {
  deviceId: number;
  since: string;
}

/** Of lines and points of a file that tells none. */
interface Metres {
  widthM: number;
  radiusM: number;
}

/** For which trackers a fence counts. */
interface Counts {
  everyone: boolean;
  deviceIds: readonly number[];
}

const DRAWINGS: readonly [Drawing, IconName][] = [
  ["circle", "circle"],
  ["polygon", "polygon"],
  ["corridor", "corridor"],
];
const RADIUS_M = 100;
const FILE_BYTES_MAX = 20_000_000; // the server's limit: on a slow way one would wait long to hear of it
const NEW: Geofence = { id: 0, name: "", area: "", attributes: {} };

function kindOf(fence: Geofence): Drawing {
  try {
    const { kind } = parse(fence.area);
    return kind === "circle" ? "circle" : kind === "line" ? "corridor" : "polygon";
  } catch {
    return "polygon";
  }
}

export default function Fences() {
  const chosen = useSignal(0);
  const editing = useSignal<Geofence | null>(null);
  const removing = useSignal<Geofence | null>(null);
  const drawing = useSignal<Drawing | null>(null);
  const shaping = useSignal<Geofence | null>(null); // with the area as it has become
  const asking = useSignal<File | null>(null); // for the metres that this file does not tell
  const bringing = useSignal<File | null>(null);
  const query = useSignal("");
  const stop = useRef<() => void>(() => {});
  const file = useRef<HTMLInputElement>(null);
  const isDrawing = useRef(false);
  isDrawing.current = drawing.value !== null || shaping.value !== null;

  useMap((made) => {
    const layers = addLayers(made, "fences", FENCE_LAYERS);
    const stopWatching = effect(() => {
      const changed = shaping.value;
      const all = geofences.value.map((one) => (one.id === changed?.id ? changed : one));
      layers.data((changed && !changed.id ? [...all, changed] : all).flatMap(featuresOf));
    });
    const fleet = addFleet(made, () => {});
    const click = (event: { point: { x: number; y: number } }) => {
      if (isDrawing.current) return;
      const found = made.queryRenderedFeatures([event.point.x, event.point.y], {
        layers: ["fence-area", "fence-corridor", "fence-edge"],
      })[0];
      chosen.value = Number(found?.properties?.id ?? 0);
    };
    made.on("click", click);
    return () => {
      made.off("click", click);
      stopWatching();
      stop.current();
      fleet.remove();
      layers.remove();
    };
  });
  const fitted = useRef(false);
  const fit = (made: MapLibre, duration?: number) => {
    const fences = boundsOf(geofences.value.flatMap(featuresOf));
    const bounds = fences ?? boundsOf([pointsOf(positions.values())]); // where none is yet, one is drawn near the trackers
    if (bounds) made.fitBounds(bounds, { padding: padding(), maxZoom: 14, duration });
    return bounds !== null;
  };
  useMap(
    (made) => {
      if (loaded.value) fitted.current ||= fit(made, 0);
    },
    [geofences.value, loaded.value],
  );

  const giveUp = () => {
    // a handle takes the keyboard's focus with it
    if (document.activeElement?.classList.contains("fence-handle")) document.getElementById("content")?.focus();
    stop.current();
    drawing.value = null;
    shaping.value = null;
  };
  /** Without a pointer (``event.detail`` counts its clicks) a shape is put on the map, and its points are moved by keys. */
  const begin = async (what: Drawing, event: MouseEvent, anew: Geofence = NEW) => {
    if (!map.value) return;
    giveUp();
    if (event.detail === 0) {
      const { clientWidth, clientHeight } = map.value.getCanvas();
      const [right, down] = offset();
      const shape = placed(map.value, what, [clientWidth / 2 + right, clientHeight / 2 + down]);
      return move({ ...anew, area: format(shape) }, shape);
    }
    stop.current = await draw(map.value, what, (shape) => {
      drawing.value = null;
      editing.value = { ...anew, area: format(shape) };
    });
    drawing.value = what;
  };
  const change = async (fence: Geofence) => {
    if (!map.value) return;
    giveUp();
    const shape = parse(fence.area);
    if (countOf(shape) > POINTS_MAX) throw new Error(t("fences.manyPoints", { count: POINTS_MAX }));
    show(fence);
    await move(fence, shape);
  };
  const move = async (fence: Geofence, shape: Shape) => {
    shaping.value = fence;
    const keys = { onEscape: giveUp, onEnter: () => void keep().catch(complain) };
    stop.current = await reshape(map.value!, shape, (next) => (shaping.value = { ...fence, area: format(next) }), keys);
  };
  const keep = async () => {
    const changed = shaping.value!;
    if (!changed.id) {
      giveUp();
      editing.value = changed;
      return;
    }
    const saved = await api.put<Geofence>(`/geofences/${changed.id}`, changed);
    geofences.value = geofences.value.map((one) => (one.id === saved.id ? saved : one));
    giveUp();
    say(t("action.saved"));
  };
  const show = (fence: Geofence) => {
    chosen.value = fence.id;
    const bounds = boundsOf(featuresOf(fence));
    if (bounds) map.value?.fitBounds(bounds, { padding: padding(false, true), maxZoom: 16, duration: 500 });
  };
  const bringIn = async (given: File, metres: Metres | null = null) => {
    if (bringing.value) return;
    bringing.value = given;
    try {
      if (given.size > FILE_BYTES_MAX) throw new Error(t("fences.tooLarge", { name: given.name, megabytes: FILE_BYTES_MAX / 1e6 }));
      const found = await api.upload<Geofence[]>("/geofences/import", given, { ...metres });
      asking.value = null;
      say(t("fences.imported", { count: found.length }));
      await refreshGeofences();
      const bounds = boundsOf(found.flatMap(featuresOf));
      if (bounds) map.value?.fitBounds(bounds, { padding: padding(), maxZoom: 14 });
    } catch (error) {
      if (metres) throw error; // the dialog shows it
      if (error instanceof ApiError && error.body.reason === "metres") asking.value = given;
      else complain(error);
    } finally {
      bringing.value = null;
    }
  };
  const words = query.value.trim().toLocaleLowerCase();
  const list = geofences.value.filter((fence) => fence.name.toLocaleLowerCase().includes(words));
  const fence = geofences.value.find((one) => one.id === chosen.value);
  const writes = may("write");
  return (
    <>
      <section class="panel" aria-label={t("nav.fences")} id="content" tabIndex={-1}>
        <header>
          {writes && (
            <div class="row wrap" role="group" aria-label={t("fences.draw")}>
              {DRAWINGS.map(([what, icon]) => (
                <Button key={what} small icon={icon} aria-pressed={drawing.value === what} onClick={(event) => begin(what, event)}>
                  {t(`fences.${what}`)}
                </Button>
              ))}
            </div>
          )}
          <Search label={t("fences.search")} text={query} />
        </header>
        <div class="scroll">
          {geofences.value.length === 0 ? (
            <Empty icon="fence" title={t("fences.none")}>
              <p>{t("fences.noneHint")}</p>
            </Empty>
          ) : (
            <ul class="rows">
              {list.map((one) => (
                <li key={one.id}>
                  <button
                    type="button"
                    class={`row-item ${one.id === chosen.value ? "selected" : ""}`}
                    onClick={() => show(one)}
                  >
                    <span class="badge-icon" style={{ color: colourOf(one) }}>
                      <Icon name={kindOf(one)} />
                    </span>
                    <span class="grow">
                      <span class="name ellipsis" style={{ display: "block" }}>
                        {one.name}
                      </span>
                      <span class="sub ellipsis" style={{ display: "block" }}>
                        {one.description ?? ""}
                      </span>
                    </span>
                  </button>
                </li>
              ))}
            </ul>
          )}
        </div>
        <footer>
          <div class="row wrap small">
            {writes && (
              <>
                <Button small icon="upload" onClick={() => file.current?.click()}>
                  {t("fences.import")}
                </Button>
                <input
                  ref={file}
                  type="file"
                  hidden
                  aria-label={t("fences.import")}
                  accept=".geojson,.json,.kml,.gpx,.wkt,.txt"
                  onChange={(event) => {
                    const given = event.currentTarget.files?.[0];
                    if (given) void bringIn(given);
                    event.currentTarget.value = ""; // the same file may be chosen again
                  }}
                />
                <Button small icon="edit" onClick={() => (editing.value = NEW)}>
                  {t("fences.type")}
                </Button>
              </>
            )}
            <a href={address("/geofences/export", { format: "geojson" })} download="fences.geojson">
              GeoJSON
            </a>
            <a href={address("/geofences/export", { format: "kml" })} download="fences.kml">
              KML
            </a>
          </div>
        </footer>
      </section>
      {bringing.value && !asking.value && (
        <div class="hint-bar" role="status">
          <Spinner />
          <span>{t("fences.importing", { name: bringing.value.name })}</span>
        </div>
      )}
      {drawing.value && (
        <div class="hint-bar" role="status">
          <span>{t(`fences.${drawing.value}Hint`)}</span>
          <Button small onClick={giveUp}>
            {t("action.cancel")}
          </Button>
        </div>
      )}
      {shaping.value && (
        <div class="hint-bar" role="status">
          <span>{t(kindOf(shaping.value) === "circle" ? "fences.shapeCircleHint" : "fences.shapeHint")}</span>
          <Button small onClick={giveUp}>
            {t("action.cancel")}
          </Button>
          <Button small kind="primary" onClick={keep}>
            {t("action.save")}
          </Button>
        </div>
      )}
      {writes && <DropZone text={t("fences.drop")} onFile={(given) => bringIn(given)} />}
      <MapButtons onFit={() => map.value && fit(map.value)} />
      {fence && !isDrawing.current && (
        <Card
          key={fence.id}
          fence={fence}
          onEdit={() => (editing.value = fence)}
          onShape={() => change(fence)}
          onRedraw={(event) => begin(kindOf(fence), event, fence)}
          onRemove={() => (removing.value = fence)}
          onClose={() => (chosen.value = 0)}
        />
      )}
      {editing.value && (
        <Edit
          fence={editing.value}
          onClose={() => (editing.value = null)}
          onSaved={async (saved) => {
            editing.value = null;
            await refreshGeofences();
            chosen.value = saved.id;
            say(t("action.saved"));
          }}
        />
      )}
      {asking.value && (
        <AskMetres file={asking.value} onClose={() => (asking.value = null)} onSaid={bringIn} />
      )}
      {removing.value && (
        <Confirm
          title={t("fences.remove")}
          text={t("fences.removeText", { name: removing.value.name })}
          submit={t("action.delete")}
          onClose={() => (removing.value = null)}
          onConfirm={async () => {
            await api.remove(`/geofences/${removing.value?.id}`);
            removing.value = null;
            chosen.value = 0;
            await refreshGeofences();
          }}
        />
      )}
    </>
  );
}

function Card({
  fence,
  onEdit,
  onShape,
  onRedraw,
  onRemove,
  onClose,
}: {
  fence: Geofence;
  onEdit: () => void;
  onShape: () => Promise<unknown>;
  onRedraw: (event: MouseEvent) => Promise<unknown>;
  onRemove: () => void;
  onClose: () => void;
}) {
  const inside = useRemote(() => api.get<Inside[]>(`/geofences/${fence.id}/inside`), [fence.id]);
  useEffect(
    () =>
      onEvent((event) => {
        if (event.geofenceId === fence.id) void inside.reload();
      }),
    [fence.id],
  );
  void moved.value; // who is inside comes with each position, since when is asked for
  const there = [...positions.values()].filter((at) => at.geofenceIds?.includes(fence.id));
  const since = new Map(inside.value.value?.map((one) => [one.deviceId, one.since]));
  const limit = Number(fence.attributes?.speedLimit);
  return (
    <section class="details" aria-label={fence.name}>
      <header>
        <span class="badge-icon" style={{ color: colourOf(fence) }}>
          <Icon name={kindOf(fence)} />
        </span>
        <h2 class="grow ellipsis" title={fence.name}>{fence.name}</h2>
        <Button kind="quiet" icon="close" label={t("action.close")} onClick={onClose} />
      </header>
      <div class="body">
        {fence.description && <p class="small">{fence.description}</p>}
        {limit > 0 && (
          <p class="small">
            {t("fences.limit")}: {Math.round(speedNumber(limit))} {speedUnit()}
          </p>
        )}
        <div>
          <h3>{t("fences.inside")}</h3>
          {there.length === 0 ? (
            <p class="small muted">{t("fences.nobody")}</p>
          ) : (
            <ul class="stack tight small">
              {there.map((at) => (
                <li key={at.deviceId} class="row between">
                  <span class="ellipsis strong">{devices.value.get(at.deviceId)?.name ?? at.deviceId}</span>
                  <span class="muted nowrap">{since.get(at.deviceId) ? ago(since.get(at.deviceId)) : ""}</span>
                </li>
              ))}
            </ul>
          )}
        </div>
        {may("write") && (
          <div class="actions">
            <Button icon="edit" onClick={onEdit}>
              {t("action.edit")}
            </Button>
            <Button icon="points" onClick={onShape}>
              {t("fences.shape")}
            </Button>
            <Button icon={kindOf(fence)} onClick={onRedraw}>
              {t("fences.redraw")}
            </Button>
            <Button icon="trash" kind="danger" onClick={onRemove}>
              {t("action.delete")}
            </Button>
          </div>
        )}
      </div>
    </section>
  );
}

function AskMetres({
  file,
  onClose,
  onSaid,
}: {
  file: File;
  onClose: () => void;
  onSaid: (file: File, metres: Metres) => Promise<unknown>;
}) {
  const width = useSignal(String(CORRIDOR_M));
  const radius = useSignal(String(RADIUS_M));
  return (
    <Dialog
      title={t("fences.importOf", { name: file.name })}
      submit={t("fences.import")}
      onClose={onClose}
      onSubmit={() => onSaid(file, { widthM: Number(width.value), radiusM: Number(radius.value) })}
    >
      <p class="muted">{t("fences.askMetres")}</p>
      <div class="fields">
        <TextField label={t("fences.width")} type="number" min={1} required value={width.value} onInput={(value) => (width.value = value)} />
        <TextField label={t("fences.radius")} type="number" min={1} required value={radius.value} onInput={(value) => (radius.value = value)} />
      </div>
    </Dialog>
  );
}

function Edit({
  fence,
  onClose,
  onSaved,
}: {
  fence: Geofence;
  onClose: () => void;
  onSaved: (fence: Geofence) => Promise<unknown>;
}) {
  const name = useSignal(fence.name);
  const description = useSignal(fence.description ?? "");
  const area = useSignal(fence.area);
  const colour = useSignal(colourOf(fence));
  const knots = Number(fence.attributes?.speedLimit);
  const limit = useSignal(knots > 0 ? String(Math.round(speedNumber(knots))) : "");
  const width = useSignal(String(widthOf(fence) || CORRIDOR_M));
  const isLine = /^\s*(MULTI)?LINESTRING/i.test(area.value);
  const counts = useSignal<Counts | null>(null); // null: as it was
  const submit = async () => {
    parse(area.value);
    const attributes: Record<string, unknown> = { ...fence.attributes, color: colour.value };
    if (Number(limit.value) > 0) attributes.speedLimit = toKnots(Number(limit.value));
    else delete attributes.speedLimit;
    if (isLine) attributes.polylineDistance = Number(width.value) / 2;
    const given = {
      ...fence,
      name: name.value.trim(),
      description: description.value.trim() || null,
      area: area.value.trim(),
      attributes,
    };
    const saved = fence.id
      ? await api.put<Geofence>(`/geofences/${fence.id}`, given)
      : await api.post<Geofence>("/geofences", { ...given, id: undefined });
    if (counts.value) await api.put(`/geofences/${saved.id}/devices`, counts.value);
    await onSaved(saved);
  };
  return (
    <Dialog title={fence.id ? t("fences.edit", { name: fence.name }) : t("fences.new")} onClose={onClose} onSubmit={submit}>
      <TextField
        label={t("field.name")}
        name="fence-name"
        required
        autofocus
        maxLength={128}
        value={name.value}
        onInput={(value) => (name.value = value)}
      />
      <TextField label={t("fences.description")} maxLength={300} value={description.value} onInput={(value) => (description.value = value)} />
      <div class="fields">
        <TextField
          label={`${t("fences.limit")} (${speedUnit()})`}
          type="number"
          min={0}
          value={limit.value}
          onInput={(value) => (limit.value = value)}
        />
        {isLine && (
          <TextField label={t("fences.width")} type="number" min={1} required value={width.value} onInput={(value) => (width.value = value)} />
        )}
        <TextField label={t("fences.colour")} type="color" value={colour.value} onInput={(value) => (colour.value = value)} />
      </div>
      <CountsFor fence={fence} onChange={(found) => (counts.value = found)} />
      <details open={!fence.area}>
        <summary>{t("fences.area")}</summary>
        <Field label={t("fences.area")} hint={t("fences.areaHint")}>
          {(id) => (
            <textarea
              id={id}
              class="input"
              rows={4}
              spellcheck={false}
              value={area.value}
              onInput={(event) => (area.value = event.currentTarget.value)}
            />
          )}
        </Field>
      </details>
    </Dialog>
  );
}

function CountsFor({ fence, onChange }: { fence: Geofence; onChange: (found: Counts) => void }) {
  const before = useRemote<Counts>(
    async () => (fence.id ? api.get(`/geofences/${fence.id}/devices`) : { everyone: true, deviceIds: [] }),
    [fence.id],
  );
  const said = useSignal<Counts | null>(null);
  return (
    <Remote remote={before}>
      {(held) => {
        const { everyone, deviceIds } = said.value ?? held;
        const write = (change: Partial<Counts>) => onChange((said.value = { everyone, deviceIds, ...change }));
        return (
          <>
            <Select
              label={t("fences.countsFor")}
              value={everyone ? "all" : "some"}
              options={(["all", "some"] as const).map((one) => [one, t(`fences.counts.${one}`)] as const)}
              onChange={(value) => write({ everyone: value === "all" })}
            />
            {!everyone && (
              <Checks
                label={t("nav.trackers")}
                options={[...devices.value.values()].map((one) => [one.id, one.name] as const)}
                chosen={deviceIds}
                onChange={(ids) => write({ deviceIds: ids })}
              />
            )}
          </>
        );
      }}
    </Remote>
  );
}
