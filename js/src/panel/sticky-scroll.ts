/**
 * Keeps the end in sight while it grows, lets go when the reader scrolls up, and
 * holds the place when older messages come in above.
 */
export class StickyScroll {
  private following = true;
  private lastTop = 0;
  private lastHeight = 0;
  private readonly observer: ResizeObserver | null;

  constructor(
    private readonly scroller: HTMLElement,
    column: HTMLElement,
    private readonly onChange: (following: boolean) => void,
  ) {
    scroller.addEventListener("scroll", this.onScroll, { passive: true });
    // After layout and before paint: no reading of sizes while we render.
    this.observer = typeof ResizeObserver === "function" ? new ResizeObserver(() => this.settle()) : null;
    this.observer?.observe(column);
    this.observer?.observe(scroller);
  }

  follow(): void {
    this.set(true);
    this.settle();
  }

  /** Older messages were put in above: stay with what is being read. */
  grewAbove(): void {
    const { scroller } = this;
    if (!this.following && this.lastHeight > 0) {
      scroller.scrollTop = this.lastTop + (scroller.scrollHeight - this.lastHeight);
    }
    this.remember();
  }

  dispose(): void {
    this.observer?.disconnect();
    this.scroller.removeEventListener("scroll", this.onScroll);
  }

  private settle(): void {
    if (this.following) this.scroller.scrollTop = this.scroller.scrollHeight;
    this.remember();
  }

  private readonly onScroll = (): void => {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    const up = scrollTop < this.lastTop - 1;
    const atEnd = scrollHeight - scrollTop - clientHeight < 24;
    if (atEnd) this.set(true);
    else if (up) this.set(false);
    this.remember();
  };

  private remember(): void {
    this.lastTop = this.scroller.scrollTop;
    this.lastHeight = this.scroller.scrollHeight;
  }

  private set(following: boolean): void {
    if (following === this.following) return;
    this.following = following;
    this.onChange(following);
  }
}
