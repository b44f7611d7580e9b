const form = document.querySelector("form");
const list = document.querySelector("ul");

function show(item) {
  const entry = document.createElement("li");
  entry.textContent = item.name;
  entry.classList.toggle("done", item.done);
  list.append(entry);
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const response = await fetch("/api/items", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ name: form.elements.name.value }),
  });
  if (response.ok) {
    show(await response.json());
    form.reset();
  }
});

const items = await fetch("/api/items");
(await items.json()).forEach(show);
