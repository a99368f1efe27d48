/** What is one's own: name, language, units, zone, password, second factor, tokens, shared links. */

import { useSignal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";

import { api } from "../core/api.ts";
import { dateTime } from "../core/format.ts";
import { theme, type Theme, units, type Units, zone } from "../core/preferences.ts";
import { changeSelf, config, user } from "../core/session.ts";
import { language, type Language, LANGUAGES, maybe, speak, t } from "../i18n/index.ts";
import { Icon } from "../ui/icon.tsx";
import { Button, Confirm, Dialog, Field, Page, Remote, say, Select, TextField, useRemote } from "../ui/parts.tsx";
import { CodeField, NewPassword } from "./front.tsx";
import { ZoneSelect } from "./operator.tsx";
import { Copy } from "./share.tsx";

const THEMES: readonly Theme[] = ["auto", "light", "dark"];
const UNITS: readonly Units[] = ["km", "mi", "nmi"];
const TOKEN_DAYS = [7, 30, 365] as const;
const DAY_MS = 86_400_000;

export default function Settings() {
  return (
    <Page title={t("nav.settings")} about={user.value?.email ?? ""}>
      <Look />
      <Self />
      <SecondFactor />
      <Tokens />
      <p class="small muted">
        {config.value.title} {config.value.version}
      </p>
    </Page>
  );
}

function Look() {
  const keep = (name: string, value: string) =>
    changeSelf((who) => ({ ...who, attributes: { ...who.attributes, [name]: value } })).catch(() => {
      /* it holds in this browser all the same */
    });
  return (
    <section class="card stack" aria-labelledby="look">
      <h2 id="look">{t("settings.look")}</h2>
      <div class="fields">
        <Select
          label={t("field.language")}
          value={language.value}
          options={Object.entries(LANGUAGES) as [Language, string][]}
          onChange={async (value) => {
            await speak(value);
            await keep("language", value);
          }}
        />
        <Select
          label={t("settings.units")}
          value={units.value}
          options={UNITS.map((one) => [one, t(`units.${one}`)] as const)}
          onChange={(value) => {
            units.value = value;
            void keep("units", value);
          }}
        />
        <ZoneSelect
          value={zone.value}
          onChange={(value) => {
            zone.value = value;
            void keep("timezone", value);
          }}
        />
        <Select
          label={t("settings.theme")}
          value={theme.value}
          options={THEMES.map((one) => [one, t(`theme.${one}`)] as const)}
          onChange={(value) => (theme.value = value)}
        />
      </div>
    </section>
  );
}

function Self() {
  const name = useSignal(user.value?.name ?? "");
  const changing = useSignal(false);
  const password = useSignal("");
  return (
    <section class="card stack" aria-labelledby="self">
      <h2 id="self">{t("settings.self")}</h2>
      <form
        class="row wrap"
        style={{ alignItems: "flex-end" }}
        onSubmit={(event) => {
          event.preventDefault();
          changeSelf((who) => ({ ...who, name: name.value.trim() })).then(
            () => say(t("action.saved")),
            (error: Error) => say(error.message, "bad"),
          );
        }}
      >
        <div class="grow">
          <TextField label={t("field.name")} required maxLength={128} value={name.value} onInput={(value) => (name.value = value)} />
        </div>
        <button type="submit" class="button">
          {t("action.save")}
        </button>
        <Button icon="key" onClick={() => (changing.value = true)}>
          {t("settings.password")}
        </Button>
      </form>
      {changing.value && (
        <Dialog
          title={t("settings.password")}
          onClose={() => (changing.value = false)}
          onSubmit={async () => {
            await changeSelf((who) => ({ ...who, password: password.value }) as typeof who);
            changing.value = false;
            password.value = "";
            say(t("action.saved"));
          }}
        >
          <NewPassword value={password.value} onInput={(value) => (password.value = value)} />
        </Dialog>
      )}
    </section>
  );
}

// ------------------------------------------------------------------------------------------------- second factor

interface AuthenticatorKey {
  key: string;
  uri: string;
  picture: string;
}

function SecondFactor() {
  const made = useSignal<AuthenticatorKey | null>(null);
  const removing = useSignal(false);
  const on = Boolean(user.value?.totpKey);
  return (
    <section class="card stack" aria-labelledby="factor">
      <div class="card-head">
        <div>
          <h2 id="factor">{t("totp.title")}</h2>
          <p class="small muted">{t("totp.about")}</p>
        </div>
        {on ? (
          <span class="row">
            <span class="chip good">{t("state.on")}</span>
            <Button onClick={() => (removing.value = true)}>{t("totp.off")}</Button>
          </span>
        ) : (
          <Button
            icon="lock"
            onClick={async () => {
              made.value = await api.post<AuthenticatorKey>("/users/totp/new");
            }}
          >
            {t("totp.on")}
          </Button>
        )}
      </div>
      {made.value && <TurnOn made={made.value} onClose={() => (made.value = null)} />}
      {removing.value && (
        <Confirm
          title={t("totp.off")}
          text={t("totp.offText")}
          submit={t("totp.off")}
          onClose={() => (removing.value = false)}
          onConfirm={async () => {
            await changeSelf((who) => ({ ...who, totpKey: null }));
            removing.value = false;
          }}
        />
      )}
    </section>
  );
}

function TurnOn({ made, onClose }: { made: AuthenticatorKey; onClose: () => void }) {
  const picture = useMemo(() => URL.createObjectURL(new Blob([made.picture], { type: "image/svg+xml" })), [made.picture]);
  useEffect(() => () => URL.revokeObjectURL(picture), [picture]);
  const code = useSignal("");
  return (
    <Dialog
      title={t("totp.title")}
      onClose={onClose}
      submit={t("totp.on")}
      onSubmit={async () => {
        // not before the app shows its digits: whoever took it wrongly could not sign in again
        await api.post("/users/totp/check", { key: made.key, code: code.value.replace(/\s/g, "") });
        await changeSelf((who) => ({ ...who, totpKey: made.key }));
        say(t("action.saved"));
        onClose();
      }}
    >
      <p>{t("totp.step1")}</p>
      <img class="qr" src={picture} alt={t("totp.picture")} />
      <Field label={t("totp.key")} hint={t("totp.keyHint")}>
        {(id) => <input id={id} class="input" readOnly value={made.key} onFocus={(event) => event.currentTarget.select()} />}
      </Field>
      <div class="row wrap">
        <Copy text={made.key} />
        <a class="button" href={made.uri}>
          {t("totp.open")}
        </a>
      </div>
      <CodeField hint={t("totp.codeHint")} code={code} />
    </Dialog>
  );
}

// ------------------------------------------------------------------------------------------------- tokens

interface Token {
  id: number;
  kind: string;
  label: string;
  rights: string[] | null;
  deviceId: number | null;
  createdAt: string;
  expiration: string | null;
}

function Tokens() {
  const tokens = useRemote(() => api.get<Token[]>("/session/tokens"), []);
  const making = useSignal(false);
  const label = useSignal("");
  const days = useSignal<number>(30);
  const made = useSignal("");
  const close = () => {
    making.value = false;
    made.value = "";
  };
  return (
    <section class="card stack" aria-labelledby="tokens">
      <div class="card-head">
        <div>
          <h2 id="tokens">{t("tokens.title")}</h2>
          <p class="small muted">{t("tokens.about")}</p>
        </div>
        <Button icon="plus" onClick={() => (making.value = true)}>
          {t("tokens.make")}
        </Button>
      </div>
      <Remote remote={tokens}>
        {(list) => (
          <ul class="stack tight">
            {list.map((one) => (
              <li key={one.id} class="row between">
                <Icon name={one.kind === "share" ? "share" : "key"} />
                <span class="grow">
                  {one.label || maybe(`tokens.${one.kind}`, one.kind)}{" "}
                  <span class="muted small">
                    {one.expiration ? t("tokens.until", { when: dateTime(one.expiration) }) : ""}
                  </span>
                </span>
                <Button
                  small
                  kind="danger"
                  onClick={async () => {
                    await api.form("/session/token/revoke", { id: String(one.id) });
                    await tokens.reload();
                  }}
                >
                  {t("tokens.revoke")}
                </Button>
              </li>
            ))}
          </ul>
        )}
      </Remote>
      {making.value && (
        <Dialog
          title={t("tokens.make")}
          onClose={close}
          submit={t("tokens.make")}
          onSubmit={
            made.value
              ? undefined
              : async () => {
                  made.value = await api.formText("/session/token", {
                    expiration: new Date(Date.now() + days.value * DAY_MS).toISOString(),
                    label: label.value.trim(),
                  });
                  await tokens.reload();
                }
          }
        >
          {made.value ? (
            <>
              <Field label={t("tokens.token")} hint={t("tokens.once")}>
                {(id) => <input id={id} class="input" readOnly value={made.value} onFocus={(event) => event.currentTarget.select()} />}
              </Field>
              <Copy text={made.value} />
            </>
          ) : (
            <>
              <TextField label={t("tokens.label")} maxLength={200} value={label.value} onInput={(value) => (label.value = value)} />
              <Select
                label={t("shareDialog.for")}
                value={days.value}
                options={TOKEN_DAYS.map((one) => [one as number, t("tokens.days", { count: one })] as const)}
                onChange={(value) => (days.value = value)}
              />
            </>
          )}
        </Dialog>
      )}
    </section>
  );
}
