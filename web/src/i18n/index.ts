/** Sentences in the person's language, as ICU messages. English is always there; the others are fetched when wanted. */

import { signal } from "@preact/signals";
import { IntlMessageFormat } from "intl-messageformat";

import { en } from "./en.ts";

export type Messages = typeof en;
export type Key = keyof Messages;
export type Language = "en" | "es" | "ru";

export const LANGUAGES: Record<Language, string> = { en: "English", es: "Español", ru: "Русский" };

export const language = signal<Language>("en");
const messages = signal<Record<string, string>>(en);
const formats = new Map<string, IntlMessageFormat>();

const load: Record<Language, () => Promise<Record<string, string>>> = {
  en: async () => en,
  es: async () => (await import("./es.ts")).es,
  ru: async () => (await import("./ru.ts")).ru,
};

export const isLanguage = (text: unknown): text is Language => typeof text === "string" && text in LANGUAGES;

/** The language of this browser, where we speak it: what was chosen last, else what it asks for. */
export function preferred(): Language {
  let chosen: string | null = null;
  try {
    chosen = localStorage.getItem("tracker.language");
  } catch {
    /* private windows keep nothing */
  }
  const wanted = [chosen, ...navigator.languages.map((tag) => tag.slice(0, 2))];
  return wanted.find(isLanguage) ?? "en";
}

export async function speak(wanted: Language): Promise<void> {
  const found = await load[wanted]();
  formats.clear();
  messages.value = found;
  language.value = wanted;
  document.documentElement.lang = wanted;
  try {
    localStorage.setItem("tracker.language", wanted);
  } catch {
    /* private windows keep nothing */
  }
}

type Values = Record<string, string | number | boolean | Date | null | undefined>;

export function t(key: Key, values?: Values): string {
  const text = messages.value[key] ?? en[key];
  if (!text.includes("{")) return text;
  let format = formats.get(key);
  if (!format) {
    format = new IntlMessageFormat(text, language.value);
    formats.set(key, format);
  }
  return String(format.format(values));
}

/** The message of a key that is put together at run time; ``otherwise`` where there is none. */
export function maybe(key: string, otherwise: string, values?: Values): string {
  return key in en ? t(key as Key, values) : otherwise;
}
