/** What trackers would cost: the billing engine itself, on an imagined account. */

import { useSignal } from "@preact/signals";

import { api } from "../core/api.ts";
import { dateAt, shift, startOf } from "../core/days.ts";
import { dateTime, money } from "../core/format.ts";
import { zone } from "../core/preferences.ts";
import type { LedgerEntry } from "../core/types.ts";
import { t } from "../i18n/index.ts";
import { complain, Remote, Select, TextField, useRemote } from "../ui/parts.tsx";
import { LedgerTable, type Tariff } from "./money.tsx";
import { reasonName, stateName } from "./words.ts";

interface Outcome {
  entries: Omit<LedgerEntry, "id" | "currency">[];
  devices: Record<string, { state: string; reason: string | null; due: string; paid_until: string | null }>;
  balance: string;
}

const TRACKERS_MAX = 200;

export function Calculator() {
  const tariffs = useRemote(() => api.get<Tariff[]>("/tariffs"), []);
  const chosen = useSignal(0);
  const trackers = useSignal("3");
  const topUp = useSignal("1000.00");
  const days = useSignal("60");
  const outcome = useSignal<{ told: Outcome; currency: string } | null>(null);
  const busy = useSignal(false);
  const run = async (tariff: Tariff) => {
    const first = dateAt(Date.now(), zone.value);
    const start = new Date(startOf(first, zone.value)).toISOString();
    const end = new Date(startOf(shift(first, Number(days.value)), zone.value)).toISOString();
    const count = Math.min(TRACKERS_MAX, Math.max(1, Number(trackers.value) || 1));
    const connect = Array.from({ length: count }, (_, at) => ({
      at: start,
      do: "connect",
      device: `T${at + 1}`,
      priority: at + 1,
      test: false,
    }));
    const told = await api.post<Outcome>("/what-if", {
      currency: tariff.currency,
      zone: zone.value,
      tariff: tariff.name,
      tariffs: { [tariff.name]: { mode: tariff.mode, monthly: tariff.monthly, ...(tariff.sms ? { sms: tariff.sms } : {}) } },
      start,
      end,
      actions: [...(Number(topUp.value) > 0 ? [{ at: start, do: "topup", amount: topUp.value, key: "calculator" }] : []), ...connect],
    });
    outcome.value = { told, currency: tariff.currency };
  };
  return (
    <Remote remote={tariffs}>
      {(list) => {
        const tariff = list.find((one) => one.id === chosen.value) ?? list.find((one) => Number(one.monthly) > 0) ?? list[0];
        if (!tariff) return null;
        return (
          <>
            <form
              class="card stack"
              onSubmit={(event) => {
                event.preventDefault();
                busy.value = true;
                run(tariff)
                  .catch(complain)
                  .finally(() => (busy.value = false));
              }}
            >
              <p class="muted">{t("calculator.about")}</p>
              <div class="fields">
                <Select
                  label={t("money.tariff")}
                  value={tariff.id}
                  options={list.map((one) => [one.id, `${one.name} · ${money(one.monthly, one.currency)}`] as const)}
                  onChange={(id) => (chosen.value = id)}
                />
                <TextField
                  label={t("nav.trackers")}
                  type="number"
                  min={1}
                  max={TRACKERS_MAX}
                  value={trackers.value}
                  onInput={(value) => (trackers.value = value)}
                />
                <TextField
                  label={`${t("calculator.paid")} (${tariff.currency})`}
                  inputMode="decimal"
                  value={topUp.value}
                  onInput={(value) => (topUp.value = value.replace(",", "."))}
                />
                <TextField label={t("calculator.days")} type="number" min={1} max={400} value={days.value} onInput={(value) => (days.value = value)} />
              </div>
              <div class="row">
                <button type="submit" class="button primary" disabled={busy.value}>
                  {t("calculator.run")}
                </button>
              </div>
            </form>
            {outcome.value && <Answer {...outcome.value} />}
          </>
        );
      }}
    </Remote>
  );
}

function Answer({ told, currency }: { told: Outcome; currency: string }) {
  return (
    <>
      <dl class="figures">
        <div class="figure">
          <dt>{t("calculator.left")}</dt>
          <dd>{money(told.balance, currency)}</dd>
        </div>
        {Object.entries(told.devices)
          .slice(0, 8)
          .map(([name, one]) => (
            <div class="figure small" key={name}>
              <dt>{name}</dt>
              <dd>
                <span class={`chip ${one.state === "active" ? "good" : "warn"}`}>{stateName(one.state)}</span>
              </dd>
              <dd class="small muted">{one.paid_until ? dateTime(one.paid_until) : reasonName(one.reason)}</dd>
            </div>
          ))}
      </dl>
      <LedgerTable entries={told.entries} currency={currency} />
    </>
  );
}
