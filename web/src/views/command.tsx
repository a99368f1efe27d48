/** Telling a tracker something: what it understands, and whether it was told at once or when it comes. */

import { useSignal } from "@preact/signals";

import { api } from "../core/api.ts";
import { maybe, t } from "../i18n/index.ts";
import { Check, Dialog, Remote, say, Select, TextField, useRemote } from "../ui/parts.tsx";

/** What a kind of command wants to know, with the type of its field. */
const WANTS: Record<string, readonly (readonly [string, "text" | "number" | "switch"])[]> = {
  alarmSos: [["enable", "switch"]],
  custom: [["data", "text"]],
  outputControl: [["data", "text"]],
  positionPeriodic: [["frequency", "number"]],
  setSpeedLimit: [["speed", "number"]],
  setConnection: [["server", "text"], ["port", "number"]],
  sosNumber: [["phone", "text"]],
};

export function CommandDialog({ deviceId, name, onClose }: { deviceId: number; name: string; onClose: () => void }) {
  const types = useRemote(() => api.get<{ type: string }[]>("/commands/types", { deviceId }), [deviceId]);
  const type = useSignal("");
  const said = useSignal<Record<string, string>>({});
  const chosen = type.value || types.value.value?.[0]?.type || "";
  const wants = WANTS[chosen] ?? [];
  const submit = async () => {
    const attributes: Record<string, string | number | boolean> = {};
    for (const [field, kind] of wants) {
      const value = said.value[field] ?? "";
      attributes[field] = kind === "switch" ? value !== "" : kind === "number" ? Number(value) : value;
    }
    const queued = await api.queueCommand({ deviceId, type: chosen, attributes });
    say(queued ? t("command.queued", { name }) : t("command.sent", { name }));
    onClose();
  };
  return (
    <Dialog title={t("command.title", { name })} onClose={onClose} onSubmit={chosen ? submit : undefined} submit={t("command.send")}>
      <Remote remote={types}>
        {(list) =>
          list.length === 0 ? (
            <p>{t("command.none")}</p>
          ) : (
            <Select
              label={t("command.type")}
              value={chosen}
              options={list.map((one) => [one.type, maybe(`commandType.${one.type}`, one.type)] as const)}
              onChange={(value) => (type.value = value)}
            />
          )
        }
      </Remote>
      {wants.map(([field, kind]) =>
        kind === "switch" ? (
          <Check
            key={`${chosen} ${field}`}
            checked={Boolean(said.value[field])}
            onChange={(on) => (said.value = { ...said.value, [field]: on ? "on" : "" })}
          >
            {t("command.enable")}
          </Check>
        ) : (
        <TextField
          key={`${chosen} ${field}`}
          label={t(`command.${field}` as "command.data")}
          type={kind}
          required
          value={said.value[field] ?? ""}
          onInput={(value) => (said.value = { ...said.value, [field]: value })}
        />
        ),
      )}
    </Dialog>
  );
}
