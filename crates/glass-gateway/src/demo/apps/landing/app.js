'use strict';

const form = document.querySelector('#form');
const result = document.querySelector('#result');

document.querySelector('#year').textContent = String(new Date().getFullYear());

function check(field) {
  const valid = field.checkValidity();
  field.setAttribute('aria-invalid', String(!valid));
  return valid;
}

form.addEventListener('submit', (event) => {
  event.preventDefault();
  const fields = [...form.querySelectorAll('input, textarea')];
  const wrong = fields.filter((field) => !check(field));
  if (wrong.length > 0) {
    result.textContent = 'Please fill in your name and a valid e-mail address.';
    wrong[0].focus();
    return;
  }
  const name = form.elements.namedItem('name').value.trim();
  form.reset();
  result.textContent = `Thank you, ${name}! This page is a demo, so nothing was sent.`;
});

form.addEventListener('input', (event) => {
  if (event.target.getAttribute('aria-invalid') === 'true') check(event.target);
});
