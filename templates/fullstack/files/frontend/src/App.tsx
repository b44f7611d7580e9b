import { type FormEvent, useEffect, useState } from "react";
import { addTask, changeTask, deleteTask, listTasks, type Task } from "./api";

export function App() {
  const [tasks, setTasks] = useState<Task[]>([]);
  const [title, setTitle] = useState("");
  const [problem, setProblem] = useState("");

  async function attempt(work: () => Promise<unknown>) {
    try {
      await work();
      setTasks(await listTasks());
      setProblem("");
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error));
    }
  }

  useEffect(() => {
    void attempt(async () => {});
  }, []);

  function add(event: FormEvent) {
    event.preventDefault();
    void attempt(() => addTask(title));
    setTitle("");
  }

  const open = tasks.filter((task) => !task.done).length;
  return (
    <main className="min-h-screen bg-gradient-to-br from-amber-50 via-white to-rose-100 px-6 py-16 text-stone-900">
      <section className="mx-auto max-w-xl rounded-3xl bg-white/90 p-10 shadow-xl ring-1 ring-stone-900/5">
        <p className="text-sm font-semibold tracking-wide text-rose-600 uppercase">React + FastAPI + SQLite</p>
        <h1 className="mt-2 text-4xl font-bold tracking-tight">To-do</h1>
        <form className="mt-8 flex gap-3" onSubmit={add}>
          <input
            className="min-w-0 flex-1 rounded-xl border border-stone-300 px-4 py-3 outline-rose-500"
            placeholder="What is to be done?"
            aria-label="Task"
            maxLength={120}
            required
            value={title}
            onChange={(event) => setTitle(event.target.value)}
          />
          <button className="rounded-xl bg-rose-600 px-5 py-3 font-semibold text-white hover:bg-rose-500">Add</button>
        </form>
        {problem && <p className="mt-4 rounded-xl bg-red-50 px-4 py-3 text-red-800">{problem}</p>}
        <ul className="mt-6 divide-y divide-stone-200">
          {tasks.map((task) => (
            <li key={task.id} className="flex items-center gap-3 py-3">
              <label className="flex flex-1 items-center gap-3">
                <input
                  type="checkbox"
                  className="size-5 accent-rose-600"
                  checked={task.done}
                  onChange={() => attempt(() => changeTask(task.id, !task.done))}
                />
                <span className={task.done ? "text-stone-400 line-through" : ""}>{task.title}</span>
              </label>
              <button
                className="rounded-lg px-2 py-1 text-stone-400 hover:bg-stone-100 hover:text-stone-700"
                aria-label={`Delete ${task.title}`}
                onClick={() => attempt(() => deleteTask(task.id))}
              >
                ✕
              </button>
            </li>
          ))}
        </ul>
        <p className="mt-4 text-sm text-stone-500">
          {tasks.length === 0 ? "Nothing here yet." : open === 0 ? "All done." : `${open} to be done.`}
        </p>
      </section>
    </main>
  );
}
