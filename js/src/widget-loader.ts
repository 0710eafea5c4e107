/**
 * The widget's `_esm`. It rests in saved notebooks, so it is small: it fetches the
 * panel from the Jupyter server of the page, or else asks the kernel for it.
 */
interface Model {
  send(content: object): unknown;
  // biome-ignore lint/suspicious/noExplicitAny: one listener, one kind of message
  on(event: string, listener: (message: any) => void): void;
  // biome-ignore lint/suspicious/noExplicitAny: one listener, one kind of message
  off(event: string, listener: (message: any) => void): void;
}
interface Props {
  model: Model;
  el: HTMLElement;
}
interface Widget {
  default: { render(props: Props): () => void };
}

/** Set by the build: changes with the bundle, so that it can be cached for ever. */
declare const BUNDLE_HASH: string | undefined;

const KEY = "jupyter-agent-widget";
const slots = globalThis as unknown as Record<string, Promise<Widget> | undefined>;

function addStyle(tag: string, fill: (element: HTMLElement) => void): void {
  if (document.getElementById(KEY)) return;
  const element = document.createElement(tag);
  element.id = KEY;
  fill(element);
  document.head.append(element);
}

async function fromServer(): Promise<Widget> {
  const config = JSON.parse(document.getElementById("jupyter-config-data")?.textContent ?? "");
  const base = new URL(`${config.baseUrl.replace(/\/?$/, "/")}jupyter-agent/static/widget`, location.href).href;
  const version = typeof BUNDLE_HASH === "string" ? `?v=${BUNDLE_HASH}` : "";
  const widget = await import(`${base}.js${version}`);
  addStyle("link", (link) => Object.assign(link, { rel: "stylesheet", href: `${base}.css${version}` }));
  return widget;
}

function fromKernel(model: Model): Promise<Widget> {
  return new Promise((resolve, reject) => {
    const pieces: Record<string, string[]> = {};
    // biome-ignore lint/suspicious/noExplicitAny: what the kernel sends
    const hear = (message: any): void => {
      const piece = message.fragment;
      if (piece) {
        pieces[piece.id] ??= [];
        const list = pieces[piece.id] as string[];
        list[piece.n] = piece.text;
        if (Object.keys(list).length === piece.of) hear(JSON.parse(list.join("")));
      } else if (message.bundle) {
        model.off("msg:custom", hear);
        addStyle("style", (style) => {
          style.textContent = message.style;
        });
        const url = URL.createObjectURL(new Blob([message.bundle], { type: "text/javascript" }));
        import(url).then(resolve, reject);
      }
    };
    model.on("msg:custom", hear);
    try {
      model.send({ bundle: {} });
    } catch (error) {
      reject(error);
    }
    setTimeout(reject, 20_000);
  });
}

function load(model: Model): Promise<Widget> {
  const loading = slots[KEY] ?? fromServer().catch(() => fromKernel(model));
  slots[KEY] = loading;
  loading.catch(() => {
    slots[KEY] = undefined; // another cell may have more luck
  });
  return loading;
}

export default {
  async render({ model, el }: Props): Promise<() => void> {
    try {
      return (await load(model)).default.render({ model, el });
    } catch {
      el.textContent = "The agent's panel could not be loaded: no kernel answers. Run the cell again.";
      return () => {};
    }
  },
};
