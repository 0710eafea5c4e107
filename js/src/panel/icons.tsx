/** The few pictures we use, drawn on 16 px in the text's colour. */

const PATHS = {
  chevron: "M6 4l4 4-4 4",
  plus: "M8 3v10M3 8h10",
  list: "M3 4.5h10M3 8h10M3 11.5h10",
  send: "M8 13V3.5M3.8 7.5L8 3.3l4.2 4.2",
  edit: "M3 13l.7-2.8 7-7 2.1 2.1-7 7zM9.5 4.5l2 2",
  close: "M4 4l8 8M12 4l-8 8",
  next: "M4 3.5l6 4.5-6 4.5zM12.5 3.5v9",
  check: "M3.5 8.5l3 3 6-7",
  copy: "M5.5 5.5h7v7h-7zM10 5V3.5H3.5V10H5",
  down: "M4 6l4 4 4-4",
  up: "M4 10l4-4 4 4",
  more: "M3.5 8h.01M8 8h.01M12.5 8h.01",
  play: "M5 3.5l7 4.5-7 4.5z",
} as const;

export type IconName = keyof typeof PATHS | "stop";

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="jp-agent-icon" width="16" height="16" viewBox="0 0 16 16" aria-hidden="true">
      {name === "stop" ? (
        <rect x="4" y="4" width="8" height="8" rx="1.5" fill="currentColor" />
      ) : (
        <path
          d={PATHS[name]}
          fill="none"
          stroke="currentColor"
          stroke-width={name === "more" ? "2" : "1.4"}
          stroke-linecap="round"
          stroke-linejoin="round"
        />
      )}
    </svg>
  );
}
