import { Component, type ComponentChild, type FunctionComponent } from "preact";

/** Render anew only when a prop is another value. The view keeps the identity of what didn't change. */
export function memo<P extends object>(Inner: FunctionComponent<P>): new () => Component<P> {
  return class Memo extends Component<P> {
    override shouldComponentUpdate(next: Readonly<P>): boolean {
      const now = this.props as Record<string, unknown>;
      const then = next as Record<string, unknown>;
      const names = new Set([...Object.keys(now), ...Object.keys(then)]);
      for (const name of names) if (now[name] !== then[name]) return true;
      return false;
    }
    override render(): ComponentChild {
      return <Inner {...(this.props as P)} />;
    }
  };
}
