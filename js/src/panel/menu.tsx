/**
 * A button with a few more choices behind it.
 *
 * It opens to the side where the panel has room. Arrows move, Escape and Tab close;
 * after Escape and a choice the keyboard is where it was.
 */
import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { Icon, type IconName } from "./icons";

export interface Choice {
  name: string;
  act: () => void;
  /** It is the one that holds now. */
  checked?: boolean;
}

interface MenuProps {
  /** What the button is called. */
  name: string;
  /** Asked for when it opens, where they depend on how things stand. */
  choices: readonly Choice[] | (() => readonly Choice[]);
  icon?: IconName;
  /** What the button shows instead of an icon. */
  children?: ComponentChildren;
  class?: string;
  disabled?: boolean;
  onOpen?: () => void;
  /** The choice takes the keyboard somewhere itself. */
  keepFocus?: boolean;
}

export function Menu({ name, choices, icon = "more", children, disabled, onOpen, ...more }: MenuProps) {
  const [open, setOpen] = useState(false);
  const root = useRef<HTMLSpanElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    if (!open) return;
    const away = (event: Event) => {
      if (!root.current?.contains(event.target as Node)) setOpen(false);
    };
    document.addEventListener("pointerdown", away);
    return () => document.removeEventListener("pointerdown", away);
  }, [open]);
  const choose = (choice: Choice) => {
    setOpen(false);
    if (!more.keepFocus) button.current?.focus();
    choice.act();
  };
  return (
    <span ref={root} class="jp-agent-menu-root" data-open={open || undefined}>
      <button
        ref={button}
        type="button"
        class={more.class ?? "jp-agent-tool-button"}
        aria-label={name}
        title={name}
        aria-haspopup="menu"
        aria-expanded={open}
        disabled={disabled}
        onClick={() => {
          if (!open) onOpen?.();
          setOpen(!open);
        }}
      >
        {children ?? <Icon name={icon} />}
      </button>
      {open ? (
        <MenuList
          name={name}
          choices={typeof choices === "function" ? choices() : choices}
          onChoose={choose}
          onClose={(back) => {
            setOpen(false);
            if (back) button.current?.focus();
          }}
        />
      ) : null}
    </span>
  );
}

interface ListProps {
  name: string;
  choices: readonly Choice[];
  onChoose: (choice: Choice) => void;
  onClose: (back: boolean) => void;
}

function MenuList({ name, choices, onChoose, onClose }: ListProps) {
  const list = useRef<HTMLSpanElement>(null);
  useLayoutEffect(() => place(list.current), [choices.length]);
  useEffect(
    () =>
      items(list.current)[
        Math.max(
          0,
          choices.findIndex((choice) => choice.checked),
        )
      ]?.focus(),
    [],
  );
  const onKeyDown = (event: KeyboardEvent) => {
    const step = STEPS[event.key];
    if (event.key === "Escape") onClose(true);
    else if (event.key === "Tab") return onClose(false);
    else if (step !== undefined) move(list.current, step);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  return (
    <span ref={list} class="jp-agent-menu" role="menu" aria-label={name} onKeyDown={onKeyDown}>
      {choices.map((choice) => (
        <button key={choice.name} type="button" tabIndex={-1} {...roleOf(choice)} onClick={() => onChoose(choice)}>
          {choice.checked === undefined ? null : <span class="jp-agent-menu-check">{choice.checked ? "✓" : ""}</span>}
          {choice.name}
        </button>
      ))}
    </span>
  );
}

function roleOf({ checked }: Choice) {
  return checked === undefined
    ? { role: "menuitem" as const }
    : { role: "menuitemradio" as const, "aria-checked": checked };
}

type Step = (at: number, count: number) => number;

const STEPS: Partial<Record<string, Step>> = {
  ArrowDown: (at, count) => (at + 1) % count,
  ArrowUp: (at, count) => (at + count - 1) % count,
  Home: () => 0,
  End: (_, count) => count - 1,
};

function items(list: HTMLElement | null): HTMLElement[] {
  return [...(list?.querySelectorAll<HTMLElement>("[role^=menuitem]") ?? [])];
}

function move(list: HTMLElement | null, step: Step): void {
  const all = items(list);
  const at = all.indexOf(document.activeElement as HTMLElement);
  all[step(Math.max(0, at), all.length)]?.focus();
}

/** Below the button and flush with its right edge, unless the panel ends there. */
function place(list: HTMLElement | null): void {
  const panel = list?.closest(".jp-agent")?.getBoundingClientRect();
  const button = list?.parentElement?.getBoundingClientRect();
  if (!list || !panel || !button) return;
  const end = (list.closest(".jp-agent-scroll") ?? list.closest(".jp-agent"))?.getBoundingClientRect().bottom ?? 0;
  const up = button.bottom + list.offsetHeight + 4 > end && button.top - list.offsetHeight > panel.top;
  list.dataset.side = up ? "up" : "down";
  const right = Math.max(button.right, panel.left + 4 + list.offsetWidth);
  list.style.right = `${button.right - right}px`;
}
