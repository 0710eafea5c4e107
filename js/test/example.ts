/** Conversations to look at: one scene for each thing that a panel can be in. */
import type {
  Approval,
  Display,
  EventFrame,
  Message,
  Part,
  Session,
  Task,
  ToolPart,
  Turn,
  Usage,
} from "../src/protocol.gen";
import { Recorder } from "./recorder";

export const USAGE: Usage = {
  input_tokens: 0,
  output_tokens: 0,
  cache_read_input_tokens: 0,
  cache_creation_input_tokens: 0,
  cost_usd: null,
};

export const SID = "ses_0123456789abcdef0123";

export function aSession(changes: Partial<Session> = {}): Session {
  return {
    id: SID,
    title: "Penguins: body mass by species",
    mode: "build",
    model: "claude-sonnet-5-5",
    status: "ready",
    archived_at: null,
    notebook_path: "penguins.ipynb",
    created_at: 0,
    updated_at: 0,
    rev: 1,
    usage: USAGE,
    ...changes,
  };
}

export function aMessage(id: string, role: Message["role"], parts: Part[], changes: Partial<Message> = {}): Message {
  return {
    id,
    role,
    status: "complete",
    turn_id: "trn_1",
    parent_id: null,
    created_at: 0,
    parts,
    meta: {},
    truncated: false,
    ...changes,
  };
}

export function aText(id: string, idx: number, text: string, state: "streaming" | "done" = "done"): Part {
  return { id, idx, type: "text", text, state, superseded: false, truncated: false };
}

export function aThought(id: string, idx: number, text: string, state: "streaming" | "done" = "done"): Part {
  return { id, idx, type: "reasoning", text, state, superseded: false, truncated: false };
}

export function aTool(id: string, idx: number, name: string, changes: Partial<ToolPart> = {}): ToolPart {
  return {
    id,
    idx,
    type: "tool",
    tool_call_id: `call_${id}`,
    name,
    effect: "read",
    state: "output-available",
    running: false,
    superseded: false,
    truncated: false,
    input: {},
    output: null,
    error: null,
    reason: null,
    approval_id: null,
    allowed: null,
    rev: 1,
    started_at: null,
    ended_at: null,
    ...changes,
  };
}

export function aTurn(changes: Partial<Turn> = {}): Turn {
  return {
    id: "trn_2",
    trigger: "user",
    message_id: "msg_b",
    mode: "build",
    status: "running",
    step: 1,
    attempt: 0,
    user: "",
    started_at: 0,
    ...changes,
  };
}

export function aTask(id: string, title: string, status: Task["status"], mode: Task["mode"] = "build"): Task {
  return { id, title, description: "", mode, status, created_at: 0, completed_at: null, turn_id: null, rev: 3 };
}

/** Snapshot and caught_up: what a subscription brings first. */
export function opening(
  recorder: Recorder,
  messages: Message[],
  more: Partial<Extract<EventFrame, { type: "snapshot" }>["d"]> = {},
): EventFrame[] {
  const as_of = recorder.seq;
  const snapshot = recorder.transient("snapshot", {
    as_of,
    session: aSession(),
    messages,
    page: { before: null, has_more: false },
    turn: null,
    queue: [],
    paused: false,
    approvals: [],
    tasks: [],
    last_outcome: null,
    ...more,
  });
  return [snapshot, recorder.transient("caught_up", { seq: as_of })];
}

const CHART = `<svg xmlns="http://www.w3.org/2000/svg" width="360" height="160"><rect width="360" height="160" fill="#fff"/>
<g fill="#4c78a8"><rect x="40" y="60" width="60" height="80"/><rect x="140" y="70" width="60" height="70"/><rect x="240" y="20" width="60" height="120"/></g>
<g font-family="sans-serif" font-size="12" text-anchor="middle"><text x="70" y="155">Adelie</text><text x="170" y="155">Chinstrap</text><text x="270" y="155">Gentoo</text></g></svg>`;

const ANSWER = `Gentoo penguins are the heaviest, by about **1.3 kg** on average.

| species | n | mean mass (g) |
|---|---:|---:|
| Adelie | 151 | 3701 |
| Chinstrap | 68 | 3733 |
| Gentoo | 123 | 5076 |

What I did:

1. Dropped the two rows without \`body_mass_g\`.
2. Grouped by \`species\` and took the mean.
   - the spread is similar in all three
3. Added a bar chart below the third cell.

\`\`\`python
means = df.dropna(subset=["body_mass_g"]).groupby("species")["body_mass_g"].mean()
means.plot.bar(ylabel="mean body mass (g)", title="A rather long title that makes this line overflow the column")
\`\`\`

> The data are from [Horst et al.](https://allisonhorst.github.io/palmerpenguins/), see also https://example.org/penguins.

![tracking pixel](https://evil.example/pixel.png) is an image that is not fetched.`;

const RUN_OUTPUT: Display[] = [
  { type: "code", language: "python", label: "cell 4", text: 'means.plot.bar(ylabel="mean body mass (g)")' },
  {
    type: "text",
    text: "\u001b[32mdone\u001b[0m in 0.2 s\n\u001b[1;31mFutureWarning\u001b[0m: observed=False is deprecated",
  },
  { type: "image", mime: "image/svg+xml", data: btoa(CHART), alt: "Bar chart" },
  {
    type: "table",
    header: ["name", "type", "shape"],
    rows: [
      ["df", "DataFrame", "344 × 8"],
      ["means", "Series", "3"],
    ],
  },
];

const PAST: Message[] = [
  aMessage("msg_a", "user", [aText("prt_a", 0, "Which species is the heaviest?\nPlot the mean body mass, please.")]),
  aMessage("msg_1", "assistant", [
    aThought("prt_1", 0, "The user wants the mean body mass by species. First look at **what is loaded**."),
    aTool("prt_2", 1, "list_variables", { output: { model: null, display: [RUN_OUTPUT[3] as Display] } }),
    aTool("prt_3", 2, "insert_cell", {
      effect: "write",
      input: { source: 'means.plot.bar(ylabel="mean body mass (g)")', cell_type: "code" },
      output: {
        model: null,
        display: [{ type: "diff", before: "", after: "means.plot.bar()", language: "python", label: "new cell 4" }],
      },
    }),
    aTool("prt_4", 3, "run_cell", {
      effect: "execute",
      started_at: 0,
      ended_at: 2300,
      output: { model: null, display: RUN_OUTPUT },
    }),
    aTool("prt_5", 4, "edit_cell", {
      effect: "write",
      state: "output-error",
      error: "The cell has changed since it was read: read it again.",
      input: { cell_id: "a1b2c3", source: "df.head()" },
    }),
    aTool("prt_6", 5, "delete_cell", {
      effect: "write",
      state: "output-denied",
      reason: "denied",
      error: "Keep that cell.",
    }),
    aText("prt_7", 6, ANSWER),
  ]),
];

const BEFORE = `def clean(frame):
    frame = frame.dropna()
    frame = frame[frame.mass > 0]
    return frame

clean(df)
`;
const AFTER = `def clean(frame, columns=("body_mass_g",)):
    frame = frame.dropna(subset=list(columns))
    frame = frame[frame.body_mass_g > 0]
    return frame

clean(df)
`;

export const APPROVAL: Approval = {
  id: "apr_1",
  part_id: "prt_c",
  tool_call_id: "call_prt_c",
  rev: 1,
  options: ["allow", "deny"],
  scopes: ["once", "session"],
  preview: [{ type: "diff", before: BEFORE, after: AFTER, language: "python", label: "cell 2" }],
  input_hash: "",
  requested_at: 0,
  expires_at: null,
};

const ASK = aMessage("msg_q", "user", [aText("prt_q", 0, "Make clean() drop only rows without a mass.")], {
  turn_id: "trn_2",
});

type Scene = (recorder: Recorder) => EventFrame[];

export const SCENES: Record<string, Scene> = {
  rich: (recorder) => opening(recorder, PAST, { page: { before: "msg_a", has_more: true } }),
  empty: (recorder) => [
    recorder.transient("welcome", {
      protocol: 1,
      server: "jupyter-agent-panel/0.1.0",
      features: ["model:demo"],
      limits: { frame_bytes: 1 << 20, page: 25, attachment_bytes: 20 << 20 },
      user: "me",
    }),
    ...opening(recorder, [], { session: aSession({ title: "", mode: "plan" }) }),
  ],
  approval: (recorder) =>
    opening(
      recorder,
      [
        ASK,
        aMessage(
          "msg_b",
          "assistant",
          [
            aText("prt_b", 0, "`clean()` drops every row with *any* missing value. I'd limit it to the mass:"),
            aTool("prt_c", 1, "edit_cell", {
              effect: "write",
              state: "approval-requested",
              approval_id: "apr_1",
              input: { source: AFTER },
            }),
          ],
          { status: "streaming", turn_id: "trn_2" },
        ),
      ],
      {
        turn: aTurn({ status: "awaiting" }),
        approvals: [APPROVAL],
        queue: [
          {
            id: "que_1",
            message_id: "msg_x",
            parts: [
              {
                id: "p",
                idx: 0,
                type: "text",
                text: "Then run all cells below and tell me whether anything changed",
                state: "done",
                superseded: false,
                truncated: false,
              },
            ],
            when_busy: "queue",
            user: "",
            task_id: null,
            rev: 1,
            created_at: 0,
          },
          {
            id: "que_2",
            message_id: "msg_y",
            parts: [
              { id: "p", idx: 0, type: "text", text: "Save", state: "done", superseded: false, truncated: false },
            ],
            when_busy: "queue",
            user: "",
            task_id: null,
            rev: 1,
            created_at: 0,
          },
        ],
      },
    ),
  writing: (recorder) => {
    const source = JSON.stringify({ cell_type: "code", source: AFTER });
    return [
      ...opening(
        recorder,
        [
          ASK,
          aMessage("msg_b", "assistant", [aThought("prt_b", 0, "Looking at clean() again")], {
            status: "streaming",
            turn_id: "trn_2",
          }),
        ],
        { turn: aTurn() },
      ),
      recorder.durable("part.added", {
        message_id: "msg_b",
        part: aTool("prt_c", 1, "insert_cell", {
          effect: "write",
          state: "input-streaming",
          input: null,
          input_json: "",
        }),
      }),
      recorder.durable("part.delta", { part_id: "prt_c", at: 0, field: "input_json", delta: source.slice(0, 170) }),
    ];
  },
  streaming: (recorder) => [
    ...opening(
      recorder,
      [
        ASK,
        aMessage("msg_b", "assistant", [aThought("prt_b", 0, "Hm.", "done"), aText("prt_c", 1, "", "streaming")], {
          status: "streaming",
          turn_id: "trn_2",
        }),
      ],
      { turn: aTurn() },
    ),
    recorder.durable("part.delta", {
      part_id: "prt_c",
      at: 0,
      field: "text",
      delta: `The function drops every row with a missing value. A narrower one:\n\n\`\`\`python\n${AFTER.slice(0, 90)}`,
    }),
  ],
  interrupted: (recorder) =>
    opening(
      recorder,
      [
        ASK,
        aMessage(
          "msg_b",
          "assistant",
          [
            aText("prt_b", 0, "I run the cell to see the masses."),
            aTool("prt_c", 1, "run_cell", {
              effect: "execute",
              state: "output-error",
              reason: "interrupted",
              error: "The server ended while this ran.",
              input: { cell_id: "a1b2c3" },
            }),
          ],
          { status: "interrupted", turn_id: "trn_2" },
        ),
      ],
      {
        last_outcome: {
          turn: "trn_2",
          outcome: "interrupted",
          error: null,
          usage: USAGE,
          message_ids: ["msg_b"],
          ended_at: 0,
        },
      },
    ),
  tasks: (recorder) =>
    opening(recorder, PAST.slice(0, 1), {
      tasks: [
        aTask("tsk_1", "Compare the islands, too", "pending"),
        aTask("tsk_2", "Write a summary of all that was found so far into a markdown cell", "running", "plan"),
        aTask("tsk_3", "Drop unused imports", "done"),
        aTask("tsk_4", "Rename the columns", "cancelled"),
      ],
    }),
  failed: (recorder) =>
    opening(
      recorder,
      [
        ASK,
        aMessage("msg_b", "assistant", [aText("prt_b", 0, "I'll look at the cell")], {
          status: "failed",
          turn_id: "trn_2",
        }),
      ],
      {
        paused: true,
        queue: [
          {
            id: "que_1",
            message_id: "msg_x",
            parts: [
              {
                id: "p",
                idx: 0,
                type: "text",
                text: "Then run all cells",
                state: "done",
                superseded: false,
                truncated: false,
              },
            ],
            when_busy: "queue",
            user: "",
            task_id: null,
            rev: 1,
            created_at: 0,
          },
        ],
        last_outcome: {
          turn: "trn_2",
          outcome: "failed",
          error: {
            code: "overloaded",
            message: "Claude is overloaded at the moment.",
            retryable: true,
            request_id: "req_011CSHoEeqs5C35K2UUqR7Fy",
            hint: "It usually helps to wait a minute.",
          },
          usage: USAGE,
          message_ids: ["msg_b"],
          ended_at: 0,
        },
      },
    ),
};

export function scene(name: string): EventFrame[] {
  return (SCENES[name] ?? (SCENES.rich as Scene))(new Recorder(SID));
}
