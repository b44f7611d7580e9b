document.querySelector("#light").addEventListener("click", () => {
  const hue = Math.round(Math.random() * 360);
  document.documentElement.style.setProperty("--hue", hue);
});
