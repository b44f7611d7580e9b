'use strict';

const copied = document.querySelector('#copied');

for (const button of document.querySelectorAll('[data-prompt]')) {
  button.addEventListener('click', async () => {
    const prompt = button.dataset.prompt;
    try {
      await navigator.clipboard.writeText(prompt);
      copied.textContent = `Copied “${prompt}”. Paste it into the chat.`;
    } catch {
      copied.textContent = `Type “${prompt}” into the chat.`;
    }
  });
}
