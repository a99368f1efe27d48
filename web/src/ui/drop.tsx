/** A file that is dragged over the window and let go: where it would go is shown meanwhile. */

import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";

import { Icon } from "./icon.tsx";

const brings = (event: DragEvent): boolean => event.dataTransfer?.types.includes("Files") ?? false;

export function DropZone({ text, onFile }: { text: string; onFile: (file: File) => unknown }) {
  const over = useSignal(false);
  const latest = useRef(onFile);
  latest.current = onFile;
  useEffect(() => {
    const listening = new AbortController();
    const { signal } = listening;
    const drag = (event: DragEvent) => {
      if (!brings(event)) return;
      event.preventDefault(); // else the browser would open the file instead of the page
      over.value = true;
    };
    addEventListener("dragenter", drag, { signal });
    addEventListener("dragover", drag, { signal });
    addEventListener("dragleave", (event) => event.relatedTarget === null && (over.value = false), { signal });
    addEventListener(
      "drop",
      (event) => {
        if (!brings(event)) return;
        event.preventDefault();
        over.value = false;
        const file = event.dataTransfer?.files[0];
        if (file) void latest.current(file);
      },
      { signal },
    );
    return () => listening.abort();
  }, []);
  return over.value ? (
    <div class="drop" role="status">
      <Icon name="upload" /> {text}
    </div>
  ) : null;
}
