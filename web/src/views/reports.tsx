/** Reports: read as a table, taken as a file, kept to be run again or mailed whenever a calendar says so. */

import { useSignal } from "@preact/signals";

import { address, api, type Query } from "../core/api.ts";
import { dateAt, datesOf, interval, type Period, PERIODS } from "../core/days.ts";
import { devices, geofences, groups } from "../core/fleet.ts";
import { dateTime, distance, duration, speed } from "../core/format.ts";
import { zone } from "../core/preferences.ts";
import { may } from "../core/session.ts";
import type { Attributes } from "../core/types.ts";
import { t } from "../i18n/index.ts";
import { Icon } from "../ui/icon.tsx";
import { Button, Check, complain, Confirm, Dialog, Empty, Page, Remote, say, Select, TextField, useRemote } from "../ui/parts.tsx";
import { Grid } from "../ui/table.tsx";
import { eventName } from "./words.ts";

type Row = Record<string, unknown>;
type Column = readonly [word: "tracker" | "begin" | "end" | "time" | "distance" | "average" | "fastest" | "engine" | "trips" | "what" | "fence" | "driver" | "place", of: (row: Row) => string];

const text = (name: string) => (row: Row) => (row[name] === null || row[name] === undefined ? "" : String(row[name]));
const at = (name: string) => (row: Row) => (row[name] ? dateTime(String(row[name])) : "");
const long = (name: string) => (row: Row) => (typeof row[name] === "number" ? duration(Number(row[name])) : "");
const far = (row: Row) => distance(Number(row.distance));
const fast = (name: string) => (row: Row) => speed(Number(row[name]));
const tracker: Column = ["tracker", (row) => String(row.deviceName ?? devices.value.get(Number(row.deviceId))?.name ?? row.deviceId)];

const COLUMNS = {
  trips: [tracker, ["begin", at("startTime")], ["end", at("endTime")], ["time", long("duration")], ["distance", far],
    ["average", fast("averageSpeed")], ["fastest", fast("maxSpeed")], ["driver", text("driverName")]],
  stops: [tracker, ["begin", at("startTime")], ["end", at("endTime")], ["time", long("duration")], ["engine", long("engineHours")],
    ["place", (row) => String(row.address ?? `${Number(row.latitude).toFixed(5)} ${Number(row.longitude).toFixed(5)}`)]],
  summary: [tracker, ["begin", at("startTime")], ["distance", far], ["average", fast("averageSpeed")], ["fastest", fast("maxSpeed")],
    ["engine", long("engineHours")], ["trips", text("trips")]],
  events: [tracker, ["begin", at("eventTime")], ["what", (row) => eventName(String(row.type), row.attributes as Attributes)],
    ["fence", (row) => geofences.value.find((one) => one.id === row.geofenceId)?.name ?? ""]],
  geofences: [tracker, ["fence", text("geofenceName")], ["begin", at("startTime")], ["end", at("endTime")], ["time", long("duration")]],
} as const satisfies Record<string, readonly Column[]>;
type Kind = keyof typeof COLUMNS;
const KINDS = Object.keys(COLUMNS) as Kind[];

interface Saved {
  id: number;
  type: string;
  description: string;
  calendarId: number;
  attributes: { deviceIds?: number[]; groupIds?: number[]; daily?: boolean; format?: string };
}

const ROWS_MAX = 1_000; // in the table; a file has all

export default function Reports() {
  const kind = useSignal<Kind>("trips");
  const whom = useSignal("");
  const today = dateAt(Date.now(), zone.value);
  const period = useSignal<Period | "other">("last7");
  const from = useSignal(datesOf("last7", today)[0]);
  const to = useSignal(today);
  const daily = useSignal(false);
  const rows = useSignal<{ kind: Kind; list: readonly Row[] } | null>(null);
  const keeping = useSignal(false);
  const removing = useSignal<Saved | null>(null);
  const kept = useRemote(() => api.get<Saved[]>("/reports"), []);
  const calendars = useRemote(() => api.get<{ id: number; name: string }[]>("/calendars"), []);

  const query = (): Query => ({
    from: interval(from.value, zone.value).from,
    to: interval(to.value, zone.value).to,
    deviceId: whom.value.startsWith("d") ? whom.value.slice(1) : undefined,
    groupId: whom.value.startsWith("g") ? whom.value.slice(1) : undefined,
    type: kind.value === "events" ? "allEvents" : undefined,
    daily: kind.value === "summary" && daily.value ? true : undefined,
  });
  const run = async () => {
    const asked = kind.value;
    rows.value = null;
    rows.value = { kind: asked, list: await api.get<Row[]>(`/reports/${asked}`, query()) };
  };
  const open = async (saved: Saved) => {
    const { deviceIds = [], groupIds = [] } = saved.attributes;
    kind.value = saved.type as Kind;
    whom.value = deviceIds[0] ? `d${deviceIds[0]}` : groupIds[0] ? `g${groupIds[0]}` : "";
    daily.value = saved.attributes.daily ?? false;
    await run();
  };
  const trackers: [string, string][] = [
    ["", t("reports.allTrackers")],
    ...groups.value.map((one): [string, string] => [`g${one.id}`, `${t("field.group")}: ${one.name}`]),
    ...[...devices.value.values()].map((one): [string, string] => [`d${one.id}`, one.name]),
  ];
  const change = <T,>(part: { value: T }, value: T) => {
    part.value = value;
    rows.value = null;
  };
  const choose = (chosen: Period | "other") => {
    change(period, chosen);
    if (chosen !== "other") [from.value, to.value] = datesOf(chosen, today);
  };
  const setDay = (day: { value: string }, value: string) => {
    if (!value) return;
    change(day, value);
    period.value = "other";
  };
  const calendarName = (id: number) => calendars.value.value?.find((one) => one.id === id)?.name;
  return (
    <Page title={t("nav.reports")} about={t("reports.about")}>
      <section class="card stack" aria-label={t("reports.new")}>
        <div class="fields">
          <Select label={t("reports.kind")} value={kind.value} options={KINDS.map((one) => [one, t(`reports.kind.${one}`)] as const)} onChange={(value) => change(kind, value)} />
          <Select label={t("history.tracker")} value={whom.value} options={trackers} onChange={(value) => change(whom, value)} />
          <Select
            label={t("reports.period")}
            value={period.value}
            options={([...PERIODS, "other"] as const).map((one) => [one, t(`reports.period.${one}`)] as const)}
            onChange={choose}
          />
          <TextField label={t("reports.from")} type="date" required max={to.value} value={from.value} onInput={(value) => setDay(from, value)} />
          <TextField label={t("reports.to")} type="date" required min={from.value} value={to.value} onInput={(value) => setDay(to, value)} />
        </div>
        {kind.value === "summary" && (
          <Check checked={daily.value} onChange={(on) => change(daily, on)}>
            {t("reports.daily")}
          </Check>
        )}
        <div class="row wrap">
          <Button kind="primary" icon="operator" onClick={run}>
            {t("reports.run")}
          </Button>
          {(["xlsx", "csv"] as const).map((form) => (
            <a key={form} class="button" href={address(`/reports/${kind.value}/${form}`, query())} download={`${kind.value}.${form}`}>
              <Icon name="download" /> {form.toUpperCase()}
            </a>
          ))}
          {may("write") && (
            <Button icon="list" onClick={() => (keeping.value = true)}>
              {t("reports.keep")}
            </Button>
          )}
        </div>
      </section>
      {rows.value && <Rows kind={rows.value.kind} list={rows.value.list} />}
      <section class="card stack" aria-label={t("reports.kept")}>
        <h2>{t("reports.kept")}</h2>
        <Remote remote={kept}>
          {(list) =>
            list.length === 0 ? (
              <p class="muted">{t("reports.keptNone")}</p>
            ) : (
              <ul class="plain stack tight">
                {list.map((one) => (
                  <li key={one.id} class="row">
                    <span class="grow">
                      <strong>{one.description || one.type}</strong>{" "}
                      <span class="muted">
                        {one.type in COLUMNS ? t(`reports.kind.${one.type as Kind}`) : one.type}
                        {one.calendarId ? ` · ${calendarName(one.calendarId) ?? ""}` : ""}
                      </span>
                    </span>
                    {one.type in COLUMNS && (
                      <Button small icon="play" label={t("reports.runOne", { name: one.description })} onClick={() => open(one)} />
                    )}
                    {may("write") && (
                      <Button small kind="quiet" icon="trash" label={t("lists.remove", { name: one.description })} onClick={() => (removing.value = one)} />
                    )}
                  </li>
                ))}
              </ul>
            )
          }
        </Remote>
      </section>
      {keeping.value && (
        <Keep
          calendars={calendars.value.value ?? []}
          onClose={() => (keeping.value = false)}
          onKeep={async (description, calendarId, form) => {
            const attributes: Saved["attributes"] = { format: form };
            if (whom.value.startsWith("d")) attributes.deviceIds = [Number(whom.value.slice(1))];
            if (whom.value.startsWith("g")) attributes.groupIds = [Number(whom.value.slice(1))];
            if (kind.value === "summary" && daily.value) attributes.daily = true;
            await api.post("/reports", { type: kind.value, description, calendarId, attributes });
            keeping.value = false;
            say(t("action.saved"));
            await kept.reload();
          }}
        />
      )}
      {removing.value && (
        <Confirm
          title={t("lists.remove", { name: removing.value.description })}
          text={t("reports.removeText")}
          submit={t("action.delete")}
          onClose={() => (removing.value = null)}
          onConfirm={async () => {
            await api.remove(`/reports/${removing.value?.id}`);
            removing.value = null;
            await kept.reload().catch(complain);
          }}
        />
      )}
    </Page>
  );
}

function Rows({ kind, list }: { kind: Kind; list: readonly Row[] }) {
  const columns: readonly Column[] = COLUMNS[kind];
  if (list.length === 0) {
    return (
      <section class="card" role="status">
        <Empty icon="operator" title={t("reports.nothing")} />
      </section>
    );
  }
  return (
    <section class="card flush table-scroll" aria-label={t(`reports.kind.${kind}`)} tabIndex={0}>
      <Grid columns={columns.map(([word]) => t(`reports.column.${word}`))}>
        {list.slice(0, ROWS_MAX).map((row, number) => (
          <tr key={number}>
            {columns.map(([word, of]) => (
              <td key={word} class={word === "tracker" ? "strong nowrap" : "nowrap"}>
                {of(row)}
              </td>
            ))}
          </tr>
        ))}
      </Grid>
      {list.length > ROWS_MAX && <p class="muted small">{t("reports.more", { count: list.length - ROWS_MAX })}</p>}
    </section>
  );
}

function Keep({
  calendars,
  onClose,
  onKeep,
}: {
  calendars: readonly { id: number; name: string }[];
  onClose: () => void;
  onKeep: (description: string, calendarId: number, form: string) => Promise<unknown>;
}) {
  const name = useSignal("");
  const calendar = useSignal(0);
  const form = useSignal("xlsx");
  return (
    <Dialog title={t("reports.keep")} onClose={onClose} onSubmit={() => onKeep(name.value.trim(), calendar.value, form.value)}>
      <TextField label={t("field.name")} required autofocus maxLength={200} value={name.value} onInput={(value) => (name.value = value)} />
      <Select
        label={t("reports.calendar")}
        hint={t("reports.calendarHint")}
        value={calendar.value}
        options={[[0, t("field.none")], ...calendars.map((one) => [one.id, one.name] as const)]}
        onChange={(value) => (calendar.value = value)}
      />
      {calendar.value > 0 && (
        <Select label={t("reports.form")} value={form.value} options={[["xlsx", "XLSX"], ["csv", "CSV"]]} onChange={(value) => (form.value = value)} />
      )}
    </Dialog>
  );
}
