/** Requests to /api: JSON in, JSON out, and every refusal one typed error with the server's own sentence. */

export class ApiError extends Error {
  readonly status: number;
  readonly body: Record<string, unknown>;
  readonly totp: boolean;
  readonly retryAfterS: number;

  /** ``message``: the server's own sentence; empty where it has none, as of a proxy before it. */
  constructor(status: number, message: string, body: Record<string, unknown> = {}, totp = false, retryAfterS = 0) {
    super(message);
    this.status = status;
    this.body = body;
    this.totp = totp;
    this.retryAfterS = retryAfterS;
  }
}

export type Refusal = "network" | "forbidden" | "tooLarge" | "tooMany" | "notReady" | "limit";
const REFUSALS: Record<number, Refusal> = {
  0: "network",
  403: "forbidden",
  413: "tooLarge",
  429: "tooMany",
  502: "notReady",
  503: "notReady",
  504: "notReady",
};

/** What a refusal is, where the page has words of its own for it. */
export const kindOf = (error: ApiError): Refusal | null =>
  error.status === 409 && error.body.reason === "limit" ? "limit" : (REFUSALS[error.status] ?? null);

/** The word for why, with what it is about, where the server says one beside its English sentence. */
export function whyOf(error: ApiError): { reason: string; values: Record<string, string | number> } {
  const { reason, values } = error.body;
  return { reason: String(reason ?? ""), values: values && typeof values === "object" ? (values as Record<string, string | number>) : {} };
}

export type Query = Record<string, string | number | boolean | null | undefined | readonly (string | number)[]>;

/** A path with its query; what is null or undefined is left out, a list repeats its name. */
export function address(path: string, query: Query = {}): string {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value === null || value === undefined || value === "") continue;
    for (const one of Array.isArray(value) ? value : [value]) params.append(name, String(one));
  }
  const text = params.toString();
  return `/api${path}${text ? `?${text}` : ""}`;
}

/** Called when the server no longer knows who we are. */
export const signedOut: { listener: () => void } = { listener: () => {} };

async function send(method: string, path: string, query: Query = {}, body?: BodyInit, type?: string) {
  const headers: Record<string, string> = { Accept: "application/json" };
  if (type) headers["Content-Type"] = type;
  let response: Response;
  try {
    response = await fetch(address(path, query), { method, headers, body, credentials: "same-origin" });
  } catch {
    throw new ApiError(0, "");
  }
  if (response.ok) return response;
  const text = await response.text();
  if (response.status === 401 && !path.startsWith("/session")) signedOut.listener();
  throw refusal(response, text);
}

function refusal(response: Response, text: string): ApiError {
  const totp = /totp/i.test(response.headers.get("WWW-Authenticate") ?? "");
  const retryAfterS = Number(response.headers.get("Retry-After")) || 0;
  try {
    const body: unknown = JSON.parse(text);
    if (body && typeof body === "object") {
      const told = body as Record<string, unknown>;
      const sentence = told.error ?? told.message ?? told.detail ?? "";
      return new ApiError(response.status, String(sentence), told, totp, retryAfterS);
    }
  } catch {
    /* a plain sentence */
  }
  const plain = text.length < 500 && !text.startsWith("<") ? text.trim() : "";
  return new ApiError(response.status, plain, {}, totp, retryAfterS);
}

async function json<T>(response: Response): Promise<T> {
  if (response.status === 204 || response.status === 202) {
    const text = await response.text();
    return (text ? JSON.parse(text) : null) as T;
  }
  const text = await response.text();
  return (text ? JSON.parse(text) : null) as T;
}

const write = async <T>(method: string, path: string, value?: unknown, query: Query = {}): Promise<T> =>
  json<T>(
    await send(
      method,
      path,
      query,
      value === undefined ? undefined : JSON.stringify(value),
      value === undefined ? undefined : "application/json",
    ),
  );

export const api = {
  get: async <T>(path: string, query: Query = {}): Promise<T> => json<T>(await send("GET", path, query)),
  post: <T>(path: string, value?: unknown, query: Query = {}): Promise<T> => write<T>("POST", path, value, query),
  put: <T>(path: string, value?: unknown, query: Query = {}): Promise<T> => write<T>("PUT", path, value, query),
  /** Whether the command waits until the tracker is connected; else it was told at once. */
  queueCommand: async (command: unknown): Promise<boolean> =>
    (await send("POST", "/commands/send", {}, JSON.stringify(command), "application/json")).status === 202,
  remove: <T = null>(path: string, value?: unknown): Promise<T> => write<T>("DELETE", path, value),
  text: async (path: string, query: Query = {}): Promise<string> => (await send("GET", path, query)).text(),
  /** Form fields, answered by JSON. */
  form: async <T>(path: string, fields: Record<string, string>): Promise<T> =>
    json<T>(await send("POST", path, {}, new URLSearchParams(fields))),
  /** Form fields, answered by bare text (tokens). */
  formText: async (path: string, fields: Record<string, string>): Promise<string> =>
    (await send("POST", path, {}, new URLSearchParams(fields))).text(),
  upload: async <T>(path: string, file: File, query: Query = {}): Promise<T> => {
    const form = new FormData();
    form.append("file", file);
    return json<T>(await send("POST", path, query, form));
  },
};
