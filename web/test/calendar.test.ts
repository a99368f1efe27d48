import assert from "node:assert/strict";
import { test } from "node:test";

import { base64, weekly } from "../src/core/calendar.ts";

test("hours of a week begin on the first of its days", () => {
  const text = weekly(["FR", "TU"], "08:30", "18:00", "Europe/Madrid");
  assert.match(text, /DTSTART;TZID=Europe\/Madrid:20260106T083000\r\n/);
  assert.match(text, /DURATION:PT570M\r\n/);
  assert.match(text, /BYDAY=TU,FR\r\n/);
});

test("a night ends on the day after, and from a moment to itself is a whole day", () => {
  assert.match(weekly(["MO"], "22:00", "06:00", "UTC"), /DURATION:PT480M/);
  assert.match(weekly(["MO"], "00:00", "00:00", "UTC"), /DURATION:PT1440M/);
});

test("bytes in base64", () => {
  assert.equal(base64(new TextEncoder().encode("ключ")), Buffer.from("ключ").toString("base64"));
});
