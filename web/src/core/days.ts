/** Days of a time zone as intervals of instants. */

/** How far a zone is ahead of UTC at an instant, in milliseconds. */
export function offsetAt(instant: number, zone: string): number {
  const parts = new Intl.DateTimeFormat("en-US", {
    timeZone: zone,
    hourCycle: "h23",
    year: "numeric",
    month: "numeric",
    day: "numeric",
    hour: "numeric",
    minute: "numeric",
    second: "numeric",
  }).formatToParts(instant);
  const of = (type: string) => Number(parts.find((part) => part.type === type)?.value ?? 0);
  const wall = Date.UTC(of("year"), of("month") - 1, of("day"), of("hour"), of("minute"), of("second"));
  return wall - Math.trunc(instant / 1000) * 1000;
}

/** The instant at which a date (2026-11-25) begins in a zone; where its midnight does not exist, the first moment after. */
export function startOf(date: string, zone: string): number {
  const wall = Date.parse(`${date}T00:00:00Z`);
  const first = wall - offsetAt(wall, zone);
  const second = wall - offsetAt(first, zone);
  if (dateAt(second, zone) >= date) return second;
  return Math.max(first, second);
}

/** The date of an instant in a zone, as 2026-11-25. */
export function dateAt(instant: number, zone: string): string {
  return new Date(instant + offsetAt(instant, zone)).toISOString().slice(0, 10);
}

export function shift(date: string, days: number): string {
  return new Date(Date.parse(`${date}T00:00:00Z`) + days * 86_400_000).toISOString().slice(0, 10);
}

/** From the date's first instant to its last millisecond. */
export function interval(date: string, zone: string): { from: string; to: string } {
  return {
    from: new Date(startOf(date, zone)).toISOString(),
    to: new Date(startOf(shift(date, 1), zone) - 1).toISOString(),
  };
}

export const PERIODS = ["last7", "today", "yesterday", "thisWeek", "lastWeek", "thisMonth", "lastMonth"] as const;
export type Period = (typeof PERIODS)[number];

/** The first and the last date of a period, seen from a date. A week begins on Monday. */
export function datesOf(period: Period, today: string): [from: string, to: string] {
  const monday = shift(today, -((new Date(`${today}T00:00:00Z`).getUTCDay() + 6) % 7));
  const first = `${today.slice(0, 8)}01`;
  const lastOfBefore = shift(first, -1);
  switch (period) {
    case "last7":
      return [shift(today, -6), today];
    case "today":
      return [today, today];
    case "yesterday":
      return [shift(today, -1), shift(today, -1)];
    case "thisWeek":
      return [monday, today];
    case "lastWeek":
      return [shift(monday, -7), shift(monday, -1)];
    case "thisMonth":
      return [first, today];
    case "lastMonth":
      return [`${lastOfBefore.slice(0, 8)}01`, lastOfBefore];
  }
}
