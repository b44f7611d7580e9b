'use strict';

const form = document.querySelector('#form');
const title = document.querySelector('#title');
const body = document.querySelector('#body');
const search = document.querySelector('#search');
const list = document.querySelector('#list');
const count = document.querySelector('#count');
const submit = document.querySelector('#save');
const cancel = document.querySelector('#cancel');

let notes = load();
let edited = null;

function load() {
  try {
    const saved = JSON.parse(localStorage.getItem('notes'));
    return Array.isArray(saved) ? saved : [];
  } catch {
    return [];
  }
}

function save() {
  try {
    localStorage.setItem('notes', JSON.stringify(notes));
  } catch {
    // Private windows may refuse to store; the notes still work until it is closed.
  }
}

function startNew() {
  edited = null;
  form.reset();
  submit.textContent = 'Save note';
  cancel.hidden = true;
}

function startEdit(note) {
  edited = note;
  title.value = note.title;
  body.value = note.body;
  submit.textContent = 'Save changes';
  cancel.hidden = false;
  form.scrollIntoView({ block: 'nearest' });
  title.focus();
}

function quietButton(text, label, action) {
  const button = document.createElement('button');
  button.type = 'button';
  button.className = 'quiet';
  button.textContent = text;
  button.setAttribute('aria-label', label);
  button.addEventListener('click', action);
  return button;
}

function card(note) {
  const article = document.createElement('article');
  article.className = 'note';
  const heading = document.createElement('h2');
  heading.textContent = note.title;
  const text = document.createElement('p');
  text.textContent = note.body;

  const actions = document.createElement('div');
  actions.className = 'actions';
  const time = document.createElement('time');
  time.dateTime = new Date(note.changed).toISOString();
  time.textContent = new Date(note.changed).toLocaleDateString();
  const remove = () => {
    notes = notes.filter((other) => other !== note);
    if (edited === note) startNew();
    save();
    render();
  };
  actions.append(
    time,
    quietButton('Edit', `Edit “${note.title}”`, () => startEdit(note)),
    quietButton('Delete', `Delete “${note.title}”`, remove),
  );
  article.append(heading, text, actions);
  return article;
}

function render() {
  const wanted = search.value.trim().toLowerCase();
  const shown = notes.filter((note) => `${note.title}\n${note.body}`.toLowerCase().includes(wanted));
  list.replaceChildren(...shown.map(card));
  if (notes.length === 0) count.textContent = 'No notes yet. Write the first one above.';
  else if (wanted !== '') count.textContent = `${shown.length} of ${notes.length} found`;
  else count.textContent = `${notes.length} ${notes.length === 1 ? 'note' : 'notes'}`;
}

form.addEventListener('submit', (event) => {
  event.preventDefault();
  const heading = title.value.trim();
  if (heading === '') return;
  const note = { title: heading, body: body.value.trim(), changed: Date.now() };
  notes = [note, ...notes.filter((other) => other !== edited)];
  save();
  startNew();
  render();
});

document.querySelector('#new').addEventListener('click', () => {
  startNew();
  title.focus();
});
cancel.addEventListener('click', startNew);
search.addEventListener('input', render);

render();
