/** Before anybody is in: signing in, the first start's set-up, a lost password. */

import { type Signal, useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";

import { api, ApiError } from "../core/api.ts";
import { go, place } from "../core/router.ts";
import { config, ended, resume, resumeByToken, signIn } from "../core/session.ts";
import { language, type Language, LANGUAGES, speak, t } from "../i18n/index.ts";
import { Icon } from "../ui/icon.tsx";
import { sentence, Spinner, TextField } from "../ui/parts.tsx";
import { useEffect } from "preact/hooks";

export const PASSWORD_MIN = 8;

function Front({ title, about, children }: { title: string; about?: string; children: ComponentChildren }) {
  return (
    <main class="front">
      <div class="card">
        <div class="brand">
          <img src="/favicon.svg" alt="" />
          <span>{config.value.title}</span>
        </div>
        <div>
          <h1>{title}</h1>
          {about && <p class="muted">{about}</p>}
        </div>
        {children}
        <div class="languages">
          {(Object.keys(LANGUAGES) as Language[]).map((code) => (
            <button
              key={code}
              type="button"
              class="button quiet small"
              lang={code}
              aria-pressed={language.value === code}
              onClick={() => void speak(code)}
            >
              {LANGUAGES[code]}
            </button>
          ))}
        </div>
      </div>
    </main>
  );
}

function Problem({ text }: { text: string }) {
  return text ? (
    <div class="notice bad" role="alert">
      <Icon name="info" />
      <span>{text}</span>
    </div>
  ) : null;
}

/** A form that says what went wrong, and cannot be sent twice at once. */
function useForm(send: () => Promise<unknown>) {
  const problem = useSignal("");
  const busy = useSignal(false);
  const onSubmit = async (event: SubmitEvent) => {
    event.preventDefault();
    if (busy.value) return;
    busy.value = true;
    problem.value = "";
    try {
      await send();
    } catch (error) {
      problem.value = sentence(error);
    } finally {
      busy.value = false;
    }
  };
  return { problem, busy, onSubmit };
}

function EmailField({ email, autofocus }: { email: Signal<string>; autofocus?: boolean }) {
  return (
    <TextField
      label={t("field.email")}
      type="email"
      name="email"
      autocomplete="username"
      required
      autofocus={autofocus}
      value={email.value}
      onInput={(value) => (email.value = value)}
    />
  );
}

/** The six digits that an authenticator shows. */
export function CodeField({ hint, code }: { hint: string; code: Signal<string> }) {
  return (
    <TextField
      label={t("signin.code")}
      hint={hint}
      name="code"
      inputMode="numeric"
      autocomplete="one-time-code"
      required
      value={code.value}
      onInput={(value) => (code.value = value)}
    />
  );
}

export function SignIn() {
  const email = useSignal("");
  const password = useSignal("");
  const code = useSignal("");
  const wantsCode = useSignal(false);
  const lost = useSignal(false);
  const form = useForm(async () => {
    try {
      await signIn(email.value.trim(), password.value, code.value.replace(/\s/g, ""));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.totp) {
        const first = !wantsCode.value;
        wantsCode.value = true;
        if (first) return;
        throw new Error(t("signin.wrongCode"));
      }
      if (error.status === 401) throw new Error(t("signin.wrong"));
      throw error;
    }
  });
  if (lost.value) return <Lost onBack={() => (lost.value = false)} />;
  return (
    <Front title={t("signin.title")} about={ended.value ? t("signin.ended") : undefined}>
      {config.value.openid !== "off" && (
        <a class="button primary" href="/api/session/openid/auth">
          {t("signin.openid")}
        </a>
      )}
      <form onSubmit={form.onSubmit} hidden={config.value.openid === "only"}>
        <EmailField autofocus email={email} />
        <TextField
          label={t("field.password")}
          type="password"
          name="password"
          autocomplete="current-password"
          required
          value={password.value}
          onInput={(value) => (password.value = value)}
        />
        {wantsCode.value && <CodeField hint={t("signin.codeHint")} code={code} />}
        <Problem text={form.problem.value} />
        <button type="submit" class="button primary" aria-disabled={form.busy.value || undefined}>
          {t("signin.submit")}
        </button>
        <button type="button" class="button quiet small" onClick={() => (lost.value = true)}>
          {t("signin.lost")}
        </button>
      </form>
    </Front>
  );
}

function Lost({ onBack }: { onBack: () => void }) {
  const email = useSignal("");
  const sent = useSignal(false);
  const form = useForm(async () => {
    await api.form("/password/reset", { email: email.value.trim() });
    sent.value = true;
  });
  return (
    <Front title={t("lost.title")} about={t("lost.about")}>
      <form onSubmit={form.onSubmit}>
        {sent.value ? (
          <div class="notice good" role="status">
            <Icon name="mail" />
            <span>{t("lost.sent")}</span>
          </div>
        ) : (
          <EmailField email={email} />
        )}
        <Problem text={form.problem.value} />
        {!sent.value && (
          <button type="submit" class="button primary" aria-disabled={form.busy.value || undefined}>
            {t("lost.submit")}
          </button>
        )}
        <button type="button" class="button quiet" onClick={onBack}>
          {t("action.back")}
        </button>
      </form>
    </Front>
  );
}

/** The link of a reset mail, or of an invitation: a new password for whoever holds it. */
export function Reset() {
  const token = place.value.query.get("token") ?? place.value.query.get("passwordReset") ?? "";
  const password = useSignal("");
  const form = useForm(async () => {
    await api.form("/password/update", { token, password: password.value });
    go("/", {}, true);
  });
  return (
    <Front title={t("reset.title")}>
      <form onSubmit={form.onSubmit}>
        <NewPassword value={password.value} onInput={(value) => (password.value = value)} />
        <Problem text={form.problem.value} />
        <button type="submit" class="button primary" aria-disabled={form.busy.value || undefined}>
          {t("reset.submit")}
        </button>
      </form>
    </Front>
  );
}

export function NewPassword({ value, onInput }: { value: string; onInput: (value: string) => void }) {
  return (
    <TextField
      label={t("field.newPassword")}
      hint={t("field.passwordHint", { least: PASSWORD_MIN })}
      type="password"
      name="new-password"
      autocomplete="new-password"
      minLength={PASSWORD_MIN}
      required
      value={value}
      onInput={onInput}
    />
  );
}

/** The one-time link that the first start prints: makes the first administrator. */
export function SetUp() {
  const token = place.value.query.get("token") ?? "";
  const name = useSignal("");
  const email = useSignal("");
  const password = useSignal("");
  const form = useForm(async () => {
    await api.form("/setup", {
      token,
      name: name.value.trim(),
      email: email.value.trim(),
      password: password.value,
    });
    await resume().catch(() => null);
    go("/trackers", { add: "1" }, true);
  });
  return (
    <Front title={t("setup.title")} about={t("setup.about")}>
      <form onSubmit={form.onSubmit}>
        <TextField
          label={t("field.name")}
          name="name"
          autocomplete="name"
          required
          autofocus
          value={name.value}
          onInput={(value) => (name.value = value)}
        />
        <EmailField email={email} />
        <NewPassword value={password.value} onInput={(value) => (password.value = value)} />
        <Problem text={form.problem.value} />
        <button type="submit" class="button primary" aria-disabled={form.busy.value || undefined}>
          {t("setup.submit")}
        </button>
      </form>
    </Front>
  );
}

/** A guest's link: the token becomes a session, and leaves the address bar. */
export function Share() {
  const problem = useSignal("");
  useEffect(() => {
    resumeByToken(place.value.query.get("token") ?? "").then(
      () => go("/live", {}, true),
      (error: unknown) => {
        const ended = error instanceof ApiError && [401, 403, 404].includes(error.status);
        problem.value = ended ? t("share.ended") : sentence(error);
      },
    );
  }, []);
  return (
    <Front title={t("share.title")}>{problem.value ? <Problem text={problem.value} /> : <Spinner />}</Front>
  );
}
