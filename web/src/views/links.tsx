/** Which maintenance plans and drivers count for a tracker. */

import { type Signal, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";

import { api } from "../core/api.ts";
import { t } from "../i18n/index.ts";
import { Checks } from "../ui/parts.tsx";

const KINDS = { maintenance: "maintenanceId", drivers: "driverId" } as const;
type Kind = keyof typeof KINDS;
const NAMES = Object.keys(KINDS) as Kind[];

interface One {
  id: number;
  name: string;
}

export interface Links {
  all: Signal<readonly (readonly [string, string])[]>;
  chosen: Signal<readonly string[]>;
  save: () => Promise<void>;
}

/** Read at once; ``save`` writes what was ticked or unticked since. */
export function useLinks(deviceId: number): Links {
  const all = useSignal<readonly (readonly [string, string])[]>([]);
  const before = useSignal<readonly string[]>([]);
  const chosen = useSignal<readonly string[]>([]);
  useEffect(() => {
    const read = async () => {
      const keys = (kind: Kind, rows: readonly One[]) => rows.map((row) => [`${kind} ${row.id}`, row.name] as const);
      const [every, linked] = await Promise.all([
        Promise.all(NAMES.map(async (kind) => keys(kind, await api.get<One[]>(`/${kind}`)))),
        Promise.all(NAMES.map(async (kind) => keys(kind, await api.get<One[]>(`/${kind}`, { deviceId })))),
      ]);
      all.value = every.flat();
      before.value = chosen.value = linked.flat().map(([key]) => key);
    };
    void read().catch(() => {
      /* then there is nothing to tick, and nothing is changed */
    });
  }, [deviceId]);
  const pairs = (keys: readonly string[]) =>
    keys.map((key) => {
      const [kind, id] = key.split(" ") as [Kind, string];
      return { deviceId, [KINDS[kind]]: Number(id) };
    });
  const save = async () => {
    const added = chosen.value.filter((key) => !before.value.includes(key));
    const gone = before.value.filter((key) => !chosen.value.includes(key));
    if (added.length) await api.post("/permissions/bulk", pairs(added));
    if (gone.length) await api.remove("/permissions/bulk", pairs(gone));
  };
  return { all, chosen, save };
}

export function LinkChecks({ links }: { links: Links }) {
  if (links.all.value.length === 0) return null;
  return (
    <Checks
      label={t("lists.linked")}
      options={links.all.value}
      chosen={links.chosen.value}
      onChange={(chosen) => (links.chosen.value = chosen)}
    />
  );
}
