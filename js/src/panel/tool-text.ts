/** A tool call in words: its name as people say it, and what it is about. */
import { parse } from "partial-json";
import type { ToolPart } from "../protocol.gen";

const TITLES: Record<string, string> = {
  read_notebook: "Read the notebook",
  read_cell: "Read a cell",
  insert_cell: "Insert a cell",
  edit_cell: "Edit a cell",
  delete_cell: "Delete a cell",
  run_cell: "Run a cell",
  list_variables: "List variables",
  inspect_variable: "Inspect",
  create_task: "Note a task",
  update_task: "Update a task",
  exit_plan: "Propose a plan",
};

/** `run_cell` → “Run a cell”; an unknown tool by its own name. */
export function toolTitle(name: string): string {
  const known = TITLES[name];
  if (known !== undefined) return known;
  const words = name.replaceAll("_", " ").trim();
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** The call's input as far as it is known; while it is written, as far as it goes. */
export function toolInput(part: ToolPart): Record<string, unknown> {
  const input = part.input ?? (part.input_json ? tolerantParse(part.input_json) : null);
  return typeof input === "object" && input !== null ? (input as Record<string, unknown>) : {};
}

function tolerantParse(text: string): unknown {
  try {
    return parse(text);
  } catch {
    return null; // not yet enough to read
  }
}

const CODE = ["source", "new_source", "code"] as const;

/** The field that holds the code of a call; null when it brings none. */
export function codeField(input: Record<string, unknown>): string | null {
  return CODE.find((field) => typeof input[field] === "string") ?? null;
}

/** The source, or the plan, that the call brings, if it brings any. */
export function toolCode(input: Record<string, unknown>): { text: string; language: string } | null {
  if (typeof input.plan === "string") return { text: input.plan, language: "markdown" };
  const field = codeField(input);
  if (field === null) return null;
  return { text: input[field] as string, language: input.cell_type === "markdown" ? "markdown" : "python" };
}

/** A few words beside the title. */
export function toolSummary(part: ToolPart): string {
  const label = part.output?.display.find((item) => item.type === "code" || item.type === "diff")?.label;
  if (label) return label;
  const input = toolInput(part);
  for (const field of ["title", "name", "variable", "expression", "path"]) {
    const value = input[field];
    if (typeof value === "string" && value) return value;
  }
  const code = toolCode(input);
  return code === null ? "" : (code.text.split("\n").find((line) => line.trim() !== "") ?? "").trim();
}

/** What isn't code and may still matter: short values under their names; ids are for machines. */
export function toolFacts(input: Record<string, unknown>): [string, string][] {
  return Object.entries(input)
    .filter(([name, value]) => !MACHINE.test(name) && (typeof value === "string" || typeof value === "number"))
    .map(([name, value]): [string, string] => [name.replaceAll("_", " "), String(value)])
    .filter(([, value]) => value !== "" && value.length <= 200);
}

const MACHINE = /^(?:source|new_source|code|plan|base_hash|cell_type|before|after|.*_id)$/;

/** Where a call stands, in a word or two. */
export function toolStateText(part: ToolPart): string {
  switch (part.state) {
    case "input-streaming":
      return "writing…";
    case "input-available":
      return part.running ? "running…" : "waiting";
    case "approval-requested":
      return "needs your answer";
    case "approval-responded":
      return part.running ? "running…" : "allowed";
    case "output-available":
      return part.running ? "running…" : duration(part);
    case "output-denied":
      return "denied";
    case "output-error":
      return FAILED[part.reason ?? ""] ?? "failed";
    default:
      return "";
  }
}

const FAILED: Record<string, string> = {
  interrupted: "outcome unknown",
  stopped: "stopped",
  never_ran: "not run",
  denied: "denied",
};

function duration(part: ToolPart): string {
  if (part.started_at == null || part.ended_at == null) return "";
  const seconds = (part.ended_at - part.started_at) / 1000;
  if (seconds < 1) return "";
  return seconds < 60 ? `${seconds.toFixed(1)} s` : `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}
