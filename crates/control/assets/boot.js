// Sets the chosen theme before the first paint, so that a dark page never flashes white.
// It is a plain script because modules run only after the page is parsed.
(function () {
  try {
    const chosen = localStorage.getItem("trunkline-theme");
    if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
  } catch {
    // Storage may be forbidden; then the system's preference holds.
  }
})();
