// Keys and clocks of the Review pages. Every key presses a button that is on the page; without this file people press it themselves.

const STORE = "andon.review.keys";
let gone = false;

function keysOn() {
  try {
    return localStorage.getItem(STORE) !== "off";
  } catch {
    return true;
  }
}

function words(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds >= 172_800) return `${Math.floor(seconds / 86_400)} days`;
  if (seconds >= 7_200) return `${Math.floor(seconds / 3_600)} h`;
  if (seconds >= 60) return `${Math.floor(seconds / 60)} min`;
  return `${seconds} s`;
}

function typing(target) {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
}

function press(event) {
  if (gone || event.defaultPrevented || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  const dialog = document.querySelector("dialog[open]");
  if (dialog || typing(event.target) || (event.key !== "?" && !keysOn())) return;
  // A focused button or link already acts on Enter by itself.
  if (event.key === "Enter" && event.target instanceof Element && event.target.closest("a, button, summary")) return;
  const wanted = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const found = [...document.querySelectorAll("[data-key]")].find((one) => one.dataset.key.toLowerCase() === wanted.toLowerCase());
  if (!found || found.disabled || found.hidden) return;
  event.preventDefault();
  found.click();
}

/** One answer for one case: what is pressed while the next page is on its way is nobody's answer to it. */
function once(event) {
  if (gone) {
    event.preventDefault();
    return;
  }
  if (event.target.method === "post") gone = true;
}

function clocks() {
  const began = performance.now();
  const tick = () => {
    const passed = performance.now() - began;
    for (const one of document.querySelectorAll("[data-due-ms]")) {
      const left = Number(one.dataset.dueMs) - passed * Number(one.dataset.rate);
      one.classList.toggle("late", left <= 0);
      one.classList.toggle("soon", left > 0 && left < 600_000);
      one.textContent = left > 0 ? `due in ${words(left)}` : `overdue by ${words(-left)}`;
    }
    for (const one of document.querySelectorAll("[data-lease-ms]")) {
      const left = Number(one.dataset.leaseMs) - passed;
      one.textContent = left > 0 ? `yours for ${words(left)}` : "open to others again; your answer counts unless one of them is faster";
    }
    for (const one of document.querySelectorAll("form.held")) {
      const left = Number(one.dataset.leftMs) - passed;
      if (left <= 0) one.remove();
      else one.querySelector("[data-left]").textContent = `${Math.ceil(left / 1000)} s`;
    }
  };
  tick();
  setInterval(tick, 1_000);
}

function keyList() {
  const dialog = document.getElementById("keys");
  const opener = document.querySelector("[data-keys]");
  const on = document.getElementById("keys-on");
  if (!dialog || !opener) return;
  opener.hidden = false;
  opener.addEventListener("click", () => dialog.showModal());
  dialog.querySelector("[data-close]").addEventListener("click", () => dialog.close());
  on.checked = keysOn();
  on.addEventListener("change", () => {
    try {
      localStorage.setItem(STORE, on.checked ? "on" : "off");
    } catch {
      // A browser that keeps nothing: the keys stay on.
    }
  });
}

document.addEventListener("keydown", press);
document.addEventListener("submit", once);
window.addEventListener("pageshow", (event) => {
  // The back button brings an old page: what it shows may be answered by now.
  if (event.persisted) location.reload();
});
clocks();
keyList();
