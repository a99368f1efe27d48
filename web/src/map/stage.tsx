/** The one map of the page. It is made when the first view wants it, and kept while others are looked at. */

import { effect, signal } from "@preact/signals";
import type { Map as MapLibre } from "maplibre-gl";
import { useEffect, useRef } from "preact/hooks";

import { dark, type Units, units } from "../core/preferences.ts";
import { config } from "../core/session.ts";
import { language, t } from "../i18n/index.ts";
import { Icon } from "../ui/icon.tsx";

export const map = signal<MapLibre | null>(null);
const failed = signal(false);

const SCALES = { km: "metric", mi: "imperial", nmi: "nautical" } as const satisfies Record<Units, string>;

async function make(container: HTMLElement): Promise<MapLibre> {
  const [maplibre, worker, basemap] = await Promise.all([
    import("maplibre-gl"),
    import("maplibre-gl/dist/maplibre-gl-worker.mjs?url"),
    import("./basemap.ts"),
    import("maplibre-gl/dist/maplibre-gl.css"),
  ]);
  maplibre.setWorkerUrl(worker.default);
  const made = new maplibre.Map({
    container,
    style: basemap.emptyStyle(dark.peek()),
    center: [10, 30],
    zoom: 1.6,
    maxZoom: 20,
    attributionControl: { compact: true },
    dragRotate: false,
    pitchWithRotate: false,
    touchPitch: false,
    fadeDuration: 0,
    locale: { "Map.Title": t("map.title"), "AttributionControl.ToggleAttribution": t("map.about") },
  });
  const scale = new maplibre.ScaleControl();
  made.addControl(scale, "bottom-right");
  effect(() => scale.setUnit(SCALES[units.value]));
  await new Promise<void>((resolve) => made.once("load", () => resolve()));
  effect(() => {
    void basemap.dress(made, config.value, dark.value);
  });
  effect(() => {
    if (language.value) void basemap.renameCountries(made);
  });
  return made;
}

export function Stage({ shown }: { shown: boolean }) {
  const container = useRef<HTMLDivElement>(null);
  const begun = useRef(false);
  useEffect(() => {
    if (!shown || begun.current || !container.current) return;
    begun.current = true;
    make(container.current).then(
      (made) => {
        map.value = made;
      },
      (error: unknown) => {
        console.error(error);
        failed.value = true;
      },
    );
  }, [shown]);
  useEffect(() => {
    if (shown) map.value?.resize();
  }, [shown, map.value]);
  return (
    <div class="stage" hidden={!shown}>
      <div class="map" ref={container} />
      {failed.value && (
        <div class="banner" role="alert">
          {t("map.failed")}
        </div>
      )}
    </div>
  );
}

/** Run while the view is there and the map is too; what is answered undoes it. */
export function useMap(setUp: (map: MapLibre) => (() => void) | void, keys: readonly unknown[] = []) {
  const made = map.value;
  useEffect(() => (made ? setUp(made) : undefined), [made, ...keys]);
}

/** Buttons beside the map: zoom, and what a view adds. */
export function MapButtons({ onFit }: { onFit?: () => void }) {
  return (
    <div class="map-buttons" role="group" aria-label={t("map.controls")}>
      <button type="button" onClick={() => map.value?.zoomIn()} title={t("map.in")} aria-label={t("map.in")}>
        <Icon name="plus" />
      </button>
      <button type="button" onClick={() => map.value?.zoomOut()} title={t("map.out")} aria-label={t("map.out")}>
        <Icon name="minus" />
      </button>
      {onFit && (
        <button type="button" onClick={onFit} title={t("map.fit")} aria-label={t("map.fit")}>
          <Icon name="fit" />
        </button>
      )}
    </div>
  );
}

/** What covers the map at its edges, so that what is to be seen is put beside it. */
export function padding(player = false, card = document.querySelector(".details") !== null) {
  return innerWidth > 760
    ? { top: 90, bottom: player ? 230 : 96, left: 400, right: card ? 390 : 90 }
    : { top: player ? 190 : 70, bottom: Math.round(innerHeight * 0.44), left: 40, right: 60 };
}

/** From the map's middle to the middle of what is left free of it, for one place that is to be seen there. */
export function offset(player = false, card?: boolean): [number, number] {
  const { top, bottom, left, right } = padding(player, card);
  return [(left - right) / 2, (top - bottom) / 2];
}
