/** Where we are: the path and its query, with the browser's own history. */

import { signal } from "@preact/signals";

export interface Place {
  path: string;
  query: URLSearchParams;
}

const read = (): Place => ({ path: location.pathname, query: new URLSearchParams(location.search) });

export const place = signal<Place>(read());

export function go(path: string, query: Record<string, string | number | null | undefined> = {}, replace = false) {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== "") params.set(name, String(value));
  }
  const text = params.toString();
  const target = `${path}${text ? `?${text}` : ""}`;
  if (replace) history.replaceState(null, "", target);
  else if (target !== location.pathname + location.search) history.pushState(null, "", target);
  place.value = read();
}

addEventListener("popstate", () => {
  place.value = read();
});

/** A link's click: followed inside the page, unless the person wants a new tab. */
export function follow(event: MouseEvent) {
  const link = (event.currentTarget as Element).closest("a");
  if (!link || event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
  event.preventDefault();
  go(link.pathname, Object.fromEntries(new URLSearchParams(link.search)));
}
