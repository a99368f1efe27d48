/** The page's pictures: strokes on a grid of 24, drawn in the colour of the text. */

const PATHS = {
  map: "M9 4 3 6.5v13L9 17l6 2.5 6-2.5V4l-6 2.5L9 4Zm0 0v13m6-10.5v13",
  history: "M3.5 12a8.5 8.5 0 1 0 2.6-6.1M3.5 4v4.5H8M12 7.5V12l3.2 2",
  fence: "M12 3.5 19.5 8l-2.2 9.5H6.7L4.5 8 12 3.5Z",
  bell: "M6.5 16.5v-6a5.5 5.5 0 0 1 11 0v6l1.5 2H5l1.5-2Zm3.5 2.2a2 2 0 0 0 4 0",
  trackers: "M4 6.5h16M4 12h16M4 17.5h10M18 15.5v4m2-2h-4",
  list: "M8 6h12M8 12h12M8 18h12M4 6h.01M4 12h.01M4 18h.01",
  money: "M3.5 7.5A2.5 2.5 0 0 1 6 5h11v3.5M3.5 7.5V17A2.5 2.5 0 0 0 6 19.5h14.5v-11H5.5a2 2 0 0 1-2-1Zm13 6.5h.01",
  operator: "M4 19.5V10m5.3 9.5V4.5m5.4 15V12m5.3 7.5V7.5",
  settings: "M4 7h9m4 0h3M4 17h3m4 0h9M15 4.8v4.4M9 14.8v4.4",
  search: "M10.8 17.6a6.8 6.8 0 1 0 0-13.6 6.8 6.8 0 0 0 0 13.6ZM20 20l-4.4-4.4",
  close: "m6 6 12 12M18 6 6 18",
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  target: "M12 19a7 7 0 1 0 0-14 7 7 0 0 0 0 14Zm0-17v3m0 14v3M2 12h3m14 0h3M12 12h.01",
  fit: "M4 9V4h5m6 0h5v5m0 6v5h-5m-6 0H4v-5",
  play: "M7 4.8v14.4L19 12 7 4.8Z",
  pause: "M8 5v14m8-14v14",
  left: "m14.5 5.5-6.5 6.5 6.5 6.5",
  right: "m9.5 5.5 6.5 6.5-6.5 6.5",
  up: "m5.5 14.5 6.5-6.5 6.5 6.5",
  down: "m5.5 9.5 6.5 6.5 6.5-6.5",
  download: "M12 4v11m-4.5-4 4.5 4.5 4.5-4.5M4.5 19.5h15",
  upload: "M12 15.5V4.5M7.5 9 12 4.5 16.5 9M4.5 19.5h15",
  trash: "M4.5 7h15M9.5 7V4.5h5V7m3.5 0-.8 12.5H6.8L6 7m4 4v5m4-5v5",
  edit: "M4.5 19.5h4L19 9l-4-4L4.5 15.5v4ZM13 7l4 4",
  battery: "M3.5 8h14v8h-14zM20.5 10.5v3",
  key: "M8 15.5a4 4 0 1 1 3.6-5.8H20.5v3h-2v2.5h-3v-2.5h-3.9A4 4 0 0 1 8 15.5Zm0-4h.01",
  share: "M12 14V4m-4 3.5L12 3.5l4 4M6 11H4.5v9h15v-9H18",
  follow: "M12 21s7-6.2 7-11.5a7 7 0 0 0-14 0C5 14.8 12 21 12 21Zm0-9a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5Z",
  trail: "M6 19.5c6 0 3-6 6-7.5s6-1.5 6-7.5M6 21a1.5 1.5 0 1 0 0-3 1.5 1.5 0 0 0 0 3Zm12-15a1.5 1.5 0 1 0 0-3 1.5 1.5 0 0 0 0 3Z",
  circle: "M12 19.5a7.5 7.5 0 1 0 0-15 7.5 7.5 0 0 0 0 15Z",
  polygon: "M12 3.5 19.5 8l-2.2 9.5H6.7L4.5 8 12 3.5Z",
  points: "M6.5 8.5 16 6.5m2 2-1.5 8m-3 1.5-5.5-1m-2.5-2-.5-5M5 8.5a2 2 0 1 0 0-4 2 2 0 0 0 0 4Zm13 0a2 2 0 1 0 0-4 2 2 0 0 0 0 4Zm-2 12a2 2 0 1 0 0-4 2 2 0 0 0 0 4ZM6 19a2 2 0 1 0 0-4 2 2 0 0 0 0 4Z",
  corridor: "M4 17.5c6 0 4-11 10-11h6M4 21c9 0 8-11 12-11h4",
  car: "M4 15.5v-3.2l2-5.3h12l2 5.3v3.2m-16 0h16m-16 0v2.5h2.5v-2.5m11 0v2.5H20v-2.5M7 12.5h.01m9.98 0H17",
  truck: "M3 6.5h10.5v10H3zm10.5 3.5h4l3.5 3.5v3h-7.5M7 18.5a2 2 0 1 0 0-4 2 2 0 0 0 0 4Zm10 0a2 2 0 1 0 0-4 2 2 0 0 0 0 4Z",
  person: "M12 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7Zm-6.5 9a6.5 6.5 0 0 1 13 0",
  boat: "M4 15.5h16l-2.5 4h-11l-2.5-4Zm8-11v8m0-8 5.5 8H12",
  bike: "M6 18.5a3 3 0 1 0 0-6 3 3 0 0 0 0 6Zm12 0a3 3 0 1 0 0-6 3 3 0 0 0 0 6Zm-12-3 3.5-6h6l2.5 6m-8.5-6L12 15.5m0 0h-2m5.5-6L14.5 7H13",
  parking: "M5 4h14v16H5zM9.5 16.5v-9h3a2.7 2.7 0 0 1 0 5.4h-3",
  road: "M7.5 4 4.5 20m12-16 3 16M12 4.5v2.8m0 3.3v2.8m0 3.3v2.8",
  layers: "m12 4 8.5 4.5L12 13 3.5 8.5 12 4Zm8.5 8.5L12 17l-8.5-4.5M20.5 16 12 20.5 3.5 16",
  sun: "M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8Zm0-13v2m0 14v2M3 12h2m14 0h2M5.6 5.6 7 7m10 10 1.4 1.4m0-12.8L17 7M7 17l-1.4 1.4",
  moon: "M19.5 14.5A8 8 0 0 1 9.5 4.5a8 8 0 1 0 10 10Z",
  out: "M14 4.5H5v15h9M10 12h10.5m-4-4 4 4-4 4",
  more: "M5 12h.01M12 12h.01M19 12h.01",
  info: "M12 20.5a8.5 8.5 0 1 0 0-17 8.5 8.5 0 0 0 0 17Zm0-9.5v5.5M12 7.5h.01",
  check: "m5 12.5 4.5 4.5L19 7.5",
  refresh: "M20 12a8 8 0 1 1-2.4-5.7M20 4v4.5h-4.5",
  mail: "M3.5 6h17v12.5h-17zM3.5 7l8.5 6 8.5-6",
  lock: "M6 11h12v9H6zm2.5 0V8a3.5 3.5 0 0 1 7 0v3",
  file: "M6 3.5h8.5L18.5 8v12.5H6zM14 3.5V8.5h4.5",
  antenna: "M12 13.5V21M12 13.5a2 2 0 1 0 0-4 2 2 0 0 0 0 4Zm-4.5 3a7 7 0 0 1 0-10m9 0a7 7 0 0 1 0 10M4.7 19.3a11 11 0 0 1 0-15.6m14.6 0a11 11 0 0 1 0 15.6",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name, label }: { name: IconName; label?: string }) {
  return (
    <svg
      class="icon"
      viewBox="0 0 24 24"
      fill="none"
      stroke="currentColor"
      stroke-width={name === "more" || name === "list" ? 2.4 : 1.8}
      stroke-linecap="round"
      stroke-linejoin="round"
      role={label ? "img" : undefined}
      aria-label={label}
      aria-hidden={label ? undefined : "true"}
    >
      <path d={PATHS[name]} />
    </svg>
  );
}

/** The yellow exclamation mark of a blocked tracker. */
export function BlockedMark({ label }: { label: string }) {
  return (
    <svg class="mark" viewBox="0 0 24 24" role="img" aria-label={label}>
      <title>{label}</title>
      <path
        d="M10.3 3.6 1.9 18.2A2 2 0 0 0 3.6 21.2h16.8a2 2 0 0 0 1.7-3L13.7 3.6a2 2 0 0 0-3.4 0Z"
        fill="#f2b705"
        stroke="#8a6500"
        stroke-width="0.8"
      />
      <path d="M12 8.6v5.6" stroke="#2b1f00" stroke-width="2.2" stroke-linecap="round" />
      <circle cx="12" cy="17.6" r="1.35" fill="#2b1f00" />
    </svg>
  );
}

const CATEGORIES: Record<string, IconName> = {
  truck: "truck",
  van: "truck",
  bus: "truck",
  pickup: "truck",
  person: "person",
  boat: "boat",
  ship: "boat",
  bicycle: "bike",
  motorcycle: "bike",
  scooter: "bike",
};

export const categoryIcon = (category: string | null): IconName => CATEGORIES[category ?? ""] ?? "car";
