/** What scrolls can be scrolled by keyboard: not every browser sees to that itself. */
import { useEffect, useRef } from "preact/hooks";

/** For an element that shows `content`; a content that still grows is null, and looked at once it stands. */
export function useScrollable<E extends HTMLElement>(content: string | null) {
  const ref = useRef<E>(null);
  useEffect(() => {
    const element = ref.current;
    if (element === null || content === null) return;
    const mark = () => {
      const more = element.scrollWidth > element.clientWidth || element.scrollHeight > element.clientHeight;
      if (more) element.tabIndex = 0;
      else element.removeAttribute("tabindex");
    };
    mark();
    if (typeof ResizeObserver !== "function") return;
    const observer = new ResizeObserver(mark);
    observer.observe(element);
    return () => observer.disconnect();
  }, [content]);
  return ref;
}
