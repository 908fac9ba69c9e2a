// Begins the dashboard, again where that fails: a browser drops what it is reading whenever a network of the machine comes
// or goes, as those of pods do all the time, and does not read a module twice by itself.

const TIMES_MAX = 8;
const PAUSE_MS = 400;
const KEY = "petset-begun";

try {
  await import("./app.js");
  sessionStorage.removeItem(KEY);
} catch (error) {
  const times = Number(sessionStorage.getItem(KEY) ?? 0) + 1;
  sessionStorage.setItem(KEY, times);
  if (times > TIMES_MAX) {
    document.querySelector(".begin").textContent = `cannot begin the dashboard: ${error.message}; load the page again`;
    sessionStorage.removeItem(KEY);
    throw error;
  }
  setTimeout(() => location.reload(), PAUSE_MS * times);
}
