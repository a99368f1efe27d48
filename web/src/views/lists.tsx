/** What an account keeps beside its trackers: groups, drivers, maintenance plans, calendars. */

import { type Signal, useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";

import { api } from "../core/api.ts";
import { base64, DAYS, textOf, type Week, weekBase64, weekOf } from "../core/calendar.ts";
import { devices, groups } from "../core/fleet.ts";
import { distance, number } from "../core/format.ts";
import { zone } from "../core/preferences.ts";
import { place } from "../core/router.ts";
import { may } from "../core/session.ts";
import type { Group } from "../core/types.ts";
import { t } from "../i18n/index.ts";
import { Button, Checks, Confirm, Dialog, Empty, Page, Remote, say, Select, Tabs, TextField, useRemote } from "../ui/parts.tsx";

const TABS = ["groups", "drivers", "maintenance", "calendars"] as const;
type Tab = (typeof TABS)[number];

interface Kept {
  id: number;
  name: string;
  groupId?: number;
  uniqueId?: string;
  type?: string;
  start?: number;
  period?: number;
  data?: string;
  attributes?: Record<string, unknown>;
}

/** A plan counts in its own unit, people in kilometres and hours. */
const PLANS = { totalDistance: 1_000, hours: 3_600_000 } as const;
type Plan = keyof typeof PLANS;
const perUnit = (type: string | undefined): number => PLANS[type as Plan] ?? 1;

export default function Lists() {
  const asked = place.value.query.get("tab") as Tab | null;
  const tab: Tab = asked && TABS.includes(asked) ? asked : "groups";
  return (
    <Page title={t("nav.lists")} about={t("lists.about")}>
      <Tabs path="/lists" tabs={TABS.map((one) => [one, t(`lists.${one}`)] as const)} />
      <List key={tab} tab={tab} />
    </Page>
  );
}

function List({ tab }: { tab: Tab }) {
  const rows = useRemote(() => api.get<Kept[]>(`/${tab}`), [tab]);
  const editing = useSignal<Kept | null>(null);
  const removing = useSignal<Kept | null>(null);
  const reload = async () => {
    await rows.reload();
    if (tab === "groups") groups.value = await api.get<Group[]>("/groups");
  };
  return (
    <Remote remote={rows}>
      {(list) => (
        <section class="card stack" aria-label={t(`lists.${tab}`)}>
          <div class="row wrap">
            <p class="grow muted">{t(`lists.${tab}About`)}</p>
            {may("write") && (
              <Button kind="primary" icon="plus" onClick={() => (editing.value = { id: 0, name: "" })}>
                {t(`lists.${tab}Add`)}
              </Button>
            )}
          </div>
          {list.length === 0 ? (
            <Empty icon="list" title={t("lists.none")} />
          ) : (
            <ul class="plain stack tight">
              {list.map((row) => (
                <li key={row.id} class="row">
                  <span class="grow">
                    <strong>{row.name}</strong> <span class="muted">{detail(tab, row)}</span>
                  </span>
                  {may("write") && (
                    <>
                      <Button small kind="quiet" icon="edit" label={t("lists.edit", { name: row.name })} onClick={() => (editing.value = row)} />
                      <Button small kind="quiet" icon="trash" label={t("lists.remove", { name: row.name })} onClick={() => (removing.value = row)} />
                    </>
                  )}
                </li>
              ))}
            </ul>
          )}
          {editing.value && (
            <Edit
              tab={tab}
              row={editing.value}
              others={list}
              onClose={() => (editing.value = null)}
              onDone={async () => {
                editing.value = null;
                say(t("action.saved"));
                await reload();
              }}
            />
          )}
          {removing.value && (
            <Confirm
              title={t("lists.remove", { name: removing.value.name })}
              text={t("lists.removeText")}
              submit={t("action.delete")}
              onClose={() => (removing.value = null)}
              onConfirm={async () => {
                await api.remove(`/${tab}/${removing.value?.id}`);
                removing.value = null;
                await reload();
              }}
            />
          )}
        </section>
      )}
    </Remote>
  );
}

function detail(tab: Tab, row: Kept): string {
  switch (tab) {
    case "groups": {
      const inside = [...devices.value.values()].filter((device) => device.groupId === row.id).length;
      return t("lists.trackers", { count: inside });
    }
    case "drivers":
      return row.uniqueId ?? "";
    case "maintenance": {
      const period = row.period ?? 0;
      const unit = row.type === "hours" ? t("unit.hours") : (row.type ?? "");
      return t("lists.every", {
        period: row.type === "totalDistance" ? distance(period) : `${number(period / perUnit(row.type))} ${unit}`,
      });
    }
    case "calendars":
      return "";
  }
}

function Edit({
  tab,
  row,
  others,
  onClose,
  onDone,
}: {
  tab: Tab;
  row: Kept;
  others: readonly Kept[];
  onClose: () => void;
  onDone: () => Promise<unknown>;
}) {
  const name = useSignal(row.name);
  const more = useSignal<Partial<Kept>>({});
  const parts: Record<Tab, () => ComponentChildren> = {
    groups: () => <InGroup row={row} others={others} onChange={(found) => (more.value = found)} />,
    drivers: () => <Key row={row} onChange={(found) => (more.value = found)} />,
    maintenance: () => <Due row={row} onChange={(found) => (more.value = found)} />,
    calendars: () => <Hours row={row} onChange={(found) => (more.value = found)} />,
  };
  const submit = async () => {
    const value = { ...DEFAULTS[tab](), ...row, ...more.value, name: name.value.trim() };
    if (row.id) await api.put(`/${tab}/${row.id}`, value);
    else await api.post(`/${tab}`, value);
    await onDone();
  };
  return (
    <Dialog title={row.id ? t("lists.edit", { name: row.name }) : t(`lists.${tab}Add`)} onClose={onClose} onSubmit={submit}>
      <TextField label={t("field.name")} required autofocus maxLength={200} value={name.value} onInput={(value) => (name.value = value)} />
      {parts[tab]()}
    </Dialog>
  );
}

/** What a new one has where nothing was touched. */
const DEFAULTS: Record<Tab, () => Partial<Kept>> = {
  groups: () => ({ groupId: 0 }),
  drivers: () => ({}),
  maintenance: () => ({ type: "totalDistance", start: 0, period: 15_000 * PLANS.totalDistance }),
  calendars: () => ({ data: weekBase64(workdays()) }),
};

type Part = { onChange: (found: Partial<Kept>) => void };

function InGroup({ row, others, onChange }: Part & { row: Kept; others: readonly Kept[] }) {
  const inside = useSignal(row.groupId ?? 0);
  return (
    <Select
      label={t("lists.inGroup")}
      value={inside.value}
      options={[[0, t("field.none")], ...others.filter((one) => one.id !== row.id).map((one) => [one.id, one.name] as const)]}
      onChange={(groupId) => onChange({ groupId: (inside.value = groupId) })}
    />
  );
}

function Key({ row, onChange }: Part & { row: Kept }) {
  const key = useSignal(row.uniqueId ?? "");
  return (
    <TextField
      label={t("lists.key")}
      hint={t("lists.keyHint")}
      required
      maxLength={200}
      value={key.value}
      onInput={(uniqueId) => onChange({ uniqueId: (key.value = uniqueId) })}
    />
  );
}

function Due({ row, onChange }: Part & { row: Kept }) {
  const type = useSignal<Plan>(row.type === "hours" ? "hours" : "totalDistance");
  const start = useSignal(String((row.start ?? 0) / perUnit(row.type)));
  const period = useSignal(String(row.period ? row.period / perUnit(row.type) : 15_000));
  const write = <T,>(part: Signal<T>, value: T) => {
    part.value = value;
    const unit = PLANS[type.value];
    onChange({ type: type.value, start: Number(start.value) * unit, period: Number(period.value) * unit });
  };
  const number = { type: "number", step: "any" } as const;
  return (
    <div class="fields">
      <Select
        label={t("lists.counts")}
        value={type.value}
        options={(Object.keys(PLANS) as Plan[]).map((one) => [one, t(`lists.by.${one}`)] as const)}
        onChange={(value) => write(type, value)}
      />
      <TextField {...number} label={t("lists.start")} min={0} value={start.value} onInput={(value) => write(start, value)} />
      <TextField {...number} label={t("lists.period")} min={1} required value={period.value} onInput={(value) => write(period, value)} />
    </div>
  );
}

const workdays = (): Week => ({ days: ["MO", "TU", "WE", "TH", "FR"], from: "08:00", to: "18:00", zone: zone.value });

/** Hours of a week where the calendar says such hours; any other is kept as it is until somebody wants another. */
function Hours({ row, onChange }: Part & { row: Kept }) {
  const held = row.data === undefined ? workdays() : weekOf(textOf(row.data));
  const week = useSignal<Week | null>(held);
  const write = (found: Week) => {
    week.value = found;
    onChange({ data: weekBase64(found) });
  };
  return (
    <>
      {week.value === null ? (
        <div class="notice">
          <span class="grow">{t("lists.asItIs")}</span>
          <Button small onClick={() => write(workdays())}>
            {t("lists.hoursInstead")}
          </Button>
        </div>
      ) : (
        <WeekFields week={week.value} onChange={write} />
      )}
      <label class="field">
        <span class="label">{t("lists.file")}</span>
        <input
          class="input"
          type="file"
          accept=".ics,text/calendar"
          onChange={async (event) => {
            const file = event.currentTarget.files?.[0];
            if (!file) return;
            week.value = null;
            onChange({ data: base64(new Uint8Array(await file.arrayBuffer())) });
          }}
        />
      </label>
    </>
  );
}

function WeekFields({ week, onChange }: { week: Week; onChange: (week: Week) => void }) {
  const monday = Date.UTC(2026, 0, 5);
  const dayName = (at: number) => new Date(monday + at * 86_400_000).toLocaleDateString(document.documentElement.lang || undefined, { weekday: "short", timeZone: "UTC" });
  return (
    <>
      <Checks
        label={t("lists.days")}
        options={DAYS.map((one, at) => [one, dayName(at)] as const)}
        chosen={week.days}
        onChange={(days) => days.length > 0 && onChange({ ...week, days })}
      />
      <div class="fields">
        <TextField label={t("lists.from")} type="time" required value={week.from} onInput={(from) => from && onChange({ ...week, from })} />
        <TextField label={t("lists.to")} type="time" required value={week.to} onInput={(to) => to && onChange({ ...week, to })} />
      </div>
      <p class="muted small">{t("lists.zone", { zone: week.zone })}</p>
    </>
  );
}
