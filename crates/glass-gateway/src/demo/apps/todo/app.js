'use strict';

const form = document.querySelector('#form');
const text = document.querySelector('#text');
const list = document.querySelector('#list');
const empty = document.querySelector('#empty');
const count = document.querySelector('#count');
const progress = document.querySelector('#progress');
const filters = document.querySelectorAll('[data-filter]');

let todos = load();
let filter = 'all';

function load() {
  try {
    const saved = JSON.parse(localStorage.getItem('todos'));
    return Array.isArray(saved) ? saved : [];
  } catch {
    return [];
  }
}

function save() {
  try {
    localStorage.setItem('todos', JSON.stringify(todos));
  } catch {
    // Private windows may refuse to store; the list still works until it is closed.
  }
}

function isShown(todo) {
  return filter === 'all' || (filter === 'done') === todo.done;
}

function row(todo) {
  const item = document.createElement('li');
  item.className = todo.done ? 'done' : '';

  const label = document.createElement('label');
  const box = document.createElement('input');
  box.type = 'checkbox';
  box.checked = todo.done;
  box.addEventListener('change', () => {
    todo.done = box.checked;
    save();
    render();
  });
  const name = document.createElement('span');
  name.textContent = todo.text;
  label.append(box, name);

  const remove = document.createElement('button');
  remove.type = 'button';
  remove.className = 'quiet';
  remove.textContent = '✕';
  remove.setAttribute('aria-label', `Delete “${todo.text}”`);
  remove.addEventListener('click', () => {
    todos = todos.filter((other) => other !== todo);
    save();
    render();
    text.focus();
  });

  item.append(label, remove);
  return item;
}

function render() {
  const shown = todos.filter(isShown);
  const open = todos.filter((todo) => !todo.done).length;
  list.replaceChildren(...shown.map(row));
  empty.hidden = shown.length > 0;
  empty.textContent = todos.length === 0
    ? 'Nothing here yet. Add your first task above.'
    : 'No task to show with this filter.';
  count.textContent = `${open} ${open === 1 ? 'task' : 'tasks'} left`;
  progress.style.width = todos.length === 0 ? '0' : `${(1 - open / todos.length) * 100}%`;
  for (const button of filters) {
    button.setAttribute('aria-pressed', String(button.dataset.filter === filter));
  }
}

form.addEventListener('submit', (event) => {
  event.preventDefault();
  const value = text.value.trim();
  if (value === '') return;
  todos.push({ text: value, done: false });
  text.value = '';
  if (filter === 'done') filter = 'all';
  save();
  render();
});

for (const button of filters) {
  button.addEventListener('click', () => {
    filter = button.dataset.filter;
    render();
  });
}

document.querySelector('#today').textContent = new Date().toLocaleDateString(undefined, {
  weekday: 'long',
  day: 'numeric',
  month: 'long',
});

render();
