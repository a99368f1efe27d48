/** Small parts that all views are made of. */

import { type Signal, signal, useSignal } from "@preact/signals";
import type { ComponentChildren, JSX } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";

import { ApiError, kindOf, type Refusal, whyOf } from "../core/api.ts";
import { remembered } from "../core/focus.ts";
import { follow, place } from "../core/router.ts";
import { language, maybe, t } from "../i18n/index.ts";
import { Icon, type IconName } from "./icon.tsx";

// ------------------------------------------------------------------------------------------------- words of errors

/** Of these the server's sentence has more to tell: which field, which limit. */
const DETAILED: ReadonlySet<Refusal> = new Set(["forbidden", "tooLarge", "limit"]);

/** The sentence to show for whatever went wrong. The server speaks English: for what a person meets in forms the page has words of its
 * own, of the rest others are told the kind in their language.
 */
export function sentence(error: unknown): string {
  if (!(error instanceof ApiError)) return error instanceof Error ? error.message : t("error.unknown");
  const { reason, values } = whyOf(error);
  const told = maybe(`refusal.${reason}`, "", { ...values, field: maybe(`field.${values.field}`, String(values.field)) });
  if (told) return told;
  const kind = kindOf(error);
  if (!kind || (language.value === "en" && error.message)) return error.message || t("error.unknown");
  const words = t(`error.${kind}`, { minutes: Math.max(1, Math.ceil(error.retryAfterS / 60)) });
  return DETAILED.has(kind) ? `${words} ${error.message}`.trim() : words;
}

// ------------------------------------------------------------------------------------------------- toasts

interface Toast {
  id: number;
  kind: "good" | "bad" | "warn";
  text: string;
}

const TOASTS_MAX = 4; // more would cover the page
const toasts = signal<readonly Toast[]>([]);
let count = 0;

export function say(text: string, kind: Toast["kind"] = "good", forMs = 6_000): void {
  const id = ++count;
  toasts.value = [...toasts.value, { id, kind, text }].slice(-TOASTS_MAX);
  setTimeout(() => dismiss(id), kind === "bad" ? 12_000 : forMs);
}

const dismiss = (id: number) => {
  toasts.value = toasts.value.filter((toast) => toast.id !== id);
};

export const complain = (error: unknown): void => say(sentence(error), "bad");

export function Toasts() {
  return (
    <div class="toasts" role="status" aria-live="polite">
      {toasts.value.map((toast) => (
        <div key={toast.id} class={`toast ${toast.kind}`}>
          <div class="grow">{toast.text}</div>
          <button type="button" class="button quiet icon small" onClick={() => dismiss(toast.id)}>
            <Icon name="close" label={t("action.close")} />
          </button>
        </div>
      ))}
    </div>
  );
}

// ------------------------------------------------------------------------------------------------- buttons and fields

type ButtonProps = Omit<JSX.IntrinsicElements["button"], "icon" | "onClick"> & {
  icon?: IconName;
  kind?: "primary" | "quiet" | "danger" | "pay" | "";
  small?: boolean;
  /** Shown on hover and read aloud where the button is only a picture. */
  label?: string;
  onClick?: (event: MouseEvent) => unknown;
};

/** A button; while what it started goes on, it cannot be pressed again. What fails is said. */
export function Button({ icon, kind = "", small, label, children, onClick, disabled, ...rest }: ButtonProps) {
  const busy = useSignal(false);
  const press = async (event: MouseEvent) => {
    if (busy.value) return; // not disabled meanwhile: the keyboard's focus would be lost
    const outcome = onClick?.(event);
    if (!(outcome instanceof Promise)) return;
    busy.value = true;
    try {
      await outcome;
    } catch (error) {
      complain(error);
    } finally {
      busy.value = false;
    }
  };
  return (
    <button
      type="button"
      {...rest}
      class={`button ${kind} ${small ? "small" : ""} ${children ? "" : "icon"}`}
      disabled={disabled}
      aria-disabled={busy.value || undefined}
      title={children ? undefined : label}
      aria-label={label}
      onClick={press}
    >
      {icon && <Icon name={icon} />}
      {children}
    </button>
  );
}

export function Field({
  label,
  hint,
  problem,
  children,
}: {
  label: string;
  hint?: string;
  problem?: string;
  children: (id: string) => ComponentChildren;
}) {
  const id = useId();
  return (
    <div class="field">
      <label class="label" for={id}>
        {label}
      </label>
      {children(id)}
      {hint && <span class="hint">{hint}</span>}
      {problem && (
        <span class="problem" role="alert">
          {problem}
        </span>
      )}
    </div>
  );
}

interface InputProps {
  label: string;
  hint?: string;
  value: string;
  onInput: (value: string) => void;
  type?: "text" | "email" | "password" | "tel" | "number" | "date" | "datetime-local" | "url" | "time" | "color";
  name?: string;
  autocomplete?: string;
  autofocus?: boolean;
  required?: boolean;
  disabled?: boolean;
  readOnly?: boolean;
  placeholder?: string;
  minLength?: number;
  maxLength?: number;
  pattern?: string;
  inputMode?: "numeric" | "decimal" | "tel";
  min?: string | number;
  max?: string | number;
  step?: string | number;
}

export function TextField({ label, hint, onInput, ...rest }: InputProps) {
  return (
    <Field label={label} hint={hint}>
      {(id) => <input class="input" {...(rest as object)} id={id} onInput={(event) => onInput(event.currentTarget.value)} />}
    </Field>
  );
}

/** A field to search in a list; it has its name inside. */
export function Search({ label, text, wide }: { label: string; text: Signal<string>; wide?: boolean }) {
  return (
    <div class={`search ${wide ? "grow" : ""}`}>
      <Icon name="search" />
      <input
        class="input"
        type="search"
        placeholder={label}
        aria-label={label}
        value={text.value}
        onInput={(event) => (text.value = event.currentTarget.value)}
      />
    </div>
  );
}

export function Select<T extends string | number>({
  label,
  hint,
  value,
  options,
  onChange,
}: {
  label: string;
  hint?: string;
  value: T;
  options: readonly (readonly [T, string])[];
  onChange: (value: T) => void;
}) {
  return (
    <Field label={label} hint={hint}>
      {(id) => (
        <select
          id={id}
          class="input"
          value={String(value)}
          onChange={(event) => {
            const chosen = options[event.currentTarget.selectedIndex];
            if (chosen) onChange(chosen[0]);
          }}
        >
          {options.map(([key, text]) => (
            <option key={String(key)} value={String(key)} selected={key === value}>
              {text}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
}

export function Check({
  checked,
  onChange,
  children,
}: {
  checked: boolean;
  onChange: (checked: boolean) => void;
  children: ComponentChildren;
}) {
  return (
    <label class="check">
      <input type="checkbox" checked={checked} onChange={(event) => onChange(event.currentTarget.checked)} />
      <span>{children}</span>
    </label>
  );
}

/** Several of many, by ticking. */
export function Checks<T>({
  label,
  options,
  chosen,
  onChange,
}: {
  label: string;
  options: readonly (readonly [T, string])[];
  chosen: readonly T[];
  onChange: (chosen: T[]) => void;
}) {
  return (
    <div class="field" role="group" aria-label={label}>
      <span class="label">{label}</span>
      <div class="checks">
        {options.map(([key, text]) => (
          <Check
            key={String(key)}
            checked={chosen.includes(key)}
            onChange={(on) => onChange(on ? [...chosen, key] : chosen.filter((one) => one !== key))}
          >
            {text}
          </Check>
        ))}
      </div>
    </div>
  );
}

// ------------------------------------------------------------------------------------------------- dialogs

const FIRST = ":is(.input, input, a, button):not(header *, [hidden], :disabled)";

/** A dialog over the page; Escape and a click beside it close it. ``onSubmit`` that fails keeps it open and says why. */
export function Dialog({
  title,
  onClose,
  onSubmit,
  submit,
  kind = "primary",
  wide,
  children,
}: {
  title: string;
  onClose: () => void;
  onSubmit?: () => Promise<unknown>;
  submit?: string;
  kind?: "primary" | "danger" | "pay";
  wide?: boolean;
  children: ComponentChildren;
}) {
  const dialog = useRef<HTMLDialogElement>(null);
  const problem = useSignal("");
  const busy = useSignal(false);
  useEffect(() => {
    const giveBack = remembered();
    dialog.current?.showModal();
    // the browser takes the first button, which is the one that closes it
    if (document.activeElement?.closest("header")) dialog.current?.querySelector<HTMLElement>(FIRST)?.focus();
    return giveBack;
  }, []);
  const send = async (event: SubmitEvent) => {
    event.preventDefault();
    if (!onSubmit || busy.value) return;
    busy.value = true;
    problem.value = "";
    try {
      await onSubmit();
    } catch (error) {
      problem.value = sentence(error);
    } finally {
      busy.value = false;
    }
  };
  const titleId = useId();
  return (
    <dialog
      ref={dialog}
      class={wide ? "wide" : ""}
      tabIndex={-1}
      aria-labelledby={titleId}
      onClose={onClose}
      onMouseDown={(event) => {
        if (event.target === dialog.current) dialog.current?.close();
      }}
    >
      <form onSubmit={send}>
        <header>
          <h2 id={titleId}>{title}</h2>
          <Button kind="quiet" icon="close" label={t("action.close")} onClick={onClose} />
        </header>
        <div class="content">
          {children}
          {problem.value && (
            <div class="notice bad" role="alert" ref={(shown) => shown?.scrollIntoView({ block: "nearest" })}>
              <Icon name="info" />
              <span>{problem.value}</span>
            </div>
          )}
        </div>
        {onSubmit && (
          <footer>
            <Button onClick={onClose}>{t("action.cancel")}</Button>
            <button type="submit" class={`button ${kind}`} aria-disabled={busy.value || undefined}>
              {submit ?? t("action.save")}
            </button>
          </footer>
        )}
      </form>
    </dialog>
  );
}

/** A question before something that cannot be undone. */
export function Confirm({
  title,
  text,
  submit,
  onClose,
  onConfirm,
}: {
  title: string;
  text: string;
  submit: string;
  onClose: () => void;
  onConfirm: () => Promise<unknown>;
}) {
  return (
    <Dialog title={title} onClose={onClose} onSubmit={onConfirm} submit={submit} kind="danger">
      <p>{text}</p>
    </Dialog>
  );
}

// ------------------------------------------------------------------------------------------------- the rest

export function Empty({ icon, title, children }: { icon: IconName; title: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <Icon name={icon} />
      <strong>{title}</strong>
      {children}
    </div>
  );
}

export const Spinner = () => <div class="spinner" role="status" aria-label={t("state.loading")} />;

const SLOW_MS = 8_000;

/** In the place of what is asked for; on a slow way it says that it goes on. */
export function Loading() {
  const slow = useSignal(false);
  useEffect(() => {
    const timer = setTimeout(() => (slow.value = true), SLOW_MS);
    return () => clearTimeout(timer);
  }, []);
  return (
    <div class="loading">
      <Spinner />
      {slow.value && (
        <p class="muted" role="status">
          {t("state.slow")}
        </p>
      )}
    </div>
  );
}

export function Tabs({ path, tabs }: { path: string; tabs: readonly (readonly [string, string])[] }) {
  const current = place.value.query.get("tab") ?? tabs[0]?.[0];
  const row = useRef<HTMLElement>(null);
  useEffect(() => row.current?.querySelector("[aria-current]")?.scrollIntoView({ inline: "nearest", block: "nearest" }), [current]);
  return (
    <nav class="tabs" aria-label={t("nav.sections")} ref={row}>
      {tabs.map(([key, text]) => (
        <a key={key} href={`${path}?tab=${key}`} aria-current={key === current ? "page" : undefined} onClick={follow}>
          {text}
        </a>
      ))}
    </nav>
  );
}

export function Page({
  title,
  about,
  actions,
  children,
}: {
  title: string;
  about?: string;
  actions?: ComponentChildren;
  children: ComponentChildren;
}) {
  return (
    <div class="page" id="content" tabIndex={-1}>
      <div class="inside">
        <div class="page-head">
          <div>
            <h1>{title}</h1>
            {about && <p>{about}</p>}
          </div>
          <div class="row wrap">{actions}</div>
        </div>
        {children}
      </div>
    </div>
  );
}

/** What the server says of something, fetched when ``keys`` change. ``reload`` fetches again without a spinner. */
export function useRemote<T>(fetch: () => Promise<T>, keys: readonly unknown[]) {
  const value = useSignal<T | undefined>(undefined);
  const problem = useSignal("");
  const turn = useRef(0);
  const reload = async () => {
    const mine = ++turn.current;
    try {
      const found = await fetch();
      if (mine !== turn.current) return;
      value.value = found;
      problem.value = "";
    } catch (error) {
      if (mine === turn.current) problem.value = sentence(error);
    }
  };
  useEffect(() => {
    value.value = undefined;
    void reload();
    return () => {
      turn.current++;
    };
  }, keys);
  return { value, problem, reload };
}

/** What is to be shown of something fetched: its problem, a spinner, or itself. */
export function Remote<T>({
  remote,
  children,
}: {
  remote: ReturnType<typeof useRemote<T>>;
  children: (value: T) => ComponentChildren;
}) {
  if (remote.value.value !== undefined) return <>{children(remote.value.value)}</>;
  if (remote.problem.value) {
    return (
      <div class="notice bad" role="alert">
        <Icon name="info" />
        <span class="grow">{remote.problem.value}</span>
        <Button small icon="refresh" onClick={remote.reload}>
          {t("action.retry")}
        </Button>
      </div>
    );
  }
  return <Loading />;
}
