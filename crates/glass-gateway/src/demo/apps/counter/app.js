'use strict';

const output = document.querySelector('#value');
const step = document.querySelector('#step');

let value = load();

function load() {
  try {
    const saved = Number(localStorage.getItem('counter'));
    return Number.isSafeInteger(saved) ? saved : 0;
  } catch {
    return 0;
  }
}

function show() {
  output.textContent = String(value);
  document.title = `${value} – ${document.querySelector('h1').textContent}`;
}

function set(next) {
  if (!Number.isSafeInteger(next)) return;
  value = next;
  try {
    localStorage.setItem('counter', String(value));
  } catch {
    // Private windows may refuse to store; counting still works.
  }
  show();
  output.classList.remove('bump');
  void output.offsetWidth; // Lets the animation start again.
  output.classList.add('bump');
}

function stepSize() {
  const size = Math.trunc(Number(step.value));
  return size >= 1 && size <= 1000 ? size : 1;
}

document.querySelector('#increase').addEventListener('click', () => set(value + stepSize()));
document.querySelector('#decrease').addEventListener('click', () => set(value - stepSize()));

document.addEventListener('keydown', (event) => {
  if (event.target === step || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === 'ArrowUp') set(value + stepSize());
  else if (event.key === 'ArrowDown') set(value - stepSize());
  else return;
  event.preventDefault();
});

show();
