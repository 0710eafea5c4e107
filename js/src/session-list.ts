/** The list of sessions as a page shows it: some pages of it, kept true by what the server tells. */
import type { Session } from "./protocol.gen";

export interface SessionPage {
  readonly sessions: readonly Session[];
  /** There are older ones. */
  readonly has_more: boolean;
}

/** The list after a change. What is shown keeps its place, so that nothing moves away under a finger. */
export function withOne(page: SessionPage, session: Session): SessionPage {
  if (session.archived_at !== null) return without(page, session.id);
  const { sessions, has_more } = page;
  if (sessions.some(({ id }) => id === session.id)) return withAgain(page, session);
  const place = sessions.findIndex((one) => isNewer(session, one));
  if (place >= 0) return { sessions: [...sessions.slice(0, place), session, ...sessions.slice(place)], has_more };
  return has_more ? page : { sessions: [...sessions, session], has_more };
}

/** The list with one of its sessions as it is now, put away or not. */
export function withAgain({ sessions, has_more }: SessionPage, session: Session): SessionPage {
  return { sessions: sessions.map((one) => (one.id === session.id ? session : one)), has_more };
}

export function without(page: SessionPage, id: string): SessionPage {
  return { sessions: page.sessions.filter((one) => one.id !== id), has_more: page.has_more };
}

/** The first page was asked for anew; what is older than all of it stays behind it. */
export function withNewest(page: SessionPage, newest: SessionPage): SessionPage {
  const last = newest.sessions.at(-1);
  if (!newest.has_more || last === undefined) return newest;
  const older = page.sessions.filter((session) => isNewer(last, session));
  return older.length === 0 ? newest : { sessions: [...newest.sessions, ...older], has_more: page.has_more };
}

/** The list with its next page behind it. */
export function withMore(page: SessionPage, more: SessionPage): SessionPage {
  const known = new Set(page.sessions.map(({ id }) => id));
  return { sessions: [...page.sessions, ...more.sessions.filter(({ id }) => !known.has(id))], has_more: more.has_more };
}

/** Behind which session the next page begins. */
export function oldest(page: SessionPage): string | undefined {
  return page.sessions.reduce<Session | undefined>((a, b) => (a === undefined || isNewer(a, b) ? b : a), undefined)?.id;
}

/** The server's own order. */
function isNewer(a: Session, b: Session): boolean {
  return a.updated_at === b.updated_at ? a.id > b.id : a.updated_at > b.updated_at;
}
