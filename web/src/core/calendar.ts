/** Calendars as the server keeps them: iCalendar in base64. */

export const DAYS = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"] as const;
export type Day = (typeof DAYS)[number];

const LATE_MIN = 24 * 60;

const minutes = (time: string): number => Number(time.slice(0, 2)) * 60 + Number(time.slice(3, 5));
const stamp = (day: number, time: string): string => `202601${String(5 + day).padStart(2, "0")}T${time.replace(":", "")}00`;

/** The same hours on these days of each week, in a zone; an end before the begin is on the day after. */
export function weekly(days: readonly Day[], from: string, to: string, zone: string): string {
  const sorted = DAYS.filter((day) => days.includes(day));
  const first = DAYS.indexOf(sorted[0] ?? "MO"); // 5 January 2026 is a Monday
  const length = (minutes(to) - minutes(from) + LATE_MIN - 1) % LATE_MIN + 1;
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

/** Bytes in base64. */
export function base64(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}
