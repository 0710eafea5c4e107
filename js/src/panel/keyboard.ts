/** The keyboard is never lost: who had it in something that goes, or is disabled, gets it back in the message box. */
import { useEffect, useRef } from "preact/hooks";

export function useKeyboardKeeper(focusComposer: () => void) {
  const root = useRef<HTMLElement>(null);
  useEffect(() => {
    const panel = root.current;
    if (panel === null) return;
    let holder: Element | null = null;
    const came = (event: FocusEvent) => {
      holder = event.target as Element;
    };
    const lost = () => {
      holder = null;
      if (document.activeElement === null || document.activeElement === document.body) focusComposer();
    };
    // Left on purpose, for something else or for nothing: then it still stands a moment later, and can be used.
    const left = () =>
      setTimeout(() => {
        if (!holder?.isConnected || holder.matches(":focus")) return;
        if (holder.matches(":disabled")) lost();
        else holder = null;
      });
    const observer = new MutationObserver(() => {
      if (holder !== null && !holder.isConnected) lost();
    });
    panel.addEventListener("focusin", came);
    panel.addEventListener("focusout", left);
    observer.observe(panel, { childList: true, subtree: true });
    return () => {
      panel.removeEventListener("focusin", came);
      panel.removeEventListener("focusout", left);
      observer.disconnect();
    };
  }, []);
  return root;
}

/** For a box that hangs from a bar: close it when the keyboard goes on to something else than the bar's buttons. */
export function leavesFor(event: FocusEvent): boolean {
  const bar = (event.currentTarget as Element).parentElement;
  return event.relatedTarget !== null && !bar?.contains(event.relatedTarget as Node);
}
