import { Greeting } from "./greeting";

export default function Home() {
  return (
    <main className="page">
      <section className="card">
        <p className="eyebrow">Next.js</p>
        <h1>Your app starts here</h1>
        <p>
          Say what it should become, or edit <code>app/page.tsx</code> and watch this page change.
        </p>
        <Greeting />
      </section>
    </main>
  );
}
