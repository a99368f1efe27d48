/** Alerts: who is told of what, what became of each, and which ways there are. */

import { useSignal } from "@preact/signals";

import { api } from "../core/api.ts";
import { devices, geofences, groups } from "../core/fleet.ts";
import { dateTime } from "../core/format.ts";
import { zone } from "../core/preferences.ts";
import { place } from "../core/router.ts";
import { may } from "../core/session.ts";
import type { Notification } from "../core/types.ts";
import { language, LANGUAGES, t } from "../i18n/index.ts";
import { Icon } from "../ui/icon.tsx";
import {
  Button,
  Check,
  Checks,
  Confirm,
  Dialog,
  Page,
  Remote,
  say,
  Select,
  Tabs,
  TextField,
  useRemote,
} from "../ui/parts.tsx";
import { Nothing, Table } from "../ui/table.tsx";
import { alarmName, ALARMS, channelName, EVENT_TYPES, stateName, typeName } from "./words.ts";

interface Delivery {
  id: number;
  at: string;
  type: string;
  deviceId: number;
  channel: string;
  recipient: string;
  state: string;
  attempts: number;
  error: string | null;
  deliveredAt: string | null;
  text: string;
}

const LOG_ROWS = 100;

export default function Alerts() {
  const tab = place.value.query.get("tab") ?? "rules";
  return (
    <Page title={t("nav.alerts")} about={t("alerts.about")}>
      <Tabs
        path="/alerts"
        tabs={[
          ["rules", t("alerts.rules")],
          ["log", t("alerts.log")],
          ["channels", t("alerts.channels")],
        ]}
      />
      {tab === "log" ? <Log /> : tab === "channels" ? <Channels /> : <Rules />}
    </Page>
  );
}

// ------------------------------------------------------------------------------------------------- rules

const listOf = (text: unknown): string[] =>
  typeof text === "string" ? text.split(",").map((one) => one.trim()).filter(Boolean) : Array.isArray(text) ? text.map(String) : [];
interface Recipient {
  channel?: string;
  to?: string;
  user?: number;
}

/** The addresses of a rule as one text; those of users are kept as they are. */
const addressesOf = (value: unknown): string =>
  Array.isArray(value) ? value.map((one: Recipient) => one.to ?? "").filter(Boolean).join(", ") : "";

/** An address says by its form which channel it is for. */
function recipientOf(address: string): Recipient {
  const channel = /^https?:\/\//i.test(address)
    ? "webhook"
    : address.includes("://")
      ? "messenger"
      : address.includes("@")
        ? "email"
        : "sms";
  return { channel, to: address };
}

const numbersOf = (value: unknown): number[] => listOf(value).map(Number).filter(Boolean);

function about(rule: Notification): string {
  const told: string[] = [];
  const names = (ids: number[], name: (id: number) => string | undefined) => ids.map((id) => name(id) ?? `#${id}`).join(", ");
  const fences = numbersOf(rule.attributes.fenceIds);
  const trackers = numbersOf(rule.attributes.deviceIds);
  const folders = numbersOf(rule.attributes.groupIds);
  if (rule.type === "alarm" && rule.attributes.alarms) told.push(listOf(rule.attributes.alarms).map(alarmName).join(", "));
  if (fences.length) told.push(names(fences, (id) => geofences.value.find((one) => one.id === id)?.name));
  if (trackers.length) told.push(names(trackers, (id) => devices.value.get(id)?.name));
  if (folders.length) told.push(names(folders, (id) => groups.value.find((one) => one.id === id)?.name));
  if (!trackers.length && !folders.length) told.push(t("alerts.allTrackers"));
  return told.join(" · ");
}

function Rules() {
  const rules = useRemote(() => api.get<Notification[]>("/notifications"), []);
  const editing = useSignal<Notification | null>(null);
  const removing = useSignal<Notification | null>(null);
  return (
    <>
      {may("write") && (
        <div class="row">
          <Button kind="primary" icon="plus" onClick={() => (editing.value = NEW)}>
            {t("alerts.add")}
          </Button>
        </div>
      )}
      <Remote remote={rules}>
        {(list) =>
          list.length === 0 ? (
            <Nothing icon="bell" title={t("alerts.none")}>
              <p>{t("alerts.noneHint")}</p>
            </Nothing>
          ) : (
            <div class="card flush">
              <ul>
                {list.map((rule) => (
                  <li key={rule.id} class="row-item tall">
                    <span class="badge-icon">
                      <Icon name="bell" />
                    </span>
                    <span class="grow">
                      <span class="name">{typeName(rule.type)}</span>
                      <span class="sub" style={{ display: "block" }}>
                        {about(rule)}
                      </span>
                    </span>
                    <span class="row wrap">
                      {listOf(rule.notificators).map((channel) => (
                        <span key={channel} class="chip info">
                          {channelName(channel)}
                        </span>
                      ))}
                    </span>
                    {may("write") && (
                      <>
                        <Button small kind="quiet" icon="edit" label={t("alerts.editOne", { name: typeName(rule.type) })} onClick={() => (editing.value = rule)} />
                        <Button small kind="quiet" icon="trash" label={t("alerts.removeOne", { name: typeName(rule.type) })} onClick={() => (removing.value = rule)} />
                      </>
                    )}
                  </li>
                ))}
              </ul>
            </div>
          )
        }
      </Remote>
      {editing.value && (
        <EditRule
          rule={editing.value}
          onClose={() => (editing.value = null)}
          onSaved={async () => {
            editing.value = null;
            await rules.reload();
          }}
        />
      )}
      {removing.value && (
        <Confirm
          title={t("alerts.remove")}
          text={typeName(removing.value.type)}
          submit={t("action.delete")}
          onClose={() => (removing.value = null)}
          onConfirm={async () => {
            await api.remove(`/notifications/${removing.value?.id}`);
            removing.value = null;
            await rules.reload();
          }}
        />
      )}
    </>
  );
}

const NEW: Notification = { id: 0, type: "geofenceEnter", always: true, notificators: "web", attributes: {} };

function EditRule({
  rule,
  onClose,
  onSaved,
}: {
  rule: Notification;
  onClose: () => void;
  onSaved: () => Promise<unknown>;
}) {
  const kept = rule.attributes;
  const known = useRemote(
    () => api.get<{ type: string }[]>("/notifications/notificators").then((list) => list.map((one) => one.type)),
    [],
  );
  const type = useSignal(rule.type);
  const alarms = useSignal(listOf(kept.alarms));
  const channels = useSignal(listOf(rule.notificators));
  const fences = useSignal(numbersOf(kept.fenceIds));
  const trackers = useSignal(numbersOf(kept.deviceIds));
  const folders = useSignal(numbersOf(kept.groupIds));
  const everybody = useSignal(!trackers.value.length && !folders.value.length);
  const recipients = useSignal(addressesOf(kept.recipients));
  const speaks = useSignal(typeof kept.language === "string" ? kept.language : "");
  const quiet = useSignal(typeof kept.quiet === "string" ? kept.quiet : "");
  const throttle = useSignal(kept.throttle ? String(kept.throttle) : "");
  const picture = useSignal(kept.picture === true);
  const mails = channels.value.includes("mail");
  const about = type.value;
  const submit = async () => {
    const attributes: Record<string, unknown> = { ...kept };
    const set = (name: string, value: unknown, given: boolean) => {
      if (given) attributes[name] = value;
      else delete attributes[name];
    };
    set("alarms", alarms.value.join(","), about === "alarm" && alarms.value.length > 0);
    set("fenceIds", fences.value, about.startsWith("geofence") && fences.value.length > 0);
    set("deviceIds", trackers.value, !everybody.value && trackers.value.length > 0);
    set("groupIds", folders.value, !everybody.value && folders.value.length > 0);
    const users = Array.isArray(kept.recipients) ? (kept.recipients as Recipient[]).filter((one) => one.user) : [];
    const people = [...users, ...listOf(recipients.value).map(recipientOf)];
    set("recipients", people, people.length > 0);
    set("language", speaks.value, speaks.value !== "");
    set("quiet", quiet.value.trim(), quiet.value.trim() !== "");
    set("throttle", Number(throttle.value), Number(throttle.value) > 0);
    set("picture", true, mails && picture.value);
    const given = { ...rule, type: about, always: everybody.value, notificators: channels.value.join(","), attributes };
    await (rule.id ? api.put(`/notifications/${rule.id}`, given) : api.post("/notifications", { ...given, id: undefined }));
    say(t("action.saved"));
    await onSaved();
  };
  const offered = (known.value.value ?? ["web"]).filter((one) => one !== "command"); // that one needs a saved command
  return (
    <Dialog wide title={rule.id ? t("alerts.edit") : t("alerts.add")} onClose={onClose} onSubmit={submit}>
      <Select
        label={t("alerts.when")}
        value={type.value}
        options={EVENT_TYPES.map((one) => [one as string, typeName(one)] as const)}
        onChange={(value) => (type.value = value)}
      />
      {about === "alarm" && (
        <Checks
          label={t("alerts.alarms")}
          options={ALARMS.map((one) => [one as string, alarmName(one)] as const)}
          chosen={alarms.value}
          onChange={(value) => (alarms.value = value)}
        />
      )}
      {about.startsWith("geofence") && geofences.value.length > 0 && (
        <Checks
          label={t("alerts.fences")}
          options={geofences.value.map((one) => [one.id, one.name] as const)}
          chosen={fences.value}
          onChange={(value) => (fences.value = value)}
        />
      )}
      <Check checked={everybody.value} onChange={(on) => (everybody.value = on)}>
        {t("alerts.allTrackers")}
      </Check>
      {!everybody.value && (
        <>
          {groups.value.length > 0 && (
            <Checks
              label={t("alerts.groups")}
              options={groups.value.map((one) => [one.id, one.name] as const)}
              chosen={folders.value}
              onChange={(value) => (folders.value = value)}
            />
          )}
          <Checks
            label={t("nav.trackers")}
            options={[...devices.value.values()].map((one) => [one.id, one.name] as const)}
            chosen={trackers.value}
            onChange={(value) => (trackers.value = value)}
          />
        </>
      )}
      <Checks
        label={t("alerts.how")}
        options={offered.map((one) => [one as string, channelName(one)] as const)}
        chosen={channels.value}
        onChange={(value) => (channels.value = value)}
      />
      {mails && (
        <Check checked={picture.value} onChange={(on) => (picture.value = on)}>
          {t("alerts.picture")}
        </Check>
      )}
      <TextField
        label={t("alerts.recipients")}
        hint={t("alerts.recipientsHint")}
        value={recipients.value}
        onInput={(value) => (recipients.value = value)}
      />
      <div class="fields">
        <Select
          label={t("field.language")}
          value={speaks.value}
          options={[["", t("alerts.theirLanguage")], ...Object.entries(LANGUAGES)]}
          onChange={(value) => (speaks.value = value)}
        />
        <TextField label={t("alerts.quiet")} hint={t("alerts.quietHint")} placeholder="22:00-07:00" value={quiet.value} onInput={(value) => (quiet.value = value)} />
        <TextField label={t("alerts.throttle")} hint={t("alerts.throttleHint")} type="number" min={0} value={throttle.value} onInput={(value) => (throttle.value = value)} />
      </div>
      <Preview type={about} alarm={alarms.value[0] ?? ""} language={speaks.value} />
    </Dialog>
  );
}

/** How an event of that kind would be told. */
function Preview({ type, alarm, language: wanted }: { type: string; alarm: string; language: string }) {
  const shown = useRemote(
    () =>
      api.post<{ subject: string; sms: string }>("/alerts/preview", {
        type,
        alarm: type === "alarm" ? alarm || "sos" : "",
        language: wanted || language.value,
        zone: zone.value,
      }),
    [type, alarm, wanted],
  );
  const told = shown.value.value;
  return told ? (
    <div class="notice" aria-live="polite">
      <Icon name="mail" />
      <span>
        <span class="small muted">{t("alerts.preview")}</span>
        <br />
        {told.sms}
      </span>
    </div>
  ) : null;
}

// ------------------------------------------------------------------------------------------------- log, channels

const TONES: Record<string, string> = { delivered: "good", sent: "good", failed: "bad", suppressed: "warn", pending: "info" };

function Log() {
  const log = useRemote(() => api.get<Delivery[]>("/alerts/log", { limit: LOG_ROWS }), []);
  return (
    <>
      <div class="row">
        <Button icon="refresh" onClick={log.reload}>
          {t("alerts.refresh")}
        </Button>
      </div>
      <Remote remote={log}>
        {(list) =>
          list.length === 0 ? (
            <Nothing icon="mail" title={t("alerts.logNone")} />
          ) : (
            <Table cards columns={[t("alerts.at"), t("alerts.what"), t("alerts.to"), t("trackers.state")]}>
              {list.map((one) => (
                <tr key={one.id}>
                  <td class="nowrap">{dateTime(one.at)}</td>
                  <td class="full">
                    <div class="strong" translate={!one.text}>
                      {one.text || typeName(one.type)}
                    </div>
                    <div class="small muted">{devices.value.get(one.deviceId)?.name ?? ""}</div>
                  </td>
                  <td>
                    {channelName(one.channel)} {one.recipient !== one.channel && <span class="muted small">{one.recipient}</span>}
                  </td>
                  <td class={one.error ? "full" : ""}>
                    <span class={`chip ${TONES[one.state] ?? ""}`}>{stateName(one.state)}</span>
                    {one.error && (
                      <div class="small muted" translate={false}>
                        {one.error}
                      </div>
                    )}
                  </td>
                </tr>
              ))}
            </Table>
          )
        }
      </Remote>
    </>
  );
}

function Channels() {
  const known = useRemote(() => api.get<{ type: string }[]>("/notifications/notificators"), []);
  return (
    <Remote remote={known}>
      {(list) => (
        <div class="card flush">
          <ul>
            {list.map((one) => (
              <li key={one.type} class="row-item" style={{ cursor: "default" }}>
                <span class="badge-icon moving">
                  <Icon name={one.type === "mail" ? "mail" : "bell"} />
                </span>
                <span class="grow name">{channelName(one.type)}</span>
                {one.type !== "web" && (
                  <Button
                    small
                    onClick={async () => {
                      await api.post(`/notifications/test/${one.type}`);
                      say(t("alerts.tested"));
                    }}
                  >
                    {t("alerts.test")}
                  </Button>
                )}
              </li>
            ))}
          </ul>
        </div>
      )}
    </Remote>
  );
}
