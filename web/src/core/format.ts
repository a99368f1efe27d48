/** Numbers, units, times and money, in the person's language, units and zone. */

import { language, t } from "../i18n/index.ts";
import { units, zone } from "./preferences.ts";

export const KNOT_KMH = 1.852;
const MILE_KM = 1.609344;

/** Knots in the person's unit, as a bare number. */
export function speedNumber(knots: number): number {
  const kmh = knots * KNOT_KMH;
  return units.value === "km" ? kmh : units.value === "mi" ? kmh / MILE_KM : knots;
}

export const speedUnit = (): string => t(`unit.speed.${units.value}`);

export const speed = (knots: number): string => `${number(speedNumber(knots), 0)} ${speedUnit()}`;

/** The person's unit as knots. */
export const toKnots = (value: number): number =>
  units.value === "km" ? value / KNOT_KMH : units.value === "mi" ? (value * MILE_KM) / KNOT_KMH : value;

export function distance(metres: number): string {
  if (units.value === "km" && metres < 1000) return `${number(metres, 0)} m`;
  const km = metres / 1000;
  const value = units.value === "km" ? km : units.value === "mi" ? km / MILE_KM : km / KNOT_KMH;
  return `${number(value, value < 100 ? 1 : 0)} ${t(`unit.distance.${units.value}`)}`;
}

export const number = (value: number, digits = 2): string =>
  new Intl.NumberFormat(language.value, { maximumFractionDigits: digits }).format(value);

export function money(amount: string | null | undefined, currency: string): string {
  if (amount === null || amount === undefined || amount === "") return "–";
  const value = Number(amount);
  try {
    const digits = amount.includes(".") ? amount.length - amount.indexOf(".") - 1 : 0;
    return new Intl.NumberFormat(language.value, {
      style: "currency",
      currency,
      minimumFractionDigits: digits,
      maximumFractionDigits: digits,
    }).format(value);
  } catch {
    return `${amount} ${currency}`;
  }
}

const format = (options: Intl.DateTimeFormatOptions, at: string | Date): string => {
  const date = typeof at === "string" ? new Date(at) : at;
  if (Number.isNaN(date.getTime())) return "–";
  return new Intl.DateTimeFormat(language.value, { timeZone: zone.value, ...options }).format(date);
};

export const dateTime = (at: string | Date | null | undefined): string =>
  at ? format({ dateStyle: "medium", timeStyle: "short" }, at) : "–";
export const date = (at: string | Date | null | undefined): string => (at ? format({ dateStyle: "medium" }, at) : "–");
export const time = (at: string | Date): string => format({ hour: "2-digit", minute: "2-digit", hourCycle: "h23" }, at);
export const timeWithSeconds = (at: string | Date): string =>
  format({ hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" }, at);
/** A calendar date that the server gives as 2026-11-25; no zone may move it. */
export const calendarDate = (at: string | null): string => (at ? format({ dateStyle: "medium", timeZone: "UTC" }, at) : "");

const STEPS: [Intl.RelativeTimeFormatUnit, number][] = [
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
];

/** "5 minutes ago"; the first minute is "now". */
export function ago(at: string | null | undefined, now = Date.now()): string {
  if (!at) return t("time.never");
  const seconds = (now - new Date(at).getTime()) / 1000;
  const words = new Intl.RelativeTimeFormat(language.value, { numeric: "always", style: "short" });
  for (const [unit, size] of STEPS) {
    if (Math.abs(seconds) >= size) return words.format(-Math.trunc(seconds / size), unit);
  }
  return t("time.now");
}

export function duration(milliseconds: number): string {
  const minutes = Math.round(milliseconds / 60_000);
  const hours = Math.trunc(minutes / 60);
  return hours ? t("time.hours", { hours, minutes: minutes % 60 }) : t("time.minutes", { minutes });
}
