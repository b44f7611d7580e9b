import { useState } from "react";

export function App() {
  const [count, setCount] = useState(0);

  return (
    <main className="grid min-h-screen place-items-center bg-gradient-to-br from-sky-50 via-white to-indigo-100 p-6 text-slate-900">
      <section className="w-full max-w-xl rounded-3xl bg-white/80 p-10 shadow-xl ring-1 ring-slate-900/5 backdrop-blur">
        <p className="text-sm font-semibold tracking-wide text-indigo-600 uppercase">React + Vite</p>
        <h1 className="mt-2 text-4xl font-bold tracking-tight">Your app starts here</h1>
        <p className="mt-4 leading-relaxed text-slate-600">
          Say what it should become, or edit{" "}
          <code className="rounded bg-slate-100 px-1.5 py-0.5 text-sm">src/App.tsx</code> and watch this page change.
        </p>
        <button
          type="button"
          className="mt-8 rounded-xl bg-indigo-600 px-5 py-3 font-semibold text-white shadow transition hover:bg-indigo-500 focus-visible:outline-2 focus-visible:outline-offset-2 focus-visible:outline-indigo-600"
          onClick={() => setCount(count + 1)}
        >
          Clicked {count} {count === 1 ? "time" : "times"}
        </button>
      </section>
    </main>
  );
}
