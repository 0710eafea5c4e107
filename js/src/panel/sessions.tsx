/** The list of sessions: found, opened, renamed, copied, put away, deleted. */
import { useEffect, useRef, useState } from "preact/hooks";
import type { Session } from "../protocol.gen";
import { oldest, type SessionPage, withAgain, withMore, withNewest, withOne, without } from "../session-list";
import { type SessionChange, type SessionLibrary, usePanel } from "./context";
import { Icon } from "./icons";
import { leavesFor } from "./keyboard";

export const UNTITLED = "New session";
export const OPEN_MAIN = "Open in the main area";
const PAUSE_MS = 150;

interface ListProps {
  library: SessionLibrary;
  /** Whether the keyboard should go back to where it came from. */
  onClose: (back: boolean) => void;
}

export function SessionList({ library, onClose }: ListProps) {
  const { client, options, undo } = usePanel();
  const [query, setQuery] = useState("");
  const { sessions, more, failed, change, reload } = useSessions(library, query);
  const [opened, setOpened] = useState<string | null>(null);
  const root = useRef<HTMLDivElement>(null);
  const search = useRef<HTMLInputElement>(null);
  useEffect(() => {
    search.current?.focus();
    const away = (event: Event) => {
      const header = root.current?.parentElement;
      if (!header?.contains(event.target as Node)) onClose(false);
    };
    document.addEventListener("pointerdown", away);
    return () => document.removeEventListener("pointerdown", away);
  }, []);
  const current = client.view.value.session?.id;
  const open = (session_id: string) => {
    onClose(false);
    if (session_id !== current) options.onSelect?.(session_id);
  };
  const attempt = async (wish: () => Promise<void>) => {
    try {
      await wish();
    } catch (error) {
      client.fault.value = { code: "list", message: (error as Error).message };
      reload();
    }
  };
  /** Take it from the list, and say how it comes back. */
  const take = (session: Session, done: string, wish: () => Promise<unknown>, back: () => Promise<unknown>) =>
    attempt(async () => {
      search.current?.focus();
      change((list) => list.filter((one) => one.id !== session.id));
      await wish();
      const act = () =>
        attempt(async () => {
          await back();
          reload();
          if (client.view.peek().deleted && session.id === current) options.onSelect?.(session.id);
        });
      undo.value = { text: `${done} “${session.title || UNTITLED}”.`, act: () => void act() };
    });
  return (
    <div
      ref={root}
      class="jp-agent-sessions"
      role="dialog"
      aria-label="Sessions"
      tabIndex={-1}
      onFocusOut={(event) => leavesFor(event) && onClose(false)}
      onKeyDown={(event) => {
        if (event.key !== "Escape") return;
        event.stopPropagation();
        onClose(true);
      }}
    >
      <input
        ref={search}
        class="jp-agent-input jp-agent-search"
        type="search"
        aria-label="Search the sessions"
        placeholder="Search titles and messages"
        value={query}
        onInput={(event) => setQuery(event.currentTarget.value)}
      />
      {failed ? <div class="jp-agent-muted">The sessions could not be listed.</div> : null}
      {sessions === null && !failed ? <div class="jp-agent-muted">Loading…</div> : null}
      {sessions?.length === 0 ? (
        <div class="jp-agent-muted">{query.trim() ? "Nothing found." : "No sessions yet."}</div>
      ) : null}
      <ul>
        {sessions?.map((session) => (
          <SessionRow
            key={session.id}
            session={session}
            current={session.id === current}
            opened={session.id === opened}
            onOpen={() => open(session.id)}
            onMore={() => setOpened(session.id === opened ? null : session.id)}
            onOpenMain={
              options.onOpenMain &&
              (() => {
                onClose(false);
                options.onOpenMain?.(session.id);
              })
            }
            onRename={(title) => {
              change((list) => list.map((one) => (one.id === session.id ? { ...one, title } : one)));
              void attempt(async () => void (await library.rename(session.id, title)));
            }}
            onDuplicate={() => void attempt(async () => open((await library.duplicate(session.id)).id))}
            onArchive={() =>
              void take(
                session,
                "Archived",
                () => library.archive(session.id),
                () => library.unarchive(session.id),
              )
            }
            onUnarchive={() =>
              void attempt(async () => {
                await library.unarchive(session.id);
                reload();
              })
            }
            onDelete={() =>
              void take(
                session,
                "Deleted",
                () => library.remove(session.id),
                () => library.bringBack(session.id),
              )
            }
          />
        ))}
      </ul>
      {more ? (
        <button type="button" class="jp-agent-link" onClick={more}>
          More
        </button>
      ) : null}
    </div>
  );
}

/** What is found, anew a moment after the last key and true from then on; answers to older questions are dropped. */
function useSessions(library: SessionLibrary, query: string) {
  const [page, setPage] = useState<SessionPage | null>(null);
  const [failed, setFailed] = useState(false);
  const turn = useRef(0);
  const words = query.trim();
  const ask = (use: (found: SessionPage) => void, before?: string) => {
    const mine = ++turn.current;
    library.list(words, before).then(
      (found) => {
        if (mine !== turn.current) return;
        use(found);
        setFailed(false);
      },
      () => mine === turn.current && setFailed(true),
    );
  };
  const reload = () => ask((found) => setPage((now) => (now ? withNewest(now, found) : found)));
  const more = () => page && ask((found) => setPage((now) => now && withMore(now, found)), oldest(page));
  useEffect(() => {
    const timer = setTimeout(() => ask(setPage), page === null ? 0 : PAUSE_MS);
    return () => clearTimeout(timer);
  }, [query]);
  const latest = useRef({ words, reload });
  latest.current = { words, reload };
  useEffect(() => () => void ++turn.current, []);
  useEffect(
    () =>
      library.watch?.((news) => {
        if (news.type === "reset") latest.current.reload();
        else setPage((now) => now && withNews(now, news, latest.current.words === ""));
      }),
    [],
  );
  const change = (by: (list: readonly Session[]) => readonly Session[]) =>
    setPage((now) => now && { ...now, sessions: by(now.sessions) });
  return { sessions: page?.sessions ?? null, more: page?.has_more ? more : null, failed, change, reload };
}

/** Whether a search finds one more now, only the server knows. */
function withNews(page: SessionPage, news: Exclude<SessionChange, { type: "reset" }>, all: boolean): SessionPage {
  if (news.type === "removed") return without(page, news.id);
  return all ? withOne(page, news.session) : withAgain(page, news.session);
}

interface RowProps {
  session: Session;
  current: boolean;
  opened: boolean;
  onOpen: () => void;
  onMore: () => void;
  onOpenMain?: (() => void) | undefined;
  onRename: (title: string) => void;
  onDuplicate: () => void;
  onArchive: () => void;
  onUnarchive: () => void;
  onDelete: () => void;
}

function SessionRow({ session, current, opened, onOpen, onMore, ...acts }: RowProps) {
  const [renaming, setRenaming] = useState(false);
  const row = useRef<HTMLLIElement>(null);
  const back = useRef(false);
  useEffect(() => {
    if (!renaming && back.current) row.current?.querySelector("button")?.focus();
    back.current = false;
  }, [renaming]);
  const title = session.title || UNTITLED;
  if (renaming) {
    return (
      <li>
        <TitleBox
          title={session.title}
          onKeep={(text, byKey) => {
            back.current = byKey;
            setRenaming(false);
            if (text && text !== session.title) acts.onRename(text);
          }}
        />
      </li>
    );
  }
  return (
    <li ref={row} data-session-id={session.id}>
      <div class="jp-agent-session-row">
        <button type="button" class="jp-agent-session" aria-current={current || undefined} onClick={onOpen}>
          <span class="jp-agent-session-title">{title}</span>
          <About session={session} />
        </button>
        <button
          type="button"
          class="jp-agent-tool-button"
          aria-label={`More about ${title}`}
          title="More"
          aria-expanded={opened}
          onClick={onMore}
        >
          <Icon name="more" />
        </button>
      </div>
      {opened ? (
        // biome-ignore lint/a11y/useSemanticElements: a fieldset would need a legend
        <div class="jp-agent-session-acts" role="group" aria-label={title}>
          {acts.onOpenMain ? (
            <button type="button" onClick={acts.onOpenMain}>
              {OPEN_MAIN}
            </button>
          ) : null}
          <button type="button" onClick={() => setRenaming(true)}>
            Rename
          </button>
          <button type="button" onClick={acts.onDuplicate}>
            Duplicate
          </button>
          <button type="button" onClick={session.archived_at === null ? acts.onArchive : acts.onUnarchive}>
            {session.archived_at === null ? "Archive" : "Unarchive"}
          </button>
          <button type="button" onClick={acts.onDelete}>
            Delete
          </button>
        </div>
      ) : null}
    </li>
  );
}

interface TitleProps {
  title: string;
  /** `back`: it was ended by a key, and the keyboard wants a place to go to. */
  onKeep: (title: string, back: boolean) => void;
}

/** A title being changed: Enter or leaving keeps it, Escape does not. */
export function TitleBox({ title, onKeep }: TitleProps) {
  const [text, setText] = useState(title);
  const box = useRef<HTMLInputElement>(null);
  const over = useRef(false);
  useEffect(() => {
    box.current?.focus();
    box.current?.select();
  }, []);
  const end = (kept: string, back = false) => {
    if (over.current) return;
    over.current = true; // the box that goes loses the keyboard, which would end it again
    onKeep(kept.trim(), back);
  };
  return (
    <input
      ref={box}
      class="jp-agent-input jp-agent-title-box"
      aria-label="Title"
      maxLength={500}
      value={text}
      onInput={(event) => setText(event.currentTarget.value)}
      onBlur={() => end(text)}
      onKeyDown={(event) => {
        if (event.key === "Enter" && !event.isComposing) end(text, true);
        if (event.key !== "Escape") return;
        event.stopPropagation();
        end("", true);
      }}
    />
  );
}

const BUSY: Partial<Record<Session["status"], string>> = {
  submitted: "working",
  streaming: "working",
  awaiting: "needs your answer",
  recovering: "recovering",
};

/** Status first, and whole: it is the notebook's name that gives way. */
function About({ session }: { session: Session }) {
  const notebook = session.notebook_path?.split("/").at(-1);
  return (
    <span class="jp-agent-session-about" data-status={session.status}>
      <span>{session.archived_at === null ? (BUSY[session.status] ?? ago(session.updated_at)) : "archived"}</span>
      {notebook ? <span title={session.notebook_path ?? undefined}>{notebook}</span> : null}
    </span>
  );
}

function ago(then: number): string {
  const minutes = Math.round((Date.now() - then) / 60_000);
  if (minutes < 1) return "just now";
  if (minutes < 60) return `${minutes} min ago`;
  if (minutes < 24 * 60) return `${Math.round(minutes / 60)} h ago`;
  return new Date(then).toLocaleDateString();
}
