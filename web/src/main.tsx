import { render } from "preact";

import { keepFocus } from "./core/focus.ts";
import { place } from "./core/router.ts";
import { config, resume, user } from "./core/session.ts";
import type { PageConfig } from "./core/types.ts";
import { preferred, speak, t } from "./i18n/index.ts";
import { Button, Loading } from "./ui/parts.tsx";
import { Reset, SetUp, Share, SignIn } from "./views/front.tsx";
import { Shell } from "./views/shell.tsx";
import { signal } from "@preact/signals";
import "./styles/base.css";
import "./styles/shell.css";

const away = signal(false);

function App() {
  switch (place.value.path) {
    case "/setup":
      return <SetUp />;
    case "/reset":
      return <Reset />;
    case "/share":
      return <Share />;
  }
  if (away.value) {
    return (
      <div class="empty" role="alert">
        <strong>{t("error.network")}</strong>
        <Button onClick={begin}>{t("action.retry")}</Button>
      </div>
    );
  }
  if (user.value === undefined) return <Loading />;
  return user.value ? <Shell /> : <SignIn />;
}

async function begin(): Promise<void> {
  away.value = false;
  try {
    const [found] = await Promise.all([fetch("/page/config.json"), speak(preferred())]);
    config.value = (await found.json()) as PageConfig;
    document.title = config.value.title;
    // a guest's link makes a session of its own: what we were before is not to overtake it
    if (place.value.path !== "/share") await resume();
  } catch {
    away.value = true;
  }
}

const root = document.getElementById("app")!;
keepFocus(root);
render(<App />, root);
void begin();
