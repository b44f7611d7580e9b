const form = document.querySelector("form");
const list = document.querySelector("ul");

function show(idea) {
  const item = document.createElement("li");
  item.textContent = idea.text;
  list.append(item);
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const response = await fetch("/api/ideas", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ text: form.text.value }),
  });
  if (response.ok) {
    show(await response.json());
    form.reset();
  }
});

const ideas = await fetch("/api/ideas");
(await ideas.json()).forEach(show);
