/** Every tracker one manages: what each costs, why one is hidden, and what is to be done about it. */

import { useSignal, useSignalEffect } from "@preact/signals";
import { useEffect } from "preact/hooks";

import { api, ApiError } from "../core/api.ts";
import { devices, groups, onPosition, refreshDevices } from "../core/fleet.ts";
import { ago, dateTime, money } from "../core/format.ts";
import { go, place } from "../core/router.ts";
import { may, operator, user } from "../core/session.ts";
import type { Account, Device, Managed, Unknown } from "../core/types.ts";
import { t } from "../i18n/index.ts";
import { BlockedMark, Icon } from "../ui/icon.tsx";
import {
  Button,
  Check,
  Confirm,
  Dialog,
  Page,
  Remote,
  say,
  Search,
  Select,
  Spinner,
  TextField,
  useRemote,
} from "../ui/parts.tsx";
import { Grid, Nothing } from "../ui/table.tsx";
import { CommandDialog } from "./command.tsx";
import { LinkChecks, useLinks } from "./links.tsx";
import { PayDialog } from "./pay.tsx";
import { reasonName, stateName } from "./words.ts";

const CATEGORIES = ["car", "van", "truck", "bus", "motorcycle", "bicycle", "person", "boat"] as const;
const byName = new Intl.Collator(undefined, { numeric: true });
const HELD = "hold";
const PAUSED = new Set(["suspension", "suspended"]);
const REFRESH_MS = 20_000; // knocking devices and waiting fixes are counted on the server, and not pushed

/** A tracker that is not shown says why. */
const isHidden = (row: Managed): boolean => row.reason !== null;

type Open =
  | { kind: "add"; uniqueId?: string }
  | { kind: "edit"; row: Managed }
  | { kind: "pay"; row: Managed; due: string | null }
  | { kind: "hold"; row: Managed }
  | { kind: "suspend"; row: Managed }
  | { kind: "command"; row: Managed }
  | { kind: "remove"; row: Managed };

export default function Trackers() {
  const open = useSignal<Open | null>(place.value.query.get("add") ? { kind: "add" } : null);
  const query = useSignal("");
  const onlyBlocked = useSignal(false);
  const rows = useRemote(() => api.get<Managed[]>("/management"), []);
  const reload = () => Promise.all([rows.reload(), refreshDevices()]);
  useEffect(() => {
    const timer = setInterval(rows.reload, REFRESH_MS);
    return () => clearInterval(timer);
  }, []);
  // a block or its end is heard on the socket: the device's own row tells the rest
  const marks = useSignal("");
  useSignalEffect(() => {
    const now = [...devices.value.values()].map((device) => `${device.id}:${JSON.stringify(device.attributes.block ?? 0)}`).join();
    if (marks.peek() && marks.peek() !== now) void rows.reload();
    marks.value = now;
  });
  useEffect(() => {
    if (place.value.query.get("add")) open.value = { kind: "add" };
  }, [place.value]);
  const close = () => {
    open.value = null;
    if (place.value.query.get("add")) go("/trackers", {}, true);
  };
  const done = async () => {
    close();
    await reload();
  };
  const it = open.value;
  return (
    <Page
      title={t("nav.trackers")}
      about={t("trackers.about")}
      actions={
        may("devices") && (
          <Button kind="primary" icon="plus" onClick={() => (open.value = { kind: "add" })}>
            {t("trackers.add")}
          </Button>
        )
      }
    >
      {operator.value && <Knocking onAdded={reload} />}
      <Remote remote={rows}>
        {(list) => {
          const blocked = list.filter(isHidden);
          const words = query.value.trim().toLocaleLowerCase();
          const shown = (onlyBlocked.value ? blocked : list)
            .filter((row) => `${row.name} ${row.uniqueId}`.toLocaleLowerCase().includes(words))
            .sort((a, b) => Number(isHidden(b)) - Number(isHidden(a)) || byName.compare(a.name, b.name));
          if (list.length === 0) {
            return (
              <Nothing icon="antenna" title={t("live.none")}>
                <p>{t("trackers.noneHint")}</p>
              </Nothing>
            );
          }
          return (
            <>
              {blocked.length > 0 && <BlockedSummary rows={blocked} onDone={reload} />}
              <div class="card flush">
                <header>
                  <Search wide label={t("live.search")} text={query} />
                  {blocked.length > 0 && (
                    <Check checked={onlyBlocked.value} onChange={(on) => (onlyBlocked.value = on)}>
                      {t("trackers.onlyBlocked", { count: blocked.length })}
                    </Check>
                  )}
                </header>
                <div class="table-scroll">
                  <Grid
                    cards
                    columns={[
                      t("trackers.tracker"),
                      t("trackers.state"),
                      { label: t("trackers.due"), class: "right" },
                      { label: t("trackers.waiting"), class: "right" },
                      t("live.lastContact"),
                      { label: t("trackers.actions"), silent: true },
                    ]}
                  >
                    {shown.map((row) => (
                      <Row key={row.deviceId} row={row} onOpen={(next) => (open.value = next)} onDone={reload} />
                    ))}
                  </Grid>
                </div>
              </div>
            </>
          );
        }}
      </Remote>
      {it?.kind === "add" && <Add uniqueId={it.uniqueId} onClose={close} onAdded={reload} />}
      {it?.kind === "edit" && <Edit row={it.row} onClose={close} onDone={done} />}
      {it?.kind === "pay" && (
        <PayDialog
          title={t("trackers.payTitle", { name: it.row.name })}
          amount={it.row.unlock ?? it.due ?? it.row.due ?? ""}
          currency={it.row.currency}
          accountId={it.row.accountId}
          onClose={close}
          onDone={done}
        />
      )}
      {it?.kind === "command" && <CommandDialog deviceId={it.row.deviceId} name={it.row.name} onClose={close} />}
      {it?.kind === "hold" && <Hold row={it.row} onClose={close} onDone={done} />}
      {it?.kind === "suspend" && <Suspend row={it.row} onClose={close} onDone={done} />}
      {it?.kind === "remove" && (
        <Confirm
          title={t("trackers.remove")}
          text={t("trackers.removeText", { name: it.row.name })}
          submit={t("action.delete")}
          onClose={close}
          onConfirm={async () => {
            await api.remove(`/devices/${it.row.deviceId}`);
            await done();
          }}
        />
      )}
    </Page>
  );
}

/** What all the blocked ones together need. */
function BlockedSummary({ rows, onDone }: { rows: readonly Managed[]; onDone: () => Promise<unknown> }) {
  const paying = useSignal(false);
  const waiting = rows.reduce((sum, row) => sum + row.waiting, 0);
  // what all need is told for each account: the operator, who sees many, pays tracker by tracker
  const first = operator.value ? undefined : rows.find((row) => Number(row.unlockAll ?? 0) > 0);
  return (
    <div class="notice warn" role="status">
      <BlockedMark label={t("trackers.blocked")} />
      <div class="grow">
        <strong>{t("nav.blocked", { count: rows.length })}</strong>
        <p class="small">{t("trackers.blockedText", { count: rows.length, waiting, plus: rows.some((row) => row.waitingMore) ? "+" : "" })}</p>
      </div>
      {first && may("money") && (
        <Button kind="pay" onClick={() => (paying.value = true)}>
          {t("trackers.payAll", { amount: money(first.unlockAll, first.currency) })}
        </Button>
      )}
      {paying.value && first && (
        <PayDialog
          title={t("trackers.payAllTitle")}
          amount={first.unlockAll ?? ""}
          currency={first.currency}
          accountId={first.accountId}
          onClose={() => (paying.value = false)}
          onDone={async () => {
            paying.value = false;
            await onDone();
          }}
        />
      )}
    </div>
  );
}

function Row({
  row,
  onOpen,
  onDone,
}: {
  row: Managed;
  onOpen: (open: Open) => void;
  onDone: () => Promise<unknown>;
}) {
  const hidden = isHidden(row);
  const reasons = row.reason?.split(", ") ?? []; // it may be hidden for several
  const why = [...reasons.map(reasonName), row.note].filter(Boolean).join(" ");
  const fromBalance = async (what: "activate" | "back-pay", done: string, due: string | null) => {
    try {
      await api.post(`/devices/${row.deviceId}/${what}`);
      say(done);
      await onDone();
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 402) throw error;
      onOpen({ kind: "pay", row, due: typeof error.body.due === "string" ? error.body.due : due });
    }
  };
  const due = Number(row.due ?? 0) > 0;
  // of a hidden one the server tells the hour; of the others the page knows better
  const contact = hidden ? row.lastContact : (devices.value.get(row.deviceId)?.lastUpdate ?? row.lastContact);
  const held = reasons.includes(HELD);
  const paused = reasons.some((one) => PAUSED.has(one));
  const billing = reasons.some((one) => one !== HELD && !PAUSED.has(one));
  return (
    <tr class={hidden ? "blocked" : ""}>
      <td class="full">
        <div class="row">
          {hidden && <BlockedMark label={`${t("trackers.blocked")}: ${why}`} />}
          <div class="grow">
            <div class="strong">{row.name || row.uniqueId}</div>
            <code class="small muted">{row.uniqueId}</code>
          </div>
        </div>
      </td>
      <td>
        <span class={`chip ${hidden ? "warn" : row.test ? "info" : "good"}`}>
          {stateName(hidden ? row.state : row.test ? "test" : row.state)}
        </span>
        {hidden && (
          <div class="small">
            {why} {row.since && <span class="muted nowrap">{t("trackers.since", { when: dateTime(row.since) })}</span>}
          </div>
        )}
        {row.purgeAt && <div class="small">{t("trackers.purge", { when: dateTime(row.purgeAt) })}</div>}
      </td>
      <td class="right nowrap">{due ? <strong>{money(row.due, row.currency)}</strong> : <span class="muted phone-hidden">–</span>}</td>
      <td class={`right nowrap ${row.waiting ? "" : "phone-hidden"}`}>
        {row.waiting ? t("trackers.waitingFixes", { count: row.waiting, plus: row.waitingMore ? "+" : "" }) : <span class="muted">–</span>}
      </td>
      <td class="nowrap phone-hidden" title={dateTime(contact)}>
        {ago(contact)}
      </td>
      <td class="full">
        <div class="row end wrap">
          {billing && may("money") && (
            <>
              <Button
                small
                onClick={() => fromBalance("activate", t("trackers.activated", { name: row.name }), null)}
              >
                {t("trackers.activate")}
              </Button>
              <Button small kind="pay" onClick={() => onOpen({ kind: "pay", row, due: null })}>
                {t("trackers.pay")}
              </Button>
            </>
          )}
          {row.backPay && may("money") && (
            <Button
              small
              onClick={() => fromBalance("back-pay", t("trackers.backPaid", { name: row.name }), row.backPay)}
            >
              {t("trackers.backPay", { amount: money(row.backPay, row.currency) })}
            </Button>
          )}
          {row.test && !hidden && row.lastContact && may("money") && (
            <Button
              small
              onClick={async () => {
                await api.post(`/devices/${row.deviceId}/convert`);
                say(t("trackers.converted", { name: row.name }));
                await onDone();
              }}
            >
              {t("trackers.convert")}
            </Button>
          )}
          {operator.value && held && (
            <Button
              small
              onClick={async () => {
                await api.post(`/devices/${row.deviceId}/release`);
                await onDone();
              }}
            >
              {t("trackers.release")}
            </Button>
          )}
          {paused && may("money") && (
            <Button
              small
              onClick={async () => {
                await api.post(`/devices/${row.deviceId}/resume`);
                await onDone();
              }}
            >
              {t("trackers.resume")}
            </Button>
          )}
          <span class="row">
            {!hidden && may("commands") && (
              <Button small icon="antenna" kind="quiet" label={t("command.open", { name: row.name })} onClick={() => onOpen({ kind: "command", row })} />
            )}
            {may("devices") && (
              <>
                <Button small icon="edit" kind="quiet" label={t("trackers.edit", { name: row.name })} onClick={() => onOpen({ kind: "edit", row })} />
                {operator.value && !held && (
                  <Button small icon="lock" kind="quiet" label={t("trackers.hold", { name: row.name })} onClick={() => onOpen({ kind: "hold", row })} />
                )}
                {!hidden && may("money") && (
                  <Button small icon="pause" kind="quiet" label={t("trackers.suspend", { name: row.name })} onClick={() => onOpen({ kind: "suspend", row })} />
                )}
                <Button small icon="trash" kind="quiet" label={t("trackers.removeOne", { name: row.name })} onClick={() => onOpen({ kind: "remove", row })} />
              </>
            )}
          </span>
        </div>
      </td>
    </tr>
  );
}

// ------------------------------------------------------------------------------------------------- unknown ones

function Knocking({ onAdded }: { onAdded: () => Promise<unknown> }) {
  const unknown = useRemote(() => api.get<Unknown[]>("/unknown"), []);
  const accounts = useRemote(() => api.get<Account[]>("/accounts"), []);
  const account = useSignal(0);
  useEffect(() => {
    const timer = setInterval(unknown.reload, REFRESH_MS);
    return () => clearInterval(timer);
  }, []);
  const list = unknown.value.value ?? [];
  const choices = accounts.value.value ?? [];
  const chosen = account.value || choices[0]?.id || 0;
  if (list.length === 0) return null;
  return (
    <section class="card stack" aria-label={t("unknown.title")}>
      <header>
        <div>
          <h2>{t("unknown.title")}</h2>
          <p class="small muted">{t("unknown.about")}</p>
        </div>
        {choices.length > 1 && (
          <Select
            label={t("unknown.account")}
            value={chosen}
            options={choices.map((one) => [one.id, one.name] as const)}
            onChange={(id) => (account.value = id)}
          />
        )}
      </header>
      <ul class="stack tight">
        {list.map((one) => (
          <li key={one.uniqueId} class="row between wrap">
            <span class="grow">
              <strong>{one.uniqueId}</strong>{" "}
              <span class="muted">
                {t("unknown.sent", { count: one.reports || one.frames })} · {one.protocol} · {ago(one.lastAt)}
              </span>
            </span>
            <Button
              small
              kind="primary"
              icon="plus"
              disabled={!chosen}
              onClick={async () => {
                const told = await api.post<{ replayed: number }>(`/unknown/${encodeURIComponent(one.uniqueId)}/add`, {
                  accountId: chosen,
                  name: one.uniqueId,
                });
                say(t("unknown.added", { id: one.uniqueId, count: told.replayed }));
                await Promise.all([unknown.reload(), onAdded()]);
              }}
            >
              {t("unknown.add")}
            </Button>
            <Button
              small
              kind="quiet"
              icon="trash"
              label={t("unknown.drop", { id: one.uniqueId })}
              onClick={async () => {
                await api.post(`/unknown/${encodeURIComponent(one.uniqueId)}/drop`);
                await unknown.reload();
              }}
            />
          </li>
        ))}
      </ul>
    </section>
  );
}

// ------------------------------------------------------------------------------------------------- dialogs

function Add({
  uniqueId,
  onClose,
  onAdded,
}: {
  uniqueId?: string;
  onClose: () => void;
  onAdded: () => Promise<unknown>;
}) {
  const id = useSignal(uniqueId ?? "");
  const name = useSignal("");
  const test = useSignal(false);
  const account = useSignal(user.value?.accountId ?? 0);
  const accounts = useRemote(() => (operator.value ? api.get<Account[]>("/accounts") : Promise.resolve([])), []);
  const added = useSignal<Device | null>(null);
  const heard = useSignal(false);
  const choices = accounts.value.value ?? [];
  useEffect(
    () =>
      onPosition((position) => {
        if (position.deviceId === added.value?.id) heard.value = true;
      }),
    [],
  );
  const submit = async () => {
    const accountId = account.value || choices[0]?.id;
    added.value = await api.post<Device>("/devices", {
      name: name.value.trim() || id.value.trim(),
      uniqueId: id.value.trim(),
      ...(operator.value && accountId ? { accountId } : {}),
      ...(test.value ? { test: true } : {}),
    });
    await onAdded();
  };
  if (added.value) {
    return (
      <Dialog title={t("add.waitTitle", { name: added.value.name })} onClose={onClose}>
        {heard.value ? (
          <div class="notice good" role="status">
            <Icon name="check" />
            <span class="grow">{t("add.heard")}</span>
            <Button kind="primary" icon="map" onClick={() => go("/live", { device: added.value?.id })}>
              {t("add.show")}
            </Button>
          </div>
        ) : (
          <>
            <p>{t("add.point", { host: location.hostname })}</p>
            <ul class="stack tight small">
              <li>{t("add.phone", { host: location.hostname })}</li>
              <li>{t("add.hardware")}</li>
            </ul>
            <div class="row">
              <Spinner />
              <span class="grow muted">{t("add.waiting")}</span>
              <Button icon="map" onClick={() => go("/live")}>
                {t("nav.live")}
              </Button>
            </div>
          </>
        )}
      </Dialog>
    );
  }
  return (
    <Dialog title={t("trackers.add")} onClose={onClose} onSubmit={submit} submit={t("trackers.add")}>
      <TextField
        label={t("field.uniqueId")}
        hint={t("add.idHint")}
        name="uniqueId"
        required
        autofocus
        maxLength={64}
        value={id.value}
        onInput={(value) => (id.value = value)}
      />
      <TextField
        label={t("field.name")}
        hint={t("add.nameHint")}
        name="name"
        maxLength={120}
        value={name.value}
        onInput={(value) => (name.value = value)}
      />
      {choices.length > 1 && (
        <Select
          label={t("unknown.account")}
          value={account.value || choices[0]!.id}
          options={choices.map((one) => [one.id, one.name] as const)}
          onChange={(value) => (account.value = value)}
        />
      )}
      {operator.value && (
        <Check checked={test.value} onChange={(on) => (test.value = on)}>
          {t("add.test")}
        </Check>
      )}
    </Dialog>
  );
}

function Edit({ row, onClose, onDone }: { row: Managed; onClose: () => void; onDone: () => Promise<unknown> }) {
  const device = devices.value.get(row.deviceId);
  const name = useSignal(device?.name ?? row.name);
  const category = useSignal(device?.category ?? "car");
  const group = useSignal(device?.groupId ?? 0);
  const phone = useSignal(device?.phone ?? "");
  const model = useSignal(device?.model ?? "");
  const priority = useSignal(String(row.priority));
  const links = useLinks(row.deviceId);
  const submit = async () => {
    const found = (await api.get<Device[]>("/devices", { id: row.deviceId }))[0];
    await api.put(`/devices/${row.deviceId}`, {
      ...found,
      name: name.value.trim(),
      category: category.value,
      groupId: group.value,
      phone: phone.value.trim() || null,
      model: model.value.trim() || null,
    });
    if (may("money") && Number(priority.value) !== row.priority) {
      await api.put(`/devices/${row.deviceId}/priority`, { priority: Number(priority.value) });
    }
    await links.save();
    say(t("action.saved"));
    await onDone();
  };
  return (
    <Dialog title={t("trackers.edit", { name: row.name })} onClose={onClose} onSubmit={submit}>
      <TextField label={t("field.name")} required maxLength={120} value={name.value} onInput={(value) => (name.value = value)} />
      <div class="fields">
        <Select
          label={t("field.category")}
          value={category.value}
          options={CATEGORIES.map((one) => [one as string, t(`category.${one}`)] as const)}
          onChange={(value) => (category.value = value)}
        />
        <Select
          label={t("field.group")}
          value={group.value}
          options={[[0, t("field.none")], ...groups.value.map((one) => [one.id, one.name] as const)]}
          onChange={(value) => (group.value = value)}
        />
        <TextField label={t("field.model")} value={model.value} onInput={(value) => (model.value = value)} />
        <TextField label={t("field.phone")} type="tel" value={phone.value} onInput={(value) => (phone.value = value)} />
        {may("money") && (
          <TextField
            label={t("trackers.priority")}
            hint={t("trackers.priorityHint")}
            type="number"
            min={1}
            value={priority.value}
            onInput={(value) => (priority.value = value)}
          />
        )}
      </div>
      {may("write") && <LinkChecks links={links} />}
    </Dialog>
  );
}

function Hold({ row, onClose, onDone }: { row: Managed; onClose: () => void; onDone: () => Promise<unknown> }) {
  const reason = useSignal("");
  return (
    <Dialog
      title={t("trackers.hold", { name: row.name })}
      onClose={onClose}
      submit={t("trackers.holdSubmit")}
      onSubmit={async () => {
        await api.post(`/devices/${row.deviceId}/hold`, { reason: reason.value.trim() });
        await onDone();
      }}
    >
      <p class="muted">{t("trackers.holdText")}</p>
      <TextField label={t("trackers.reason")} required maxLength={200} value={reason.value} onInput={(value) => (reason.value = value)} />
    </Dialog>
  );
}

function Suspend({ row, onClose, onDone }: { row: Managed; onClose: () => void; onDone: () => Promise<unknown> }) {
  const until = useSignal("");
  return (
    <Dialog
      title={t("trackers.suspend", { name: row.name })}
      onClose={onClose}
      submit={t("trackers.suspendSubmit")}
      onSubmit={async () => {
        await api.post(`/devices/${row.deviceId}/suspend`, { until: until.value });
        await onDone();
      }}
    >
      <p class="muted">{t("trackers.suspendText")}</p>
      <TextField label={t("trackers.until")} type="date" required value={until.value} onInput={(value) => (until.value = value)} />
    </Dialog>
  );
}

