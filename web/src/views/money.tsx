/** Money: what there is, what it will last for, every movement, invoices, tariffs, and a calculator. */

import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";

import { address, api } from "../core/api.ts";
import { devices } from "../core/fleet.ts";
import { calendarDate, date, dateTime, money } from "../core/format.ts";
import { follow, go, place } from "../core/router.ts";
import { may, operator, user } from "../core/session.ts";
import type { Account, LedgerEntry } from "../core/types.ts";
import { maybe, t } from "../i18n/index.ts";
import { Icon } from "../ui/icon.tsx";
import { Button, Dialog, Empty, Page, Remote, say, Select, Tabs, useRemote } from "../ui/parts.tsx";
import { Nothing, Table } from "../ui/table.tsx";
import { Calculator } from "./calculator.tsx";
import { PayDialog } from "./pay.tsx";
import { stateName } from "./words.ts";

const LEDGER_ROWS = 50;
const RECENT_ROWS = 8;

interface Ledger {
  entries: LedgerEntry[];
  next: string | null;
}

interface Invoice {
  id: number;
  number: string;
  kind: string;
  issuedAt: string;
  amount: string;
  currency: string;
}

interface Payment {
  id: string;
  gateway: string;
  state: string;
  amount: string;
  currency: string;
  createdAt: string;
  paidAt: string | null;
  url: string | null;
}

export interface Tariff {
  id: number;
  name: string;
  mode: string;
  monthly: string;
  currency: string;
  sms?: string | null;
}

export default function MoneyView() {
  const own = user.value?.accountId ?? 0;
  const accounts = useRemote(() => (operator.value ? api.get<Account[]>("/accounts") : Promise.resolve([])), []);
  const id = Number(place.value.query.get("account")) || own || accounts.value.value?.[0]?.id || 0;
  const tab = place.value.query.get("tab") ?? "overview";
  const choices = accounts.value.value ?? [];
  return (
    <Page
      title={t("nav.money")}
      actions={
        choices.length > 1 && (
          <Select
            label={t("money.account")}
            value={id}
            options={choices.map((one) => [one.id, one.name] as const)}
            onChange={(chosen) => go("/money", { account: chosen, tab })}
          />
        )
      }
    >
      <Tabs
        path="/money"
        tabs={[
          ["overview", t("money.overview")],
          ["ledger", t("money.ledger")],
          ["invoices", t("money.invoices")],
          ["tariff", t("money.tariff")],
          ["calculator", t("money.calculator")],
        ]}
      />
      {tab === "calculator" ? (
        <Calculator />
      ) : id === 0 ? (
        <Remote remote={accounts}>{() => <Empty icon="money" title={t("money.noAccount")} />}</Remote>
      ) : tab === "ledger" ? (
        <LedgerTab key={id} id={id} />
      ) : tab === "invoices" ? (
        <Invoices key={id} id={id} />
      ) : tab === "tariff" ? (
        <TariffTab key={id} id={id} />
      ) : (
        <Overview key={id} id={id} />
      )}
    </Page>
  );
}

// ------------------------------------------------------------------------------------------------- overview

interface Forecast {
  balance: string;
  minTopup: string;
  currency: string;
  until: string;
  balanceThen: string;
  trackers: { uniqueId: string; state: string; due: string; blockedAt: string | null }[];
}

const OUTLOOK_ROWS = 20;

/** The first moment at which a tracker that is shown now would be blocked. */
const lastsUntil = (told: Forecast): string | null =>
  told.trackers
    .map((one) => one.blockedAt)
    .filter((at): at is string => at !== null && Date.parse(at) > Date.now())
    .sort()[0] ?? null;

function Overview({ id }: { id: number }) {
  const account = useRemote(() => api.get<Account>(`/accounts/${id}`), [id]);
  const forecast = useRemote(() => api.get<Forecast>(`/accounts/${id}/forecast`), [id]);
  const paying = useSignal(false);
  return (
    <Remote remote={account}>
      {(one) => {
        const told = forecast.value.value;
        return (
          <>
            <dl class="figures">
              <div class="figure">
                <dt>{t("money.balance")}</dt>
                <dd>{money(one.balance, one.currency)}</dd>
              </div>
              <div class="figure">
                <dt>{t("money.tariff")}</dt>
                <dd>{one.tariff}</dd>
              </div>
              <div class="figure">
                <dt>{t("nav.trackers")}</dt>
                <dd>
                  {one.devices}
                  {one.blocked > 0 && (
                    <>
                      {" "}
                      <span class="chip warn">{t("money.blocked", { count: one.blocked })}</span>
                    </>
                  )}
                </dd>
              </div>
              {told && (
                <>
                  <div class="figure">
                    <dt>{t("money.lasts")}</dt>
                    <dd>{lastsUntil(told) ? date(lastsUntil(told)) : t("money.beyond", { when: date(told.until) })}</dd>
                  </div>
                  <div class="figure">
                    <dt>{t("money.balanceThen", { when: date(told.until) })}</dt>
                    <dd>{money(told.balanceThen, one.currency)}</dd>
                  </div>
                </>
              )}
            </dl>
            {one.blocked > 0 && Number(one.minTopup ?? 0) > 0 && (
              <div class="notice warn">
                <Icon name="info" />
                <span>{t("money.needed", { amount: money(one.minTopup, one.currency) })}</span>
              </div>
            )}
            {may("money") && (
              <div class="row">
                <Button kind="primary" icon="plus" onClick={() => (paying.value = true)}>
                  {t("money.topUp")}
                </Button>
              </div>
            )}
            {told && <Outlook told={told} />}
            <Payments id={id} />
            <Recent id={id} />
            {paying.value && (
              <PayDialog
                title={t("money.topUp")}
                amount={one.minTopup ?? ""}
                currency={one.currency}
                accountId={id}
                onClose={() => (paying.value = false)}
                onDone={async () => {
                  paying.value = false;
                  await account.reload();
                }}
              />
            )}
          </>
        );
      }}
    </Remote>
  );
}

/** Which trackers the balance will not reach, and when. */
function Outlook({ told }: { told: Forecast }) {
  const ahead = told.trackers
    .filter((one) => one.blockedAt && Date.parse(one.blockedAt) > Date.now())
    .sort((a, b) => String(a.blockedAt).localeCompare(String(b.blockedAt)));
  if (ahead.length === 0) return null;
  return (
    <Table
      title={t("money.outlook")}
      columns={[
        t("trackers.tracker"),
        { label: t("trackers.state"), class: "phone-hidden" },
        t("money.blockedFrom"),
      ]}
    >
      {ahead.slice(0, OUTLOOK_ROWS).map((one) => (
        <tr key={one.uniqueId}>
          <td>
            <strong>{byUniqueId(one.uniqueId)}</strong> <code class="small muted">{one.uniqueId}</code>
          </td>
          <td class="phone-hidden">{stateName(one.state)}</td>
          <td>{dateTime(one.blockedAt)}</td>
        </tr>
      ))}
    </Table>
  );
}

const byUniqueId = (uniqueId: string): string =>
  [...devices.value.values()].find((device) => device.uniqueId === uniqueId)?.name ?? "";

function Recent({ id }: { id: number }) {
  const ledger = useRemote(() => api.get<Ledger>(`/accounts/${id}/ledger`, { limit: RECENT_ROWS }), [id]);
  const entries = ledger.value.value?.entries ?? [];
  if (entries.length === 0) return null;
  return (
    <LedgerTable
      title={t("money.recent")}
      link={
        <a href={`/money?tab=ledger&account=${id}`} onClick={follow}>
          {t("money.ledger")}
        </a>
      }
      entries={entries.slice(0, RECENT_ROWS)}
      currency={entries[0]!.currency}
    />
  );
}

function Payments({ id }: { id: number }) {
  const payments = useRemote(() => api.get<Payment[]>(`/accounts/${id}/payments`), [id]);
  const list = payments.value.value ?? [];
  if (list.length === 0) return null;
  return (
    <Table title={t("money.payments")} cards>
      {list.map((one) => (
        <tr key={one.id}>
          <td>{dateTime(one.paidAt ?? one.createdAt)}</td>
          <td class="right strong">{money(one.amount, one.currency)}</td>
          <td>{one.gateway}</td>
          <td>
            <span class={`chip ${one.state === "paid" ? "good" : one.state === "failed" ? "bad" : "info"}`}>
              {stateName(one.state)}
            </span>
          </td>
          <td class="right">
            {one.url && one.state !== "paid" && (
              <a class="button small" href={one.url}>
                {t("trackers.pay")}
              </a>
            )}
          </td>
        </tr>
      ))}
    </Table>
  );
}

// ------------------------------------------------------------------------------------------------- ledger, invoices

export const kindName = (kind: string): string => maybe(`ledger.${kind}`, kind);

export function LedgerTable({
  entries,
  currency,
  title,
  link,
}: {
  entries: readonly Omit<LedgerEntry, "id" | "currency">[];
  currency: string;
  title?: string;
  link?: ComponentChildren;
}) {
  const columns = [
    t("ledger.at"),
    t("ledger.what"),
    { label: t("field.amount"), class: "right" },
    { label: t("money.balance"), class: "right" },
  ];
  return (
    <Table title={title} link={link} cards columns={columns}>
      {entries.map((entry, at) => (
        <tr key={at}>
          <td class="nowrap">{dateTime(entry.at)}</td>
          <td>
            <span class="strong">{kindName(entry.kind)}</span>{" "}
            <span class="muted small">{[entry.device, calendarDate(entry.date)].filter(Boolean).join(" · ")}</span>
          </td>
          <td class="right nowrap">{money(entry.amount, currency)}</td>
          <td class="right nowrap muted">{money(entry.balance, currency)}</td>
        </tr>
      ))}
    </Table>
  );
}

function LedgerTab({ id }: { id: number }) {
  const more = useSignal<LedgerEntry[]>([]);
  const cursor = useSignal<string | null>(null);
  const ledger = useRemote(async () => {
    const first = await api.get<Ledger>(`/accounts/${id}/ledger`, { limit: LEDGER_ROWS });
    more.value = [];
    cursor.value = first.next;
    return first;
  }, [id]);
  const onward = async () => {
    const next = await api.get<Ledger>(`/accounts/${id}/ledger`, { limit: LEDGER_ROWS, cursor: cursor.value });
    more.value = [...more.value, ...next.entries];
    cursor.value = next.next;
  };
  return (
    <>
      <div class="row">
        <a class="button" href={address(`/accounts/${id}/ledger.csv`)} download>
          <Icon name="download" /> CSV
        </a>
        <a class="button" href={address(`/accounts/${id}/statement.pdf`)} download>
          <Icon name="download" /> {t("money.statement")}
        </a>
      </div>
      <Remote remote={ledger}>
        {(first) => {
          const entries = [...first.entries, ...more.value];
          return entries.length === 0 ? (
            <Nothing icon="money" title={t("ledger.none")} />
          ) : (
            <>
              <LedgerTable entries={entries} currency={entries[0]!.currency} />
              {cursor.value && <Button onClick={onward}>{t("action.more")}</Button>}
            </>
          );
        }}
      </Remote>
    </>
  );
}

function Invoices({ id }: { id: number }) {
  const invoices = useRemote(() => api.get<Invoice[]>(`/accounts/${id}/invoices`), [id]);
  return (
    <Remote remote={invoices}>
      {(list) =>
        list.length === 0 ? (
          <Nothing icon="file" title={t("invoices.none")}>
            <p>{t("invoices.noneHint")}</p>
          </Nothing>
        ) : (
          <Table
            cards
            columns={[
              t("invoices.number"),
              t("invoices.issued"),
              { label: t("field.amount"), class: "right" },
              "PDF",
            ]}
          >
            {list.map((one) => (
              <tr key={one.id}>
                <td class="strong">{one.number}</td>
                <td>{date(one.issuedAt)}</td>
                <td class="right">{money(one.amount, one.currency)}</td>
                <td>
                  <a href={address(`/invoices/${one.id}.pdf`)} target="_blank" rel="noreferrer">
                    {t("invoices.open", { number: one.number })}
                  </a>
                </td>
              </tr>
            ))}
          </Table>
        )
      }
    </Remote>
  );
}

// ------------------------------------------------------------------------------------------------- tariffs

interface Preview {
  costNow: string;
  monthly: string;
  nextAllowed: string | null;
  effective: string | null;
  devices: { uniqueId: string; due: string | null }[];
}

function TariffTab({ id }: { id: number }) {
  const account = useRemote(() => api.get<Account>(`/accounts/${id}`), [id]);
  const tariffs = useRemote(() => api.get<Tariff[]>("/tariffs"), []);
  const chosen = useSignal<Tariff | null>(null);
  return (
    <Remote remote={account}>
      {(one) => (
        <Remote remote={tariffs}>
          {(list) => (
            <>
              <ul class="figures">
                {list.map((tariff) => (
                  <li key={tariff.id} class="figure stack tight">
                    <span class="strong">{tariff.name}</span>
                    <span>
                      <strong style={{ fontSize: "21px" }}>{money(tariff.monthly, tariff.currency)}</strong>{" "}
                      <span class="muted small">{t("tariff.perTracker")}</span>
                    </span>
                    <span class="small muted">{maybe(`tariff.${tariff.mode}`, tariff.mode)}</span>
                    {tariff.id === one.tariffId || tariff.name === one.tariff ? (
                      <span class="chip good">{t("tariff.current")}</span>
                    ) : (
                      may("money") && (
                        <Button small onClick={() => (chosen.value = tariff)}>
                          {t("tariff.choose")}
                        </Button>
                      )
                    )}
                  </li>
                ))}
              </ul>
              {chosen.value && (
                <Switch
                  account={one}
                  tariff={chosen.value}
                  onClose={() => (chosen.value = null)}
                  onDone={async () => {
                    chosen.value = null;
                    say(t("tariff.switched"));
                    await account.reload();
                  }}
                />
              )}
            </>
          )}
        </Remote>
      )}
    </Remote>
  );
}

/** What a switch would cost, before it is done. */
function Switch({
  account,
  tariff,
  onClose,
  onDone,
}: {
  account: Account;
  tariff: Tariff;
  onClose: () => void;
  onDone: () => Promise<unknown>;
}) {
  const preview = useRemote(
    () => api.get<Preview>(`/accounts/${account.id}/switch`, { tariffId: tariff.id }),
    [account.id, tariff.id],
  );
  return (
    <Dialog
      title={t("tariff.switchTo", { name: tariff.name })}
      onClose={onClose}
      submit={t("tariff.switch")}
      onSubmit={async () => {
        await api.post(`/accounts/${account.id}/switch`, { tariffId: tariff.id });
        await onDone();
      }}
    >
      <Remote remote={preview}>
        {(told) => (
          <>
            <dl class="facts">
              <dt>{t("tariff.costNow")}</dt>
              <dd class="strong">{money(told.costNow, account.currency)}</dd>
              <dt>{t("money.monthly")}</dt>
              <dd>{money(told.monthly, account.currency)}</dd>
              <dt>{t("money.balance")}</dt>
              <dd>{money(account.balance, account.currency)}</dd>
              {told.effective && (
                <>
                  <dt>{t("tariff.effective")}</dt>
                  <dd>{dateTime(told.effective)}</dd>
                </>
              )}
              {told.nextAllowed && (
                <>
                  <dt>{t("tariff.nextAllowed")}</dt>
                  <dd>{dateTime(told.nextAllowed)}</dd>
                </>
              )}
            </dl>
            {told.devices.some((one) => Number(one.due) > 0) && (
              <div class="notice warn">
                <Icon name="info" />
                <span>{t("tariff.short")}</span>
              </div>
            )}
          </>
        )}
      </Remote>
    </Dialog>
  );
}
