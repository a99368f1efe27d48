/** A link by which somebody without an account sees one tracker for a while. */

import { useSignal } from "@preact/signals";

import { api } from "../core/api.ts";
import { dateTime } from "../core/format.ts";
import type { Device } from "../core/types.ts";
import { t } from "../i18n/index.ts";
import { Button, Dialog, Field, say, Select } from "../ui/parts.tsx";

const HOUR_MS = 3_600_000;

export function ShareDialog({ device, onClose }: { device: Device; onClose: () => void }) {
  const hours = useSignal(24);
  const link = useSignal("");
  const ends = useSignal("");
  const make = async () => {
    const expiration = new Date(Date.now() + hours.value * HOUR_MS).toISOString();
    const token = await api.formText("/share/device", { deviceId: String(device.id), expiration });
    ends.value = expiration;
    link.value = `${location.origin}/share?token=${encodeURIComponent(token.trim())}`;
  };
  return (
    <Dialog
      title={t("shareDialog.title", { name: device.name })}
      onClose={onClose}
      onSubmit={link.value ? undefined : make}
      submit={t("shareDialog.make")}
    >
      <p class="muted">{t("shareDialog.about")}</p>
      {link.value ? (
        <>
          <Field label={t("shareDialog.link")} hint={dateTime(ends.value)}>
            {(id) => <input id={id} class="input" readOnly value={link.value} onFocus={(event) => event.currentTarget.select()} />}
          </Field>
          <Copy text={link.value} />
        </>
      ) : (
        <Select
          label={t("shareDialog.for")}
          value={hours.value}
          options={[
            [1, t("shareDialog.hour")],
            [24, t("shareDialog.day")],
            [168, t("shareDialog.week")],
          ]}
          onChange={(value) => (hours.value = value)}
        />
      )}
    </Dialog>
  );
}

export function Copy({ text }: { text: string }) {
  return (
    <Button
      onClick={async () => {
        await navigator.clipboard.writeText(text);
        say(t("action.copied"));
      }}
    >
      {t("action.copy")}
    </Button>
  );
}
