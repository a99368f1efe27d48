/** Who is signed in, and what he may do. */

import { computed, signal } from "@preact/signals";

import { isLanguage, speak } from "../i18n/index.ts";
import { api, ApiError, signedOut } from "./api.ts";
import { type Units, units, zone } from "./preferences.ts";
import type { PageConfig, User } from "./types.ts";

export type Right =
  | "read"
  | "reports"
  | "write"
  | "devices"
  | "commands"
  | "share"
  | "self"
  | "users"
  | "books"
  | "money"
  | "operate"
  | "administer";

export const config = signal<PageConfig>({
  title: "Tracker server",
  version: "",
  tiles: "",
  tilesAttribution: "",
  tilesZoomMax: 19,
  languages: ["en"],
  openid: "off",
  geocoder: false,
});

/** undefined: not known yet; null: nobody. */
export const user = signal<User | null | undefined>(undefined);

export const operator = computed(() => {
  const role = user.value?.role;
  return role === "admin" || role === "staff" || (!role && Boolean(user.value?.administrator));
});

/** Somebody who came by a shared link: the live map of what was shared, and nothing else. */
export const isGuest = computed(() => user.value?.role === "guest" || Boolean(user.value?.temporary));

export function may(right: Right): boolean {
  const who = user.value;
  if (!who) return false;
  const rights = (who as User & { rights?: string[] }).rights;
  return rights ? rights.includes(right) : !who.readonly || right === "read";
}

async function greet(who: User) {
  const kept = who.attributes ?? {};
  if (isLanguage(kept.language)) await speak(kept.language);
  if (typeof kept.units === "string" && ["km", "mi", "nmi"].includes(kept.units)) units.value = kept.units as Units;
  if (typeof kept.timezone === "string" && kept.timezone) zone.value = kept.timezone;
  user.value = who;
}

const UNKNOWN: ReadonlySet<number> = new Set([401, 404]); // else the server is ill, and we may well be signed in

export async function resume(): Promise<void> {
  try {
    await greet(await api.get<User>("/session"));
  } catch (error) {
    if (!(error instanceof ApiError && UNKNOWN.has(error.status))) throw error;
    user.value = null;
  }
}

/** A guest's link brings its token; the server makes a session of it. */
export async function resumeByToken(token: string): Promise<void> {
  await greet(await api.get<User>("/session", { token }));
}

export async function signIn(email: string, password: string, code = ""): Promise<void> {
  const fields: Record<string, string> = { email, password };
  if (code) fields.code = code;
  await greet(await api.form<User>("/session", fields));
}

export async function signOut(): Promise<void> {
  await api.remove("/session").catch(() => null);
  user.value = null;
}

let changing: Promise<unknown> = Promise.resolve();

/** Changes of one's own user: read first, so that nothing else is touched, and one after the other. */
export function changeSelf(change: (who: User) => User): Promise<void> {
  const mine = changing.then(async () => {
    const now = await api.get<User>("/session");
    await api.put<User>(`/users/${now.id}`, change({ ...now, attributes: { ...now.attributes } }));
    user.value = await api.get<User>("/session");
  });
  changing = mine.catch(() => {
    /* the next change is not to wait for this one's success */
  });
  return mine;
}

/** Whether we were somebody until the server no longer knew us: said where one signs in again. */
export const ended = signal(false);

signedOut.listener = () => {
  if (!user.value) return;
  ended.value = true;
  user.value = null;
};
