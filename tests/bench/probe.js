/**
 * Runs in the page before anything else: stamps, on the wall clock, when Enter was
 * pressed, when each token reached the DOM of each surface, and when a comm message
 * with frames came in.
 */
globalThis.bench = (() => {
  const now = () => performance.timeOrigin + performance.now();
  const watches = {};
  const frames = [];
  let entered = null;

  addEventListener("keydown", (event) => {
    if (event.key === "Enter") entered = performance.timeOrigin + event.timeStamp;
  }, true);

  const Plain = globalThis.WebSocket;
  const latin = new TextDecoder("latin1");
  globalThis.WebSocket = class extends Plain {
    constructor(url, protocols) {
      super(url, protocols);
      if (!String(url).includes("/channels")) return;
      this.addEventListener("message", ({ data }) => {
        const at = now();
        if (data instanceof ArrayBuffer && latin.decode(data).includes('"frames"')) frames.push(at);
      });
    }
  };

  /** Note when tokens `tag0000`, `tag0001` … are seen in the last answer of a surface. */
  function watch(surface, tag, count) {
    const root = document.querySelector(`.jp-agent[data-surface="${surface}"]`);
    const seen = { stamps: [], last: -1 };
    const look = () => {
      const answers = root.querySelectorAll('[data-role="assistant"]');
      const text = answers[answers.length - 1]?.textContent ?? "";
      const at = text.lastIndexOf(tag);
      const number = at < 0 ? -1 : Number(text.slice(at + tag.length, at + tag.length + 4));
      if (number <= seen.last) return;
      seen.last = number;
      seen.stamps.push([number, now()]);
      if (number === count - 1) seen.resolve();
    };
    watches[surface]?.observer.disconnect();
    seen.observer = new MutationObserver(look);
    seen.complete = new Promise((resolve) => { seen.resolve = resolve; });
    seen.observer.observe(root, { subtree: true, childList: true, characterData: true });
    watches[surface] = seen;
  }

  /** How far the page's clock is from Date's, which is the machine's. */
  function skew() {
    const before = Date.now();
    let tick = before;
    while (tick === before) tick = Date.now();
    return tick - now();
  }

  return {
    watch,
    skew,
    start: () => { entered = null; frames.length = 0; },
    complete: (surface) => watches[surface].complete,
    report: () => ({
      entered,
      frames,
      stamps: Object.fromEntries(Object.entries(watches).map(([name, seen]) => [name, seen.stamps])),
    }),
  };
})();
