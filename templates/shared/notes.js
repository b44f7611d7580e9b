const form = document.querySelector("form");
const list = document.querySelector("ul");

function show(note) {
  const item = document.createElement("li");
  item.textContent = note.text;
  list.append(item);
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const response = await fetch("/api/notes", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ text: form.elements.text.value }),
  });
  if (response.ok) {
    show(await response.json());
    form.reset();
  }
});

const notes = await fetch("/api/notes");
(await notes.json()).forEach(show);
