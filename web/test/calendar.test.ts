import assert from "node:assert/strict";
import { test } from "node:test";

import { base64, textOf, type Week, weekBase64, weekly, weekOf } from "../src/core/calendar.ts";

const OFFICE: Week = { days: ["TU", "FR"], from: "08:30", to: "18:00", zone: "Europe/Madrid" };

test("hours of a week begin on the first of its days", () => {
  const text = weekly({ ...OFFICE, days: ["FR", "TU"] });
  assert.match(text, /DTSTART;TZID=Europe\/Madrid:20260106T083000\r\n/);
  assert.match(text, /DURATION:PT570M\r\n/);
  assert.match(text, /BYDAY=TU,FR\r\n/);
});

test("a night ends on the day after, and from a moment to itself is a whole day", () => {
  const monday: Week = { days: ["MO"], from: "22:00", to: "06:00", zone: "UTC" };
  assert.match(weekly(monday), /DURATION:PT480M/);
  assert.match(weekly({ ...monday, from: "00:00", to: "00:00" }), /DURATION:PT1440M/);
});

test("what was written is read again: days, hours, the night and the zone", () => {
  const night: Week = { days: ["SA", "SU"], from: "22:15", to: "06:05", zone: "America/New_York" };
  const whole: Week = { days: ["MO"], from: "00:00", to: "00:00", zone: "UTC" };
  for (const week of [OFFICE, night, whole]) assert.deepEqual(weekOf(textOf(weekBase64(week))), week);
});

test("an iCalendar that says more, or comes from elsewhere, is not taken for hours of a week", () => {
  const text = weekly(OFFICE);
  const holiday = "BEGIN:VEVENT\r\nUID:x\r\nDTSTART:20260101\r\nEND:VEVENT\r\n";
  assert.equal(weekOf(text.replace("END:VCALENDAR", `${holiday}END:VCALENDAR`)), null);
  assert.equal(weekOf(text.replace("BYDAY=TU,FR", "BYDAY=TU,FR;UNTIL=20270101T000000Z")), null);
  assert.equal(weekOf(text.replace("BYDAY=TU,FR", "BYDAY=TU,FR\r\nEXDATE:20260109T083000")), null);
  assert.equal(weekOf("BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n"), null);
});

test("bytes in base64", () => {
  assert.equal(base64(new TextEncoder().encode("ключ")), Buffer.from("ключ").toString("base64"));
  assert.equal(textOf(Buffer.from("ключ").toString("base64")), "ключ");
});
