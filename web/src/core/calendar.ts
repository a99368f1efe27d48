/** Calendars as the server keeps them: iCalendar in base64. */

export const DAYS = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"] as const;
export type Day = (typeof DAYS)[number];

/** The same hours on these days of each week, in a zone; an end before the begin is on the day after. */
export interface Week {
  days: readonly Day[];
  from: string;
  to: string;
  zone: string;
}

const DAY_MIN = 24 * 60;

const minutes = (time: string): number => Number(time.slice(0, 2)) * 60 + Number(time.slice(3, 5));
const two = (number: number): string => String(number).padStart(2, "0");
const stamp = (day: number, time: string): string => `202601${two(5 + day)}T${time.replace(":", "")}00`;

/** As iCalendar. */
export function weekly({ days, from, to, zone }: Week): string {
  const sorted = DAYS.filter((day) => days.includes(day));
  const first = DAYS.indexOf(sorted[0] ?? "MO"); // 5 January 2026 is a Monday
  const length = ((minutes(to) - minutes(from) + DAY_MIN - 1) % DAY_MIN) + 1;
  return [
    "BEGIN:VCALENDAR",
    "VERSION:2.0",
    "PRODID:-//tracker-server//page//EN",
    "BEGIN:VEVENT",
    `UID:${sorted.join("")}-${from}-${to}@tracker-server`,
    "DTSTAMP:20260101T000000Z",
    `DTSTART;TZID=${zone}:${stamp(first, from)}`,
    `DURATION:PT${length}M`,
    `RRULE:FREQ=WEEKLY;BYDAY=${sorted.join(",")}`,
    "END:VEVENT",
    "END:VCALENDAR",
    "",
  ].join("\r\n");
}

/** What ``weekly`` wrote; null for any other iCalendar, of which nothing may be dropped. */
export function weekOf(text: string): Week | null {
  const start = /^DTSTART;TZID=([^:\r\n]+):\d{8}T(\d\d)(\d\d)00\r?$/m.exec(text);
  const length = /^DURATION:PT(\d+)M\r?$/m.exec(text);
  const days = /^RRULE:FREQ=WEEKLY;BYDAY=([A-Z,]+)\r?$/m.exec(text);
  if (!start?.[1] || !length || !days?.[1]) return null;
  const from = `${start[2]}:${start[3]}`;
  const end = (minutes(from) + Number(length[1])) % DAY_MIN;
  const week: Week = {
    days: DAYS.filter((day) => days[1]?.split(",").includes(day)),
    from,
    to: `${two(Math.floor(end / 60))}:${two(end % 60)}`,
    zone: start[1],
  };
  return weekly(week) === text ? week : null;
}

/** Bytes in base64. */
export function base64(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}

export const weekBase64 = (week: Week): string => base64(new TextEncoder().encode(weekly(week)));

/** The text of base64. */
export const textOf = (data: string): string =>
  new TextDecoder().decode(Uint8Array.from(atob(data), (character) => character.charCodeAt(0)));
