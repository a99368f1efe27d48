/** What stands around every view: navigation, the map, messages. */

import { useSignal } from "@preact/signals";
import { type ComponentType, lazy, Suspense } from "preact/compat";
import { useEffect } from "preact/hooks";

import { adrift, asOf, connect, devices, disconnect, isBlocked, onEvent } from "../core/fleet.ts";
import { time } from "../core/format.ts";
import { dark, theme } from "../core/preferences.ts";
import { follow, go, place } from "../core/router.ts";
import { config, isGuest, may, operator, signOut, user } from "../core/session.ts";
import type { Event } from "../core/types.ts";
import { t } from "../i18n/index.ts";
import { Stage } from "../map/stage.tsx";
import { Icon, type IconName } from "../ui/icon.tsx";
import { Button, Loading, Page, say, Toasts } from "../ui/parts.tsx";
import { eventName } from "./words.ts";

interface View {
  path: string;
  label: string;
  icon: IconName;
  onMap: boolean;
  show: () => boolean;
  component: ComponentType;
}

const view = (
  path: string,
  icon: IconName,
  load: () => Promise<{ default: ComponentType }>,
  options: { onMap?: boolean; show?: () => boolean } = {},
): View => ({
  path,
  label: path.slice(1),
  icon,
  onMap: options.onMap ?? false,
  show: options.show ?? (() => true),
  component: lazy(() => load().catch(() => ({ default: Unloaded }))),
});

/** A view whose program did not come: the server is away, or has another page by now. Loading again cures both. */
const Unloaded = () => (
  <Page title={t("error.network")}>
    <div class="row">
      <Button icon="refresh" onClick={() => location.reload()}>
        {t("action.retry")}
      </Button>
    </div>
  </Page>
);

/** An address that is none of ours: mistyped, or of a page that there once was. */
const Missing = () => (
  <Page title={t("missing.title")} about={t("missing.about")}>
    <div class="row">
      <a class="button primary" href="/live" onClick={follow}>
        <Icon name="map" />
        {t("missing.home")}
      </a>
    </div>
  </Page>
);

const known = () => !isGuest.value;

const VIEWS: readonly View[] = [
  view("/live", "map", () => import("./live.tsx"), { onMap: true }),
  view("/history", "history", () => import("./history.tsx"), { onMap: true, show: known }),
  view("/trackers", "trackers", () => import("./trackers.tsx"), { show: () => known() && may("devices") }),
  view("/fences", "fence", () => import("./fences.tsx"), { onMap: true, show: known }),
  view("/alerts", "bell", () => import("./alerts.tsx"), { show: known }),
  view("/reports", "file", () => import("./reports.tsx"), { show: () => known() && may("reports") }),
  view("/lists", "list", () => import("./lists.tsx"), { show: known }),
  view("/money", "money", () => import("./money.tsx"), { show: () => known() && may("books") }),
  view("/operator", "operator", () => import("./operator.tsx"), { show: () => operator.value }),
  view("/settings", "settings", () => import("./settings.tsx"), { show: known }),
];
const BAR_MAX = 4; // as many as a phone's bar holds beside "more"

function Links({ views }: { views: readonly View[] }) {
  const blocked = [...devices.value.values()].filter(isBlocked).length;
  return (
    <>
      {views.map((one) => (
        <li key={one.path}>
          <a href={one.path} aria-current={place.value.path === one.path ? "page" : undefined} onClick={follow}>
            <Icon name={one.icon} />
            {t(`nav.${one.label}` as "nav.live")}
            {one.path === "/trackers" && blocked > 0 && (
              <span class="badge" title={t("nav.blocked", { count: blocked })}>
                {blocked > 99 ? "99+" : blocked}
                <span class="visually-hidden">{t("nav.blocked", { count: blocked })}</span>
              </span>
            )}
          </a>
        </li>
      ))}
    </>
  );
}

function Extras() {
  return (
    <>
      <li>
        <button type="button" onClick={() => (theme.value = dark.value ? "light" : "dark")}>
          <Icon name={dark.value ? "sun" : "moon"} />
          {dark.value ? t("nav.light") : t("nav.dark")}
        </button>
      </li>
      {known() && (
        <li>
          <button type="button" onClick={() => void signOut()}>
            <Icon name="out" />
            {t("nav.signOut")}
          </button>
        </li>
      )}
    </>
  );
}

function Rail() {
  const more = useSignal(false);
  const shown = VIEWS.filter((one) => one.show());
  const narrow = useNarrow();
  useEffect(() => {
    more.value = false;
  }, [place.value]);
  if (!narrow) {
    return (
      <nav class="rail" aria-label={t("nav.main")}>
        <div class="brand">
          <img src="/favicon.svg" alt={config.value.title} />
        </div>
        <ul>
          <Links views={shown} />
        </ul>
        <div class="spacer" />
        <ul>
          <Extras />
        </ul>
      </nav>
    );
  }
  return (
    <nav class="rail" aria-label={t("nav.main")}>
      {more.value && (
        <ul class="more">
          <Links views={shown.slice(BAR_MAX)} />
          <Extras />
        </ul>
      )}
      <ul>
        <Links views={shown.slice(0, BAR_MAX)} />
        <li>
          <button type="button" aria-expanded={more.value} onClick={() => (more.value = !more.value)}>
            <Icon name="more" />
            {t("nav.more")}
          </button>
        </li>
      </ul>
    </nav>
  );
}

function useNarrow(): boolean {
  const query = matchMedia("(max-width: 760px)");
  const narrow = useSignal(query.matches);
  useEffect(() => {
    const changed = () => (narrow.value = query.matches);
    query.addEventListener("change", changed);
    return () => query.removeEventListener("change", changed);
  }, []);
  return narrow.value;
}

function announce(event: Event) {
  const name = devices.value.get(event.deviceId)?.name ?? "";
  const message = event.attributes?.message;
  say(typeof message === "string" ? message : `${name}: ${eventName(event.type, event.attributes)}`, "warn");
}

export function Shell() {
  useEffect(() => {
    connect();
    const stop = onEvent(announce);
    return () => {
      stop();
      disconnect();
    };
  }, [user.value?.id]);
  const shown = VIEWS.filter((one) => one.show());
  const path = place.value.path;
  const current = shown.find((one) => one.path === path);
  const missing = path !== "/" && !VIEWS.some((one) => one.path === path);
  useEffect(() => {
    if (!current && !missing) go("/live", {}, true); // it is there, but not for this person
  }, [current, missing]);
  useEffect(() => {
    const name = current ? t(`nav.${current.label}` as "nav.live") : missing && t("missing.title");
    document.title = name ? `${name} · ${config.value.title}` : config.value.title;
  });
  const Current = current?.component;
  const actor = (user.value as { actorId?: number | null } | null | undefined)?.actorId;
  return (
    <div class="shell">
      <a class="skip" href="#content">
        {t("nav.skip")}
      </a>
      <Rail />
      <main class="main">
        <Stage shown={current?.onMap ?? false} />
        {actor && (
          <div class="impersonation" role="status">
            {t("impersonation.text", { name: user.value?.email ?? "" })}
            <button type="button" class="button small" onClick={() => void signOut()}>
              {t("impersonation.end")}
            </button>
          </div>
        )}
        {adrift.value && (
          <div class="banner" role="status">
            {t("state.reconnecting")}
            {asOf.value && ` · ${t("state.asOf", { time: time(asOf.value) })}`}
          </div>
        )}
        {Current && (
          <Suspense fallback={<Loading />}>
            <Current key={current.path} />
          </Suspense>
        )}
        {missing && <Missing />}
      </main>
      <Toasts />
    </div>
  );
}
