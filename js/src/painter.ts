/**
 * Paints the first change at once, and what is urgent; gathers the rest until the next frame.
 *
 * A timer stands in for animation frames, which a hidden page doesn't get.
 */
export class Painter {
  private waiting = false;
  private dirty = false;
  private cancel: () => void = () => {};

  constructor(private readonly draw: () => void) {}

  request(urgent = false): void {
    if (this.waiting) {
      this.dirty = !urgent;
      if (urgent) this.draw();
      return;
    }
    this.waiting = true;
    this.draw();
    this.cancel = nextFrame(() => {
      this.waiting = false;
      if (!this.dirty) return;
      this.dirty = false;
      this.request();
    });
  }

  dispose(): void {
    this.cancel();
  }
}

function nextFrame(callback: () => void): () => void {
  const cancel = () => {
    clearTimeout(timer);
    if (frame !== undefined) cancelAnimationFrame(frame);
  };
  const run = () => {
    cancel();
    callback();
  };
  const timer = setTimeout(run, 100);
  const frame = typeof requestAnimationFrame === "function" ? requestAnimationFrame(run) : undefined;
  return cancel;
}
