/** What a person chose: kept in the browser at once, and with the user on the server where somebody is signed in. */

import { computed, effect, signal } from "@preact/signals";

export type Theme = "auto" | "light" | "dark";
export type Units = "km" | "mi" | "nmi";

const stored = (name: string, otherwise: string): string => {
  try {
    return localStorage.getItem(`tracker.${name}`) ?? otherwise;
  } catch {
    return otherwise;
  }
};

export const theme = signal(stored("theme", "auto") as Theme);
export const units = signal(stored("units", /^(en-US|en-GB|my|en-LR)/.test(navigator.language) ? "mi" : "km") as Units);
export const zone = signal(stored("zone", Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC"));

for (const [name, kept] of Object.entries({ theme, units, zone })) {
  effect(() => {
    const value = kept.value;
    try {
      localStorage.setItem(`tracker.${name}`, value);
    } catch {
      /* private windows keep nothing */
    }
  });
}

const darkness = matchMedia("(prefers-color-scheme: dark)");
const system = signal(darkness.matches);
darkness.addEventListener("change", (event) => {
  system.value = event.matches;
});

export const dark = computed(() => (theme.value === "auto" ? system.value : theme.value === "dark"));

effect(() => {
  document.documentElement.dataset.theme = dark.value ? "dark" : "light";
});

export const stillness = matchMedia("(prefers-reduced-motion: reduce)");
