/** A clock that stands still until it is told to go on; it replaces the one of this process. */

interface Timer {
  at: number;
  every: number | null;
  run: () => void;
}

class Clock {
  private now = 1_795_413_353_559;
  private next = 1;
  private readonly timers = new Map<number, Timer>();

  install(): void {
    const add = (every: boolean) => (run: () => void, ms?: number) => this.add(run, Number(ms ?? 0), every);
    const remove = (id?: number) => void (id !== undefined && this.timers.delete(id));
    Object.assign(globalThis, {
      setTimeout: add(false),
      setInterval: add(true),
      clearTimeout: remove,
      clearInterval: remove,
    });
    Date.now = () => this.now;
  }

  /** Run what falls due within so many milliseconds, in its order. */
  advance(ms: number): void {
    const until = this.now + ms;
    for (let due = this.first(until); due !== null; due = this.first(until)) {
      const [id, timer] = due;
      this.now = Math.max(this.now, timer.at);
      if (timer.every === null) this.timers.delete(id);
      else timer.at = this.now + Math.max(1, timer.every);
      timer.run();
    }
    this.now = until;
  }

  private add(run: () => void, ms: number, every: boolean): number {
    const id = this.next++;
    this.timers.set(id, { at: this.now + ms, every: every ? ms : null, run });
    return id;
  }

  private first(until: number): [number, Timer] | null {
    let found: [number, Timer] | null = null;
    for (const entry of this.timers) {
      if (entry[1].at <= until && (found === null || entry[1].at < found[1].at)) found = entry;
    }
    return found;
  }
}

export const clock = new Clock();
clock.install();
