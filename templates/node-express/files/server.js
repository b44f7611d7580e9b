import express from "express";

const app = express();
const port = process.env.PORT ?? 3000;
const notes = [{ text: "The first of many" }];

app.use(express.json());
app.use(express.static("public"));

app.get("/api/health", (request, response) => response.json({ ok: true }));

app.get("/api/notes", (request, response) => response.json(notes));

app.post("/api/notes", (request, response) => {
  const text = String(request.body?.text ?? "").trim();
  if (!text) return response.status(422).json({ error: "text is empty" });
  const note = { text };
  notes.push(note);
  response.status(201).json(note);
});

app.listen(port, "127.0.0.1", () => console.log(`listening on port ${port}`));
