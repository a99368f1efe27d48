/** The keyboard's focus is never lost: where what had it is gone, it goes to the open dialog, else to the view's content. */

let last: Element | null = null;

function rescue() {
  if (document.activeElement !== document.body || !last || last.isConnected) return;
  const dialog = [...document.querySelectorAll<HTMLDialogElement>("dialog[open]")].at(-1);
  const place = dialog ?? document.getElementById("content"); // a view that is still loading is waited for
  place?.focus({ preventScroll: true });
}

export function keepFocus(root: Element): void {
  addEventListener("focusin", (event) => (last = event.target as Element));
  new MutationObserver(rescue).observe(root, { childList: true, subtree: true });
}

/** What has the focus now gets it back; it may be gone by then. */
export function remembered(): () => void {
  const before = document.activeElement;
  return () => {
    if (before instanceof HTMLElement && before !== document.body && before.isConnected) before.focus({ preventScroll: true });
  };
}
