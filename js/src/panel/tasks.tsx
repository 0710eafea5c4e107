/** What was written down to be done later: a line until it is opened. */
import { useEffect, useRef, useState } from "preact/hooks";
import { accepted, createTask, runTask, updateTask } from "../orders";
import type { Task } from "../protocol.gen";
import { usePanel } from "./context";
import { Icon, type IconName } from "./icons";

const OPEN: ReadonlySet<Task["status"]> = new Set(["pending", "running"]);
const STATES: Record<Task["status"], string> = {
  pending: "",
  running: "running…",
  done: "done",
  failed: "failed",
  cancelled: "cancelled",
};
const MARKS: Partial<Record<Task["status"], string>> = { running: "busy", done: "done", failed: "error" };

export function Tasks() {
  const { client, writingTask } = usePanel();
  const tasks = client.view.value.tasks;
  const writing = writingTask.value;
  const [chosen, setChosen] = useState(false);
  const open = chosen || writing;
  if (tasks.length === 0 && !writing) return null;
  const left = tasks.filter((task) => OPEN.has(task.status));
  const running = tasks.find((task) => task.status === "running");
  const toggle = () => {
    setChosen(!open);
    writingTask.value = false;
  };
  return (
    <section class="jp-agent-tasks" aria-label="Tasks">
      <button type="button" class="jp-agent-line" aria-expanded={open} onClick={toggle}>
        <span class="jp-agent-line-title">Tasks</span>
        <span class="jp-agent-line-summary">{running?.title ?? (open ? "" : (left[0]?.title ?? ""))}</span>
        <span class="jp-agent-line-state">
          {left.length > 0 ? `${left.length} open` : tasks.length > 0 ? "all done" : ""}
        </span>
        <Icon name="chevron" />
      </button>
      {open ? (
        <>
          <ul>
            {tasks.map((task) => (
              <TaskLine key={task.id} task={task} />
            ))}
          </ul>
          <NewTask focus={writing} />
        </>
      ) : null}
    </section>
  );
}

function TaskLine({ task }: { task: Task }) {
  const { client } = usePanel();
  const waits = client.view.value.queue.some((item) => item.task_id === task.id);
  const state = waits ? "queued" : STATES[task.status];
  const set = (status: Task["status"]) => void updateTask(client, task, { status });
  return (
    <li class="jp-agent-task" data-task-id={task.id} data-status={task.status}>
      <span class="jp-agent-mark" data-mark={MARKS[task.status]} aria-hidden="true" />
      <span class="jp-agent-task-title" title={[task.title, task.description].filter(Boolean).join("\n\n")}>
        {task.title}
      </span>
      <span class="jp-agent-muted">{[task.mode === "plan" ? "plan" : "", state].filter(Boolean).join(" · ")}</span>
      {task.status !== "running" && !waits ? (
        <Act icon="play" name={`Run ${task.title}`} title="Run" act={() => void runTask(client, task)} />
      ) : null}
      {task.status === "pending" ? (
        <>
          <Act icon="check" name={`Mark ${task.title} as done`} title="Done" act={() => set("done")} />
          <Act icon="close" name={`Cancel ${task.title}`} title="Cancel" act={() => set("cancelled")} />
        </>
      ) : null}
    </li>
  );
}

interface ActProps {
  icon: IconName;
  name: string;
  title: string;
  act: () => void;
}

function Act({ icon, name, title, act }: ActProps) {
  return (
    <button type="button" class="jp-agent-tool-button" aria-label={name} title={title} onClick={act}>
      <Icon name={icon} />
    </button>
  );
}

function NewTask({ focus }: { focus: boolean }) {
  const { client, writingTask, focusComposer } = usePanel();
  const [title, setTitle] = useState("");
  const box = useRef<HTMLInputElement>(null);
  useEffect(() => {
    if (focus) box.current?.focus();
  }, [focus]);
  const blank = title.trim() === "";
  const add = () => {
    if (blank) return;
    setTitle("");
    const mode = client.view.peek().session?.mode ?? "build";
    void createTask(client, title.trim(), mode).then((ack) => {
      if (!accepted(ack)) setTitle((now) => now || title); // give it back
    });
  };
  return (
    <div class="jp-agent-task-new">
      <input
        ref={box}
        class="jp-agent-input jp-agent-task-title-box"
        aria-label="New task"
        placeholder="Something to do later"
        maxLength={200}
        value={title}
        onInput={(event) => setTitle(event.currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key === "Enter" && !event.isComposing) add();
          if (event.key !== "Escape") return;
          event.stopPropagation();
          writingTask.value = false;
          focusComposer();
        }}
      />
      <button type="button" class="jp-agent-button" disabled={blank} onClick={add}>
        Add
      </button>
    </div>
  );
}
