/** The operator's desk: customers, what could not be decoded, the server's health, whether the books agree, people. */

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";

import { api } from "../core/api.ts";
import { ago, dateTime, money, number } from "../core/format.ts";
import { follow, place } from "../core/router.ts";
import { may, resume, user } from "../core/session.ts";
import type { Account, User } from "../core/types.ts";
import { LANGUAGES, maybe, t } from "../i18n/index.ts";
import { BlockedMark, Icon } from "../ui/icon.tsx";
import { Button, Confirm, Dialog, Page, Remote, say, Select, Tabs, TextField, useRemote } from "../ui/parts.tsx";
import { Nothing, Table } from "../ui/table.tsx";
import { PASSWORD_MIN } from "./front.tsx";
import type { Tariff } from "./money.tsx";

const HEALTH_MS = 10_000;
const QUARANTINE_ROWS = 100;
const ROLES = ["owner", "manager", "viewer", "staff", "admin"] as const;

export default function Operator() {
  const tab = place.value.query.get("tab") ?? "accounts";
  return (
    <Page title={t("nav.operator")}>
      <Tabs
        path="/operator"
        tabs={[
          ["accounts", t("operator.accounts")],
          ["people", t("operator.people")],
          ["quarantine", t("operator.quarantine")],
          ["health", t("operator.health")],
          ["books", t("operator.books")],
        ]}
      />
      {tab === "people" ? (
        <People />
      ) : tab === "quarantine" ? (
        <Quarantine />
      ) : tab === "health" ? (
        <Health />
      ) : tab === "books" ? (
        <Books />
      ) : (
        <Accounts />
      )}
    </Page>
  );
}

// ------------------------------------------------------------------------------------------------- accounts

const NO_ACCOUNT: Account = {
  id: 0,
  name: "",
  zone: "",
  currency: "EUR",
  language: "en",
  email: "",
  tariffId: null,
  tariff: "",
  mode: "",
  balance: "0",
  minTopup: null,
  devices: 0,
  blocked: 0,
};

function Accounts() {
  const accounts = useRemote(() => api.get<Account[]>("/accounts"), []);
  const editing = useSignal<Account | null>(null);
  return (
    <>
      <div class="row">
        <Button kind="primary" icon="plus" onClick={() => (editing.value = NO_ACCOUNT)}>
          {t("accounts.add")}
        </Button>
      </div>
      <Remote remote={accounts}>
        {(list) => (
          <Table
            cards
            columns={[
              t("field.name"),
              t("money.tariff"),
              { label: t("money.balance"), class: "right" },
              { label: t("nav.trackers"), class: "right" },
              { label: t("trackers.actions"), silent: true },
            ]}
          >
            {list.map((one) => (
              <tr key={one.id}>
                <td>
                  <div class="strong">{one.name}</div>
                  <div class="small muted">
                    {[one.email, one.zone].filter(Boolean).join(" · ")}
                  </div>
                </td>
                <td>{one.tariff}</td>
                <td class="right nowrap">{money(one.balance, one.currency)}</td>
                <td class="right">
                  <span class="row end">
                    {one.devices}
                    {one.blocked > 0 && <BlockedMark label={t("nav.blocked", { count: one.blocked })} />}
                  </span>
                </td>
                <td class="full">
                  <div class="row end">
                    <a class="button small" href={`/money?account=${one.id}`} onClick={follow}>
                      {t("nav.money")}
                    </a>
                    <Button
                      small
                      kind="quiet"
                      icon="edit"
                      label={t("accounts.edit", { name: one.name })}
                      onClick={() => (editing.value = one)}
                    />
                  </div>
                </td>
              </tr>
            ))}
          </Table>
        )}
      </Remote>
      {editing.value && (
        <EditAccount
          account={editing.value}
          onClose={() => (editing.value = null)}
          onSaved={async () => {
            editing.value = null;
            say(t("action.saved"));
            await accounts.reload();
          }}
        />
      )}
    </>
  );
}

function EditAccount({
  account,
  onClose,
  onSaved,
}: {
  account: Account;
  onClose: () => void;
  onSaved: () => Promise<unknown>;
}) {
  const tariffs = useRemote(() => api.get<Tariff[]>("/tariffs"), []);
  const name = useSignal(account.name);
  const email = useSignal(account.email ?? "");
  const zone = useSignal(account.zone || Intl.DateTimeFormat().resolvedOptions().timeZone);
  const currency = useSignal(account.currency);
  const language = useSignal(account.language || "en");
  const tariff = useSignal(account.tariffId ?? 0);
  const submit = async () => {
    const given = {
      name: name.value.trim(),
      email: email.value.trim(),
      zone: zone.value,
      language: language.value,
    };
    if (account.id) await api.put(`/accounts/${account.id}`, given);
    else {
      await api.post("/accounts", {
        ...given,
        currency: currency.value.trim().toUpperCase(),
        ...(tariff.value ? { tariffId: tariff.value } : {}),
      });
    }
    await onSaved();
  };
  return (
    <Dialog title={account.id ? t("accounts.edit", { name: account.name }) : t("accounts.add")} onClose={onClose} onSubmit={submit}>
      <TextField label={t("field.name")} required autofocus value={name.value} onInput={(value) => (name.value = value)} />
      <TextField label={t("field.email")} type="email" value={email.value} onInput={(value) => (email.value = value)} />
      <div class="fields">
        <ZoneSelect value={zone.value} onChange={(value) => (zone.value = value)} />
        <Select
          label={t("field.language")}
          value={language.value}
          options={Object.entries(LANGUAGES)}
          onChange={(value) => (language.value = value)}
        />
        {!account.id && (
          <TextField
            label={t("accounts.currency")}
            required
            pattern="[A-Za-z]{3}"
            maxLength={3}
            value={currency.value}
            onInput={(value) => (currency.value = value)}
          />
        )}
        {!account.id && (
          <Select
            label={t("money.tariff")}
            value={tariff.value}
            options={[[0, t("field.none")], ...(tariffs.value.value ?? []).map((one) => [one.id, one.name] as const)]}
            onChange={(value) => (tariff.value = value)}
          />
        )}
      </div>
    </Dialog>
  );
}

export function ZoneSelect({ value, onChange }: { value: string; onChange: (value: string) => void }) {
  const zones = Intl.supportedValuesOf("timeZone");
  const all = zones.includes(value) ? zones : [value, ...zones];
  return (
    <Select
      label={t("field.zone")}
      value={value}
      options={all.map((one) => [one, one.replaceAll("_", " ")] as const)}
      onChange={onChange}
    />
  );
}

// ------------------------------------------------------------------------------------------------- people

function People() {
  const people = useRemote(() => api.get<User[]>("/users"), []);
  const accounts = useRemote(() => api.get<Account[]>("/accounts"), []);
  const adding = useSignal(false);
  const removing = useSignal<User | null>(null);
  const nameOf = (id: number | null | undefined) => accounts.value.value?.find((one) => one.id === id)?.name ?? "";
  return (
    <>
      <div class="row">
        <Button kind="primary" icon="plus" onClick={() => (adding.value = true)}>
          {t("people.add")}
        </Button>
      </div>
      <Remote remote={people}>
        {(list) => (
          <Table
            cards
            columns={[
              t("field.name"),
              t("people.role"),
              t("money.account"),
              { label: t("trackers.actions"), silent: true },
            ]}
          >
            {list.map((one) => (
              <tr key={one.id}>
                <td>
                  <div class="strong">{one.name || one.email}</div>
                  <div class="small muted">{one.email}</div>
                </td>
                <td>
                  <span class="chip">{maybe(`role.${one.role}`, one.role ?? "")}</span>
                </td>
                <td>{nameOf(one.accountId)}</td>
                <td class="full">
                  <div class="row end">
                    {may("administer") && one.id !== user.value?.id && (
                      <>
                        <Button
                          small
                          onClick={async () => {
                            await api.get(`/session/${one.id}`);
                            await resume();
                          }}
                        >
                          {t("people.actAs")}
                        </Button>
                        <Button
                          small
                          kind="quiet"
                          icon="trash"
                          label={t("people.remove", { name: one.email })}
                          onClick={() => (removing.value = one)}
                        />
                      </>
                    )}
                  </div>
                </td>
              </tr>
            ))}
          </Table>
        )}
      </Remote>
      {adding.value && (
        <AddPerson
          accounts={accounts.value.value ?? []}
          onClose={() => (adding.value = false)}
          onSaved={async () => {
            adding.value = false;
            await people.reload();
          }}
        />
      )}
      {removing.value && (
        <Confirm
          title={t("people.remove", { name: removing.value.email })}
          text={t("people.removeText")}
          submit={t("action.delete")}
          onClose={() => (removing.value = null)}
          onConfirm={async () => {
            await api.remove(`/users/${removing.value?.id}`);
            removing.value = null;
            await people.reload();
          }}
        />
      )}
    </>
  );
}

function AddPerson({
  accounts,
  onClose,
  onSaved,
}: {
  accounts: readonly Account[];
  onClose: () => void;
  onSaved: () => Promise<unknown>;
}) {
  const name = useSignal("");
  const email = useSignal("");
  const password = useSignal("");
  const role = useSignal<(typeof ROLES)[number]>("owner");
  const account = useSignal(accounts[0]?.id ?? 0);
  const customers = role.value !== "admin" && role.value !== "staff";
  const roles = may("administer") ? ROLES : ROLES.slice(0, 3);
  return (
    <Dialog
      title={t("people.add")}
      onClose={onClose}
      onSubmit={async () => {
        await api.post("/users", {
          name: name.value.trim(),
          email: email.value.trim(),
          password: password.value,
          role: role.value,
          ...(customers ? { accountId: account.value } : {}),
        });
        await onSaved();
      }}
    >
      <TextField label={t("field.name")} required autofocus value={name.value} onInput={(value) => (name.value = value)} />
      <TextField label={t("field.email")} type="email" required value={email.value} onInput={(value) => (email.value = value)} />
      <TextField
        label={t("field.password")}
        hint={t("field.passwordHint", { least: PASSWORD_MIN })}
        type="password"
        autocomplete="new-password"
        minLength={PASSWORD_MIN}
        required
        value={password.value}
        onInput={(value) => (password.value = value)}
      />
      <div class="fields">
        <Select
          label={t("people.role")}
          value={role.value}
          options={roles.map((one) => [one, t(`role.${one}`)] as const)}
          onChange={(value) => (role.value = value)}
        />
        {customers && (
          <Select
            label={t("money.account")}
            value={account.value}
            options={accounts.map((one) => [one.id, one.name] as const)}
            onChange={(value) => (account.value = value)}
          />
        )}
      </div>
    </Dialog>
  );
}

// ------------------------------------------------------------------------------------------------- quarantine

interface Frame {
  id: number;
  receivedAt: string;
  uniqueId: string;
  protocol: string;
  remote: string;
  reason: string;
  detail: string;
  frame: string;
}

const FRAME_CHARACTERS = 120;

function Quarantine() {
  const rows = useRemote(
    () => api.get<{ frames: Frame[] }>("/quarantine", { limit: QUARANTINE_ROWS }).then((told) => told.frames),
    [],
  );
  return (
    <Remote remote={rows}>
      {(list) =>
        list.length === 0 ? (
          <Nothing icon="check" title={t("quarantine.none")} />
        ) : (
          <Table cards columns={[t("alerts.at"), t("trackers.tracker"), t("quarantine.why"), t("quarantine.frame")]}>
            {list.map((row) => (
              <tr key={row.id}>
                <td class="nowrap">{dateTime(row.receivedAt)}</td>
                <td>
                  {row.uniqueId} <span class="muted small">{row.protocol}</span>
                </td>
                <td>{[maybe(`quarantine.reason.${row.reason}`, row.reason), row.detail].filter(Boolean).join(": ")}</td>
                <td class="full">
                  <code class="small" style={{ overflowWrap: "anywhere" }}>
                    {row.frame.slice(0, FRAME_CHARACTERS)}
                  </code>
                </td>
              </tr>
            ))}
          </Table>
        )
      }
    </Remote>
  );
}

// ------------------------------------------------------------------------------------------------- health, books

/** Whatever the server tells of itself, one figure for each value; lists and objects below by their own names. */
function figures(told: Record<string, unknown>, prefix = ""): [string, string][] {
  return Object.entries(told).flatMap(([name, value]): [string, string][] => {
    const label = prefix ? `${prefix} ${name}` : name;
    const words = maybe(`health.${name}`, label.replace(/([a-z])([A-Z])/g, "$1 $2").toLowerCase());
    if (value === null || value === undefined) return [];
    if (typeof value === "boolean") return [[words, value ? t("state.yes") : t("state.no")]];
    if (typeof value === "number") return [[words, /bytes/i.test(name) ? `${number(value / 1e6, 1)} MB` : number(value, 2)]];
    if (typeof value === "string") return [[words, /^\d{4}-\d\d-\d\dT/.test(value) ? ago(value) : value]];
    if (Array.isArray(value)) return value.length ? [[words, value.map(String).join("; ")]] : [];
    return figures(value as Record<string, unknown>, label);
  });
}

function Health() {
  const health = useRemote(() => api.get<Record<string, unknown>>("/health/server"), []);
  useEffect(() => {
    const timer = setInterval(health.reload, HEALTH_MS);
    return () => clearInterval(timer);
  }, []);
  return (
    <Remote remote={health}>
      {(told) => {
        const ready = told.ready !== false;
        return (
          <>
            <div class={`notice ${ready ? "good" : "bad"}`} role="status">
              <Icon name={ready ? "check" : "info"} />
              <span>{ready ? t("health.well") : t("health.unwell")}</span>
            </div>
            <dl class="figures">
              {figures(told).map(([name, text]) => (
                <div class="figure small" key={name}>
                  <dt>{name}</dt>
                  <dd>{text}</dd>
                </div>
              ))}
            </dl>
          </>
        );
      }}
    </Remote>
  );
}

interface Verified {
  clean: boolean;
  differences: unknown[];
}

function Books() {
  const outcome = useSignal<Verified | null>(null);
  return (
    <div class="card stack">
      <h2>{t("books.title")}</h2>
      <p class="muted">{t("books.about")}</p>
      <div class="row">
        <Button kind="primary" onClick={async () => void (outcome.value = await api.get<Verified>("/billing/verify"))}>
          {t("books.verify")}
        </Button>
      </div>
      {outcome.value &&
        (outcome.value.clean ? (
          <div class="notice good" role="status">
            <Icon name="check" />
            <span>{t("books.clean")}</span>
          </div>
        ) : (
          <div class="notice bad" role="alert">
            <Icon name="info" />
            <ul>
              {outcome.value.differences.map((one, at) => (
                <li key={at}>{typeof one === "string" ? one : JSON.stringify(one)}</li>
              ))}
            </ul>
          </div>
        ))}
    </div>
  );
}
