/** The parts of the page that need no browser: days of a zone, fences as text, gliding, replay, messages. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { IntlMessageFormat } from "intl-messageformat";

import { ApiError, kindOf } from "../src/core/api.ts";
import { dateAt, datesOf, interval, shift, startOf } from "../src/core/days.ts";
import { added, countOf, linesOf, middlesOf, moved, removed } from "../src/core/points.ts";
import { motionFrom, statusFrom } from "../src/core/status.ts";
import { along, circleRing, format, metresBetween, parse } from "../src/core/wkt.ts";
import { en } from "../src/i18n/en.ts";
import { es } from "../src/i18n/es.ts";
import { ru } from "../src/i18n/ru.ts";
import { boundsOf, featuresOf, pointsOf } from "../src/map/layers.ts";
import { continued, spanOf, turned, unwrapped } from "../src/map/rings.ts";
import { isDone, next, shownAt } from "../src/map/glide.ts";
import { at, indexAt } from "../src/views/replay.ts";

const hours = (date: string, zone: string): number => {
  const { from, to } = interval(date, zone);
  return (Date.parse(to) + 1 - Date.parse(from)) / 3_600_000;
};

test("a day of a zone has the hours that it has there", () => {
  assert.equal(interval("2026-11-25", "UTC").from, "2026-11-25T00:00:00.000Z");
  assert.equal(interval("2026-11-25", "Europe/Madrid").from, "2026-11-24T23:00:00.000Z");
  assert.equal(hours("2026-11-25", "Europe/Madrid"), 24);
  assert.equal(hours("2026-03-29", "Europe/Madrid"), 23);
  assert.equal(hours("2026-10-25", "Europe/Madrid"), 25);
  assert.equal(interval("2026-07-01", "Asia/Kolkata").from, "2026-06-30T18:30:00.000Z");
});

test("where midnight does not exist the day begins at the first moment after it", () => {
  // Santiago goes from 2025-09-06 24:00 to 01:00
  const start = startOf("2025-09-07", "America/Santiago");
  assert.equal(new Date(start).toISOString(), "2025-09-07T04:00:00.000Z");
  assert.equal(dateAt(start, "America/Santiago"), "2025-09-07");
  assert.equal(dateAt(start - 1, "America/Santiago"), "2025-09-06");
  assert.equal(hours("2025-09-07", "America/Santiago"), 23);
});

test("dates go on across months and leap days", () => {
  assert.equal(shift("2024-02-28", 1), "2024-02-29");
  assert.equal(shift("2025-03-01", -1), "2025-02-28");
  assert.equal(shift("2026-12-31", 1), "2027-01-01");
});

test("a report's period is whole days, whatever the day is", () => {
  const thursday = "2026-11-26";
  assert.deepEqual(datesOf("last7", thursday), ["2026-11-20", thursday]);
  assert.deepEqual(datesOf("today", thursday), [thursday, thursday]);
  assert.deepEqual(datesOf("yesterday", "2026-03-01"), ["2026-02-28", "2026-02-28"]);
  assert.deepEqual(datesOf("thisWeek", thursday), ["2026-11-23", thursday]);
  assert.deepEqual(datesOf("thisWeek", "2026-11-29"), ["2026-11-23", "2026-11-29"]); // a Sunday ends its week
  assert.deepEqual(datesOf("lastWeek", "2026-11-23"), ["2026-11-16", "2026-11-22"]);
  assert.deepEqual(datesOf("thisMonth", thursday), ["2026-11-01", thursday]);
  assert.deepEqual(datesOf("lastMonth", "2024-03-31"), ["2024-02-01", "2024-02-29"]);
  assert.deepEqual(datesOf("lastMonth", "2027-01-01"), ["2026-12-01", "2026-12-31"]);
});

test("every shape is read as it was written, latitude first", () => {
  for (const text of [
    "CIRCLE (40.4168 -3.7038, 500)",
    "POLYGON ((40.45 -3.72, 40.46 -3.66, 40.42 -3.65, 40.45 -3.72))",
    "POLYGON ((0 0, 0 9, 9 9, 0 0), (2 3, 2 4, 3 4, 2 3))",
    "LINESTRING (40.44 -3.66, 40.46 -3.58)",
    "MULTIPOLYGON (((0 0, 0 1, 1 1, 0 0)), ((5 5, 5 6, 6 6, 5 5)))",
    "MULTILINESTRING ((0 0, 1 1), (2 2, 3 3))",
  ]) {
    assert.equal(format(parse(text)), text);
  }
  const circle = parse("CIRCLE (40.4168 -3.7038, 500)");
  assert.deepEqual(circle, { kind: "circle", centre: [-3.7038, 40.4168], radius: 500 });
});

test("what is no shape is refused with the text that is wrong", () => {
  assert.throws(() => parse("a field behind the house"), /not WKT/);
  assert.throws(() => parse("POINT (1 2)"), /not drawn here: POINT/);
  assert.throws(() => parse("LINESTRING (1 2, here)"), /not a pair of coordinates: here/);
});

test("a circle's ring lies at its radius, near the pole too", () => {
  for (const centre of [[-3.7, 40.4], [25, 70], [179.99, -60]] as const) {
    for (const point of circleRing([...centre], 1500)) {
      assert.ok(Math.abs(metresBetween([...centre], point) - 1500) < 0.01);
    }
  }
  const [longitude, latitude] = along([0, 0], 90, 111_195);
  assert.ok(Math.abs(longitude - 1) < 1e-4 && Math.abs(latitude) < 1e-9);
});

test("a tracker glides to where it is, never back, and never jumps", () => {
  const first = next(undefined, { longitude: 10, latitude: 50, course: 350 }, 0, false);
  assert.deepEqual(shownAt(first, 0), first.to);
  const second = next(first, { longitude: 10.01, latitude: 50.005, course: 10 }, 1000, false);
  assert.equal(second.lasts, 1000);
  let before = shownAt(second, 1000).longitude;
  for (let now = 1050; now <= 2000; now += 50) {
    const shown = shownAt(second, now);
    assert.ok(shown.longitude >= before && shown.longitude - before < 0.0012);
    assert.ok(shown.course >= 350 || shown.course <= 10.001, "it turns the short way");
    before = shown.longitude;
  }
  assert.deepEqual(shownAt(second, 2000), second.to);
  assert.ok(isDone(second, 2000));
  const third = next(second, { longitude: 10.02, latitude: 50.01, course: 10 }, 1500, false);
  assert.deepEqual(third.from, shownAt(second, 1500), "it goes on from where it was drawn");
});

test("gliding crosses 180° the short way, and is left out where it would lie or is not wanted", () => {
  const east = next(undefined, { longitude: 179.99, latitude: 0, course: 90 }, 0, false);
  const over = next(east, { longitude: -179.99, latitude: 0, course: 90 }, 1000, false);
  assert.ok(Math.abs(shownAt(over, 1500).longitude) > 179.9);
  const far = next(east, { longitude: 20, latitude: 40, course: 0 }, 1000, false);
  assert.equal(far.lasts, 0);
  assert.equal(next(east, { longitude: 179.98, latitude: 0, course: 0 }, 1000, true).lasts, 0);
});

test("a ring across 180° runs on, and one around the pole closes along it", () => {
  assert.deepEqual(unwrapped([[170, 60], [179, 61], [-179, 62], [170, 60]]).map(([east]) => east), [170, 179, 181, 170]);
  assert.deepEqual(unwrapped([[-170, 60], [170, 61], [-170, 60]]).map(([east]) => east), [-170, -190, -170]);
  const plain = [[0, 0], [1, 0], [1, 1], [0, 0]];
  assert.deepEqual(unwrapped(plain), plain);
  const around = unwrapped([[-180, -80], [-60, -75], [60, -75], [180, -80], [-180, -80]]);
  assert.deepEqual(around.at(-1), around[0]);
  assert.deepEqual(around.slice(-3, -1), [[180, -90], [-180, -90]]);
});

test("a way across 180° runs on and does not go around the earth", () => {
  const way = [[179, 1], [-179, 2], [-178, 3], [179, 4]];
  assert.deepEqual(continued(way), [[179, 1], [181, 2], [182, 3], [179, 4]]);
  assert.deepEqual(continued([]), []);
  assert.equal(turned(-179, 181), 181);
  assert.equal(turned(179, -179), -181);
  assert.equal(turned(10, 20), 10);
});

test("what lies on both sides of 180° is fitted by the smaller box", () => {
  const box = (...places: [number, number][]) => boundsOf([pointsOf(places.map(([longitude, latitude]) => ({ longitude, latitude })))]);
  assert.deepEqual(box([178.4, -18.1], [-178.2, -17]), [[178.4, -18.1], [181.8, -17]]);
  assert.deepEqual(box([-3.7, 40.4], [2.2, 41.4], [-9.1, 38.7]), [[-9.1, 38.7], [2.2, 41.4]]);
  assert.deepEqual(box([-120, 0], [130, 0]), [[130, 0], [240, 0]], "from Japan to California over the Pacific");
  assert.deepEqual(box([12.3456789, 1]), [[12.3456789, 1], [12.3456789, 1]], "exactly");
  assert.deepEqual(box([180, 1], [-180, 2]), [[180, 1], [180, 2]], "the same meridian");
  assert.equal(box(), null);
});

test("a span holds each line from end to end, and all around is the whole world", () => {
  assert.deepEqual(spanOf([[-170, 170]]), [-170, 170], "a line over Greenwich is not the gap at its ends");
  assert.deepEqual(spanOf([[170, 190], [-175, -160]]), [170, 200]);
  assert.deepEqual(spanOf([[-200, -190]]), [160, 170]);
  assert.deepEqual(spanOf([[-180, 0], [0, 180]]), [-180, 180]);
  assert.deepEqual(spanOf([[-170, 190]]), [-180, 180]);
});

test("a fence across 180° is drawn and fitted where it lies, with its holes", () => {
  const fence = (area: string) => featuresOf({ id: 1, name: "Fiji", description: "", area, calendarId: 0, attributes: {} });
  const [area, name] = fence("POLYGON ((-16 179, -16 -179, -18 -179, -18 179, -16 179), (-17 -179.5, -17 -179.2, -17.2 -179.2, -17 -179.5))");
  assert.deepEqual(area!.geometry.type === "Polygon" && area!.geometry.coordinates.map((ring) => ring[0]), [[179, -16], [180.5, -17]]);
  assert.deepEqual(boundsOf([area!]), [[179, -18], [181, -16]]);
  assert.deepEqual(name!.geometry.type === "Point" && name!.geometry.coordinates, [180, -16]);
  assert.deepEqual(boundsOf(fence("LINESTRING (-16 179, -17 -179)").slice(0, 1)), [[179, -17], [181, -16]]);
});

test("a replay stands between the fixes before and after the moment", () => {
  const fix = (seconds: number, longitude: number) => ({
    fixTime: new Date(seconds * 1000).toISOString(),
    latitude: 1,
    longitude,
  });
  const fixes = [fix(0, 10), fix(10, 20), fix(20, 20)];
  assert.equal(indexAt(fixes, -1), -1);
  assert.equal(indexAt(fixes, 10_000), 1);
  assert.equal(at(fixes, 5_000)?.longitude, 15);
  assert.equal(at(fixes, -5_000)?.longitude, 10);
  assert.equal(at(fixes, 99_000)?.longitude, 20);
  assert.equal(at([], 0), null);
});

test("every message of every language can be said, with the same values as in English", () => {
  const names = (text: string) => new Set([...text.matchAll(/\{(\w+)[,}]/g)].map((found) => found[1]!));
  for (const [language, messages] of Object.entries({ en, es, ru })) {
    assert.deepEqual(Object.keys(messages), Object.keys(en), language);
    for (const [key, text] of Object.entries(messages)) {
      const wanted = names(en[key as keyof typeof en]);
      assert.deepEqual(names(text), wanted, `${language} ${key}`);
      for (const count of [0, 1, 3, 5, 21]) {
        const said = new IntlMessageFormat(text, language).format(
          Object.fromEntries([...wanted].map((name) => [name, count])),
        );
        assert.ok(String(said).trim() && !String(said).includes("{"), `${language} ${key}: ${said}`);
      }
    }
  }
});

test("a fence's points are moved, added and taken away; a ring stays closed", () => {
  const square = parse("POLYGON ((0 0, 0 2, 2 2, 2 0, 0 0))");
  assert.equal(countOf(square), 4);
  assert.deepEqual(middlesOf(square).map(({ point }) => point), [[1, 0], [2, 1], [1, 2], [0, 1]]);
  assert.equal(format(moved(square, { line: 0, at: 0 }, [-1, -1])), "POLYGON ((-1 -1, 0 2, 2 2, 2 0, -1 -1))");
  assert.equal(format(added(square, { line: 0, at: 3 }, [-1, 1])), "POLYGON ((0 0, 0 2, 2 2, 2 0, 1 -1, 0 0))");
  const three = removed(square, { line: 0, at: 0 })!;
  assert.equal(format(three), "POLYGON ((0 2, 2 2, 2 0, 0 2))");
  assert.equal(removed(three, { line: 0, at: 0 }), null);
});

test("of several areas and lines each keeps its own points", () => {
  const areas = parse("MULTIPOLYGON (((0 0, 0 1, 1 1, 0 0)), ((5 5, 5 9, 9 9, 5 5), (6 7, 6 8, 7 8, 6 7)))");
  assert.deepEqual(linesOf(areas).map(({ points }) => points.length), [3, 3, 3]);
  const text = "MULTIPOLYGON (((0 0, 0 1, 1 1, 0 0)), ((5 5, 5 9, 9 9, 5 5), (6 7, 6 8, 7.5 8, 6 7)))";
  assert.equal(format(moved(areas, { line: 2, at: 2 }, [8, 7.5])), text);
  const way = parse("LINESTRING (0 0, 1 1)");
  assert.equal(middlesOf(way).length, 1);
  assert.equal(removed(way, { line: 0, at: 0 }), null);
  assert.equal(format(added(way, { line: 0, at: 0 }, [3, 2])), "LINESTRING (0 0, 2 3, 1 1)");
});

test("a circle is moved by its centre and sized by its edge", () => {
  const circle = parse("CIRCLE (40 -3, 100)");
  assert.equal(format(moved(circle, { line: 0, at: 0 }, [-3, 41])), "CIRCLE (41 -3, 100)");
  assert.equal(format(moved(circle, { line: 0, at: 1 }, along([-3, 40], 10, 250))), "CIRCLE (40 -3, 250)");
  assert.equal(format(moved(circle, { line: 0, at: 1 }, [-3, 40])), "CIRCLE (40 -3, 1)");
  assert.equal(removed(circle, { line: 0, at: 1 }), null);
});

test("what is said of a tracker never contradicts itself", () => {
  const at = (speed: number, motion?: boolean) => ({ speed, attributes: { motion } });
  const said = (...given: Parameters<typeof statusFrom>) => {
    const { motion, word, knots } = statusFrom(...given);
    return [motion, word, knots];
  };
  assert.deepEqual(said("online", at(30, false)), ["moving", "moving", 30], "the first fix, at speed");
  assert.deepEqual(said("online", at(30, true)), ["moving", "moving", 30]);
  assert.deepEqual(said("online", at(0, true)), ["moving", "onTheWay", 0], "at a traffic light, or it tells no speed");
  assert.deepEqual(said("online", at(2, false)), ["idle", "idle", 0], "a receiver's noise");
  assert.deepEqual(said("online", at(2)), ["idle", "idle", 0]);
  assert.deepEqual(said("online", undefined), ["idle", "connected", null]);
  assert.deepEqual(said("offline", at(30, true)), ["offline", "offline", null], "what it did then is not what it does");
  assert.deepEqual(said("offline", undefined), ["unknown", "unknown", null]);
  assert.deepEqual(said("unknown", at(30, true)), ["unknown", "unknown", null]);
  for (const contact of ["online", "offline", "unknown"] as const) {
    for (const place of [undefined, at(0), at(2, false), at(2, true), at(30, false), at(30, true)]) {
      const status = statusFrom(contact, place);
      assert.equal(status.motion, motionFrom(contact, place), "the map's colour is the list's");
      assert.equal(Number(status.knots) >= 1 && status.word !== "moving", false, `${status.knots} knots, ${status.word}`);
    }
  }
});

test("a refusal is of a kind that the page has words for, in each language", () => {
  const kinds = [0, 403, 409, 413, 429, 500, 502, 503, 504].map((status) => kindOf(new ApiError(status, "")));
  assert.deepEqual(kinds, ["network", "forbidden", null, "tooLarge", "tooMany", null, "notReady", "notReady", "notReady"]);
  assert.equal(kindOf(new ApiError(409, "the account has 5 fences", { reason: "limit" })), "limit");
  assert.equal(new IntlMessageFormat(en["trackers.waitingFixes"], "en").format({ count: 20_000, plus: "+" }), "20,000+ positions");
  assert.equal(new IntlMessageFormat(ru["error.tooMany"], "ru").format({ minutes: 3 }), "Слишком много попыток. Попробуйте снова через 3 минуты.");
});
