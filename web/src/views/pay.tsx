/** Paying: through a gateway, or, for the operator's people, by hand. */

import { useSignal } from "@preact/signals";

import { api } from "../core/api.ts";
import { money } from "../core/format.ts";
import { operator, user } from "../core/session.ts";
import { t } from "../i18n/index.ts";
import { Dialog, Empty, Remote, say, Select, TextField, useRemote } from "../ui/parts.tsx";

interface Gateway {
  name: string;
  title: string;
  currencies: string[];
}

export const newKey = (): string => crypto.randomUUID();

export function PayDialog({
  title,
  amount: wanted,
  currency,
  accountId,
  onClose,
  onDone,
}: {
  title: string;
  amount: string;
  currency: string;
  accountId?: number;
  onClose: () => void;
  onDone: () => Promise<unknown>;
}) {
  const amount = useSignal(wanted && Number(wanted) > 0 ? wanted : "");
  const gateway = useSignal("");
  const byHand = operator.value;
  const key = useSignal(newKey()); // one for the dialog: sent twice, it is one payment
  const gateways = useRemote(() => (byHand ? Promise.resolve([]) : api.get<Gateway[]>("/gateways")), []);
  const account = accountId ?? user.value?.accountId;
  const fitting = (gateways.value.value ?? []).filter((one) => one.currencies.length === 0 || one.currencies.includes(currency));
  const submit = async () => {
    if (!account) throw new Error(t("pay.noAccount"));
    if (byHand) {
      await api.post(`/accounts/${account}/topup`, { amount: amount.value, key: key.value });
      say(t("pay.done", { amount: money(amount.value, currency) }));
      await onDone();
      return;
    }
    const chosen = gateway.value || fitting[0]?.name;
    const told = await api.post<{ url: string }>(`/accounts/${account}/checkout`, {
      amount: amount.value,
      gateway: chosen,
    });
    location.assign(told.url);
  };
  return (
    <Dialog title={title} onClose={onClose} onSubmit={byHand || fitting.length > 0 ? submit : undefined} submit={byHand ? t("pay.byHand") : t("pay.go")} kind="pay">
      <Remote remote={gateways}>
        {() => {
          if (!byHand && fitting.length === 0) return <Empty icon="money" title={t("pay.noGateway")} />;
          return (
            <>
              <p class="muted">{byHand ? t("pay.byHandAbout") : t("pay.about")}</p>
              <TextField
                label={`${t("field.amount")} (${currency})`}
                inputMode="decimal"
                pattern="[0-9]+([.][0-9]+)?"
                required
                value={amount.value}
                onInput={(value) => (amount.value = value.replace(",", "."))}
              />
              {fitting.length > 1 && (
                <Select
                  label={t("pay.gateway")}
                  value={gateway.value || fitting[0]!.name}
                  options={fitting.map((one) => [one.name, one.title] as const)}
                  onChange={(value) => (gateway.value = value)}
                />
              )}
            </>
          );
        }}
      </Remote>
    </Dialog>
  );
}
