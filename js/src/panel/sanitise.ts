/**
 * The door that every piece of HTML passes before it is shown.
 *
 * What a model, a notebook or a file name says may be hostile. Nothing here runs,
 * and nothing is fetched because text was rendered: only raster images and SVG that
 * are in the text itself (`data:`) are shown, links say where they lead.
 */
import createPurifier, { type Config, type DOMPurify } from "dompurify";

const CONFIG: Config = {
  ALLOWED_TAGS: [
    ..."p br hr h1 h2 h3 h4 h5 h6 strong em b i del s ins mark code pre blockquote ul ol li".split(" "),
    ..."table thead tbody tfoot tr th td a img span div sup sub kbd samp var q dl dt dd details summary".split(" "),
  ],
  ALLOWED_ATTR: ["href", "title", "alt", "src", "class", "start", "align", "colspan", "rowspan", "dir", "lang"],
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  ADD_URI_SAFE_ATTR: ["start", "align", "colspan", "rowspan", "dir", "lang"],
  ALLOWED_URI_REGEXP: /^(?:https?:|mailto:|data:image\/)/i,
  FORBID_CONTENTS: ["style", "script", "iframe", "object", "embed", "template", "noscript", "form", "svg", "math"],
};

const OWN_CLASS = /^(?:hljs(?:-[\w-]+)?|language-[\w-]+|jp-agent-[\w-]+|[a-z]+_+)$/;
const IMAGE = /^data:image\/(?:png|jpeg|gif|webp|avif|bmp|svg\+xml)[;,]/i;

let purifier: DOMPurify | undefined;

/** Return `html` with everything taken out that could act, fetch or disguise itself. */
export function sanitise(html: string): string {
  purifier ??= makePurifier();
  return purifier.sanitize(html, CONFIG) as string;
}

/** Tell whether an image may be shown: its bytes are in the address. */
export function isInlineImage(src: string): boolean {
  return IMAGE.test(src);
}

function makePurifier(): DOMPurify {
  const made = createPurifier(window); // an instance of our own: hooks are not shared with the page
  made.addHook("afterSanitizeAttributes", (node) => {
    keepOwnClasses(node);
    if (node.nodeName === "A") guardLink(node);
    if (node.nodeName === "IMG") guardImage(node);
    else node.removeAttribute("src");
  });
  return made;
}

function keepOwnClasses(node: Element): void {
  if (!node.hasAttribute("class")) return;
  const kept = [...node.classList].filter((name) => OWN_CLASS.test(name));
  if (kept.length > 0) node.setAttribute("class", kept.join(" "));
  else node.removeAttribute("class");
}

/** A link shows the host it leads to, whatever its text says, and tells that host nothing about us. */
function guardLink(link: Element): void {
  const target = linkTarget(link.getAttribute("href") ?? "");
  if (target === null) {
    link.removeAttribute("href");
    return;
  }
  link.setAttribute("target", "_blank");
  link.setAttribute("rel", "noopener noreferrer");
  link.setAttribute("title", target.href);
  const text = (link.textContent ?? "").trim();
  if (target.host && text !== target.href && !sameAddress(text, target)) {
    const host = link.ownerDocument.createElement("span");
    host.className = "jp-agent-host";
    host.textContent = ` (${target.host})`;
    link.append(host);
  }
}

function linkTarget(href: string): URL | null {
  try {
    const url = new URL(href);
    return ["http:", "https:", "mailto:"].includes(url.protocol) ? url : null;
  } catch {
    return null; // relative: it would lead into the Jupyter server
  }
}

function sameAddress(text: string, target: URL): boolean {
  try {
    return new URL(text).href === target.href;
  } catch {
    return text === target.host;
  }
}

function guardImage(image: Element): void {
  const src = image.getAttribute("src") ?? "";
  if (isInlineImage(src)) return;
  const note = image.ownerDocument.createElement("span");
  const host = linkTarget(src)?.host;
  note.className = "jp-agent-blocked";
  note.textContent = `[${image.getAttribute("alt") || "image"}${host ? ` · ${host}` : ""} · not loaded]`;
  image.replaceWith(note);
}
