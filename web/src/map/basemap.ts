/**
 * The map under everything: countries that are inside the page, and over them what the operator's settings name
 * (raster tiles, or a .pmtiles archive of raster or vector tiles).
 */

import type { Feature, FeatureCollection, Position as Coordinates } from "geojson";
import type { GeoJSONSource, LayerSpecification, Map as MapLibre } from "maplibre-gl";
import { feature } from "topojson-client";
import type { GeometryCollection, Topology } from "topojson-specification";
import coarseUrl from "world-atlas/countries-110m.json?url";
import fineUrl from "world-atlas/countries-50m.json?url";

import { language } from "../i18n/index.ts";
import type { PageConfig } from "../core/types.ts";
import { unwrapped } from "./rings.ts";

const FINE_FROM_ZOOM = 3; // where the coarse borders begin to look it
const PREFIX = "base-";
const FONT = ["Noto Sans Regular"]; // names a local font: nothing is fetched

interface Tones {
  water: string;
  land: string;
  border: string;
  grid: string;
  label: string;
  halo: string;
}

const LIGHT: Tones = {
  water: "#c9dbe2",
  land: "#f3f1ea",
  border: "#b9b8b0",
  grid: "#b3c8d1",
  label: "#5b6468",
  halo: "#f3f1ea",
};
const DARK: Tones = {
  water: "#0d1c22",
  land: "#1a2a2f",
  border: "#35484f",
  grid: "#1d323a",
  label: "#8ba0a7",
  halo: "#1a2a2f",
};

type Countries = Topology<{ countries: GeometryCollection<{ name: string }> }>;

async function countries(url: string): Promise<FeatureCollection> {
  const world = (await (await fetch(url)).json()) as Countries;
  return { type: "FeatureCollection", features: feature(world, world.objects.countries).features.map(whole) };
}

/** The file's rings jump from 180 to −180; drawn as they are they would be smeared across the map. */
function whole(country: Feature): Feature {
  const { geometry } = country;
  if (geometry.type === "Polygon") {
    return { ...country, geometry: { ...geometry, coordinates: geometry.coordinates.map(unwrapped) } };
  }
  if (geometry.type === "MultiPolygon") {
    const coordinates = geometry.coordinates.map((part) => part.map(unwrapped));
    return { ...country, geometry: { ...geometry, coordinates } };
  }
  return country;
}

/** The country's name in the person's language, by its number in ISO 3166. */
function nameOf(id: string | number | undefined, english: string): string {
  try {
    const region = new Intl.Locale(`und-${String(id).padStart(3, "0")}`).region;
    return (region && new Intl.DisplayNames(language.value, { type: "region", fallback: "none" }).of(region)) || english;
  } catch {
    return english;
  }
}

const areaOf = (ring: Coordinates[]): number => {
  let sum = 0;
  for (let at = 1; at < ring.length; at++) {
    const [x1, y1] = ring[at - 1]!;
    const [x2, y2] = ring[at]!;
    sum += x1! * y2! - x2! * y1!;
  }
  return Math.abs(sum / 2);
};

/** One point for each country's name: the centre of its largest part. */
function labels(world: FeatureCollection): FeatureCollection {
  const features = world.features.flatMap((country) => {
    const { geometry } = country;
    const rings =
      geometry.type === "Polygon"
        ? [geometry.coordinates[0]!]
        : geometry.type === "MultiPolygon"
          ? geometry.coordinates.map((part) => part[0]!)
          : [];
    const largest = rings.sort((a, b) => areaOf(b) - areaOf(a))[0];
    if (!largest) return [];
    const lons = largest.map((point) => point[0]!);
    const lats = largest.map((point) => point[1]!);
    const centre = [
      lons.reduce((sum, one) => sum + one, 0) / lons.length,
      lats.reduce((sum, one) => sum + one, 0) / lats.length,
    ];
    return [
      {
        type: "Feature" as const,
        geometry: { type: "Point" as const, coordinates: centre },
        properties: { name: nameOf(country.id, String(country.properties?.name ?? "")), area: areaOf(largest) },
      },
    ];
  });
  return { type: "FeatureCollection", features };
}

const GRID_STEPS: readonly (readonly [zoom: number, degrees: number])[] = [
  [13, 0.01],
  [10, 0.1],
  [7, 1],
  [0, 10],
];

/** Meridians and parallels about what is seen: where nothing finer is there they show how far one has gone. */
function grid(map: MapLibre): FeatureCollection {
  const zoom = map.getZoom();
  const step = GRID_STEPS.find(([from]) => zoom >= from)![1];
  const seen = map.getBounds();
  const wide = seen.getEast() - seen.getWest();
  const tall = seen.getNorth() - seen.getSouth();
  const west = Math.max(-540, seen.getWest() - wide);
  const east = Math.min(540, seen.getEast() + wide);
  const south = Math.max(-85, seen.getSouth() - tall);
  const north = Math.min(85, seen.getNorth() + tall);
  const line = (coordinates: Coordinates[]) => ({
    type: "Feature" as const,
    geometry: { type: "LineString" as const, coordinates },
    properties: {},
  });
  const features = [];
  for (let at = Math.ceil(west / step); at * step <= east; at++) features.push(line([[at * step, south], [at * step, north]]));
  for (let at = Math.ceil(south / step); at * step <= north; at++) features.push(line([[west, at * step], [east, at * step]]));
  return { type: "FeatureCollection", features };
}

const NOTHING: FeatureCollection = { type: "FeatureCollection", features: [] };

export const emptyStyle = (isDark: boolean) => ({
  version: 8 as const,
  sources: {},
  layers: [
    {
      id: `${PREFIX}water`,
      type: "background" as const,
      paint: { "background-color": (isDark ? DARK : LIGHT).water },
    },
  ],
});

/** Layers of ours at the bottom of the map, under whatever the views have put there. */
function addBelow(map: MapLibre, layers: LayerSpecification[]) {
  const first = map.getLayersOrder().find((id) => !id.startsWith(PREFIX));
  for (const layer of layers) map.addLayer(layer, first);
}

function worldLayers(tones: Tones, named: boolean): LayerSpecification[] {
  const layers: LayerSpecification[] = [
    { id: `${PREFIX}land`, type: "fill", source: "world", paint: { "fill-color": tones.land, "fill-antialias": true } },
    {
      id: `${PREFIX}grid`,
      type: "line",
      source: "world-grid",
      paint: { "line-color": tones.grid, "line-width": 0.6, "line-opacity": 0.6 },
    },
    {
      id: `${PREFIX}border`,
      type: "line",
      source: "world",
      paint: { "line-color": tones.border, "line-width": ["interpolate", ["linear"], ["zoom"], 1, 0.6, 8, 1.6] },
    },
  ];
  if (named) {
    layers.push({
      id: `${PREFIX}names`,
      type: "symbol",
      source: "world-names",
      minzoom: 1.2,
      maxzoom: 8,
      layout: {
        "text-field": ["get", "name"],
        "text-font": FONT,
        "text-size": ["interpolate", ["linear"], ["zoom"], 1, 10, 5, 14],
        "text-max-width": 7,
        "symbol-sort-key": ["-", 0, ["get", "area"]],
      },
      paint: { "text-color": tones.label, "text-halo-color": tones.halo, "text-halo-width": 1.2 },
    });
  }
  return layers;
}

let protocolAdded = false;

async function tileLayers(map: MapLibre, config: PageConfig, isDark: boolean): Promise<LayerSpecification[]> {
  const raster = (tiles: Record<string, unknown>): LayerSpecification[] => {
    if (!map.getSource("tiles")) {
      map.addSource("tiles", {
        type: "raster",
        tileSize: 256,
        maxzoom: config.tilesZoomMax,
        attribution: config.tilesAttribution,
        ...tiles,
      });
    }
    const paint = isDark ? { "raster-brightness-max": 0.72, "raster-saturation": -0.25 } : {};
    return [{ id: `${PREFIX}tiles`, type: "raster", source: "tiles", paint }];
  };
  if (!config.tiles) return [];
  if (!new URL(config.tiles, location.href).pathname.endsWith(".pmtiles")) return raster({ tiles: [config.tiles] });

  const { Protocol, PMTiles, TileType } = await import("pmtiles");
  const { addProtocol } = await import("maplibre-gl");
  const address = new URL(config.tiles, location.href).href;
  if (!protocolAdded) {
    addProtocol("pmtiles", new Protocol({ metadata: true }).tile);
    protocolAdded = true;
  }
  const archive = new PMTiles(address);
  const header = await archive.getHeader();
  if (header.tileType !== TileType.Mvt) return raster({ url: `pmtiles://${address}`, maxzoom: header.maxZoom });
  if (!map.getSource("tiles")) {
    map.addSource("tiles", { type: "vector", url: `pmtiles://${address}`, attribution: config.tilesAttribution });
  }
  const { layers, namedFlavor } = await import("@protomaps/basemaps");
  const found = layers("tiles", namedFlavor(isDark ? "dark" : "light"), { lang: language.value });
  const told = (await archive.getMetadata()) as { vector_layers?: { id: string }[] };
  const inside = new Set(told.vector_layers?.map((layer) => layer.id));
  return found
    .filter((layer) => !("source-layer" in layer) || inside.has(String(layer["source-layer"])))
    .filter((layer) => !(layer.layout && "icon-image" in layer.layout)) // pictures would have to be fetched
    .map((layer) => ({ ...layer, id: `${PREFIX}tiles-${layer.id}` }) as LayerSpecification);
}

let turn = 0;

/** Put the base map in, or in other tones. May be called again at any time; the last call counts. */
export async function dress(map: MapLibre, config: PageConfig, isDark: boolean): Promise<void> {
  const mine = ++turn;
  const tones = isDark ? DARK : LIGHT;
  const tiles = await tileLayers(map, config, isDark).catch((error: unknown) => {
    console.warn("the map's tiles cannot be used", error);
    return [] as LayerSpecification[];
  });
  if (mine !== turn) return;
  if (!map.getSource("world")) {
    map.addSource("world", { type: "geojson", data: NOTHING, attribution: "Natural Earth" });
    map.addSource("world-names", { type: "geojson", data: NOTHING });
    map.addSource("world-grid", { type: "geojson", data: NOTHING });
    const redraw = () => (map.getSource("world-grid") as GeoJSONSource).setData(grid(map));
    map.on("moveend", redraw);
    redraw();
    void fill(map);
  }
  for (const id of map.getLayersOrder()) {
    if (id.startsWith(PREFIX) && id !== `${PREFIX}water`) map.removeLayer(id);
  }
  map.setPaintProperty(`${PREFIX}water`, "background-color", tones.water);
  addBelow(map, [...worldLayers(tones, tiles.length === 0), ...tiles]);
}

let coarse: Promise<FeatureCollection> | null = null;

async function fill(map: MapLibre): Promise<void> {
  const put = (source: string, data: FeatureCollection) => (map.getSource(source) as GeoJSONSource).setData(data);
  coarse ??= countries(coarseUrl);
  const world = await coarse;
  put("world", world);
  put("world-names", labels(world));
  const finer = async () => {
    if (map.getZoom() < FINE_FROM_ZOOM) return;
    map.off("zoomend", finer);
    const fine = await countries(fineUrl);
    put("world", fine);
    put("world-names", labels(fine));
  };
  map.on("zoomend", finer);
  await finer();
}

/** The names again, after the language has changed. */
export async function renameCountries(map: MapLibre): Promise<void> {
  if (coarse) (map.getSource("world-names") as GeoJSONSource | undefined)?.setData(labels(await coarse));
}
