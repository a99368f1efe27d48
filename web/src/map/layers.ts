/** Lines, areas and points of our own over the base map, kept by name; each is replaced as a whole. */

import type { Feature, FeatureCollection } from "geojson";
import type { GeoJSONSource, LayerSpecification, Map as MapLibre } from "maplibre-gl";

import type { Geofence } from "../core/types.ts";
import { circleRing, parse, type Point } from "../core/wkt.ts";
import { continued, spanOf, turned, unwrapped } from "./rings.ts";

type LayerWithoutSource = LayerSpecification extends infer One ? (One extends { source: string } ? Omit<One, "source"> : never) : never;

/** A source with its layers. ``data`` replaces what it shows; ``remove`` takes all of it away. */
export function addLayers(map: MapLibre, name: string, layers: readonly LayerWithoutSource[]) {
  // tolerance: by default so many points go that a circle has corners
  map.addSource(name, { type: "geojson", tolerance: 0.1, data: { type: "FeatureCollection", features: [] } });
  for (const layer of layers) map.addLayer({ ...layer, source: name } as LayerSpecification);
  return {
    data: (features: Feature[]) => {
      const source = map.getSource(name) as GeoJSONSource | undefined;
      source?.setData({ type: "FeatureCollection", features } satisfies FeatureCollection);
    },
    remove: () => {
      for (const layer of layers) if (map.getLayer(layer.id)) map.removeLayer(layer.id);
      if (map.getSource(name)) map.removeSource(name);
    },
  };
}

export const CORRIDOR_M = 50; // the whole width, where a fence names none

export const colourOf = (fence: Geofence): string => {
  const colour = fence.attributes?.color;
  return typeof colour === "string" && /^#[0-9a-f]{6}$/i.test(colour) ? colour : "#b0493a";
};

/** A fence as features, with a point for its name above it, for trackers stand in the middle; an area that cannot be read is left out. */
export function featuresOf(fence: Geofence): Feature[] {
  const drawn = shapesOf(fence);
  const bounds = boundsOf(drawn);
  if (!bounds) return drawn;
  const [[west], [east, north]] = bounds;
  const line = drawn[0]?.geometry.type === "LineString" ? drawn[0].geometry.coordinates : [];
  const above = { type: "Point" as const, coordinates: line[line.length >> 1] ?? [(west + east) / 2, north] };
  return [...drawn, { type: "Feature", geometry: above, properties: { name: fence.name, colour: colourOf(fence) } }];
}

function shapesOf(fence: Geofence): Feature[] {
  const properties = { id: fence.id, name: fence.name, colour: colourOf(fence), width: widthOf(fence), squeeze: 1 };
  const polygon = (rings: Point[][]): Feature => ({
    type: "Feature",
    geometry: { type: "Polygon", coordinates: ringsOf(rings) },
    properties,
  });
  try {
    const shape = parse(fence.area);
    switch (shape.kind) {
      case "circle":
        return [polygon([circleRing(shape.centre, shape.radius)])];
      case "polygon":
        return [polygon(shape.rings)];
      case "polygons":
        return shape.parts.map(polygon);
      case "line":
        return shape.parts.map((line) => ({
          type: "Feature",
          geometry: { type: "LineString", coordinates: continued(line) },
          properties: { ...properties, squeeze: 1 / Math.cos(((line[0]?.[1] ?? 0) * Math.PI) / 180) },
        }));
    }
  } catch {
    return [];
  }
}

/** An area's ring and its holes, on one side of 180° or running on past it together. */
function ringsOf(rings: Point[][]): number[][][] {
  const [outer = [], ...holes] = rings.map(unwrapped);
  const shifts = holes.map((hole) => turned(hole[0]![0]!, outer[0]![0]!) - hole[0]![0]!);
  return [outer, ...holes.map((hole, at) => hole.map(([longitude, latitude]) => [longitude! + shifts[at]!, latitude!]))];
}

/** A corridor's whole width in metres. */
export function widthOf(fence: Geofence): number {
  const half = Number(fence.attributes?.polylineDistance);
  return half > 0 ? half * 2 : CORRIDOR_M;
}

/** The smallest box that holds them, by longitudes that may run on past 180°; lines and rings have to do so already. */
export function boundsOf(features: readonly Feature[]): [[number, number], [number, number]] | null {
  const spans: [number, number][] = [];
  let south = 90;
  let north = -90;
  const takeWay = (way: readonly (readonly number[])[]): void => {
    let west = Infinity;
    let east = -Infinity;
    for (const [longitude, latitude] of way) {
      west = Math.min(west, longitude!);
      east = Math.max(east, longitude!);
      south = Math.min(south, latitude!);
      north = Math.max(north, latitude!);
    }
    if (way.length) spans.push([west, east]);
  };
  for (const { geometry } of features) {
    if (geometry.type === "Point") takeWay([geometry.coordinates]);
    if (geometry.type === "MultiPoint") for (const one of geometry.coordinates) takeWay([one]);
    if (geometry.type === "LineString") takeWay(geometry.coordinates);
    if (geometry.type === "Polygon") for (const ring of geometry.coordinates) takeWay(ring);
  }
  const span = spanOf(spans);
  return span && [[span[0], south], [span[1], north]];
}

/** Places as one feature, to ask for its bounds. */
export const pointsOf = (places: Iterable<{ longitude: number; latitude: number }>): Feature => ({
  type: "Feature",
  geometry: { type: "MultiPoint", coordinates: [...places].map((at) => [at.longitude, at.latitude]) },
  properties: {},
});

const EQUATOR_M = 40_075_016.686;
const TILE_PX = 512;

/** A line as wide as its ``width`` in metres, at every zoom. ``squeeze`` undoes Mercator's stretching. */
const metres = (zoom: number) =>
  ["*", ["*", ["get", "width"], ["get", "squeeze"]], (TILE_PX * 2 ** zoom) / EQUATOR_M] as unknown as number;

export const FENCE_LAYERS: readonly LayerWithoutSource[] = [
  {
    id: "fence-area",
    type: "fill",
    filter: ["==", ["geometry-type"], "Polygon"],
    paint: { "fill-color": ["get", "colour"], "fill-opacity": 0.16 },
  },
  {
    id: "fence-corridor",
    type: "line",
    filter: ["==", ["geometry-type"], "LineString"],
    layout: { "line-cap": "round", "line-join": "round" },
    paint: {
      "line-color": ["get", "colour"],
      "line-opacity": 0.25,
      "line-width": ["interpolate", ["exponential", 2], ["zoom"], 0, metres(0), 22, metres(22)],
    },
  },
  {
    id: "fence-edge",
    type: "line",
    filter: ["!=", ["geometry-type"], "Point"],
    paint: { "line-color": ["get", "colour"], "line-width": 2 },
  },
  {
    id: "fence-name",
    type: "symbol",
    filter: ["==", ["geometry-type"], "Point"],
    minzoom: 8, // from further away a fence is smaller than its name
    layout: {
      "text-field": ["get", "name"],
      "text-font": ["Noto Sans Bold"],
      "text-size": 12,
      "symbol-placement": "point",
      "text-anchor": "bottom",
      "text-offset": [0, -0.3],
    },
    paint: { "text-color": ["get", "colour"], "text-halo-color": "#ffffff", "text-halo-width": 1.4 },
  },
];
