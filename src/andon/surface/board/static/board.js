// What the pages do beyond plain HTML: they stay live, show times in the reader's zone, and listen to a few keys.
// Everything here is an addition: each page reads and acts without it.

const zone = new Intl.DateTimeFormat(undefined, { timeZoneName: "short" });
const LEAST_GAP = 2_000;
const RETRY = 5_000;

function two(number) {
  return String(number).padStart(2, "0");
}

/** Show every time in the reader's zone; UTC stays in its title. */
function localTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    if (time.dataset.shown || time.hasAttribute("data-ago")) continue;
    const moment = new Date(time.dateTime);
    if (Number.isNaN(moment.valueOf())) continue;
    const day = `${moment.getFullYear()}-${two(moment.getMonth() + 1)}-${two(moment.getDate())}`;
    const length = time.textContent.trim().length;
    const clock = `${two(moment.getHours())}:${two(moment.getMinutes())}`;
    if (time.hasAttribute("data-day")) time.textContent = day;
    else if (length >= 19) time.textContent = `${day} ${clock}:${two(moment.getSeconds())}`;
    else if (length <= 5) time.textContent = clock;
    else time.textContent = `${day} ${clock}`;
    time.dataset.shown = "1";
  }
  const clock = root.querySelector ? root.querySelector("#clock") : null;
  if (clock) {
    const name = zone.formatToParts(new Date()).find((part) => part.type === "timeZoneName");
    const text = [...clock.childNodes].find((node) => node.nodeType === 3 && node.textContent.includes("UTC"));
    if (text && name) text.textContent = ` ${name.value}`;
  }
}

/** Ask for this page again and put in place what is live and has changed. */
async function refresh() {
  const answer = await fetch(location.href, { headers: { accept: "text/html" }, credentials: "same-origin" });
  if (answer.redirected) return location.reload();
  if (answer.status >= 500) throw new Error(`the board answered ${answer.status}`);
  if (!answer.ok && answer.status !== 404) return undefined;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const now of document.querySelectorAll("[data-live][id]")) {
    const next = fresh.getElementById(now.id);
    if (!next) continue;
    if (now.dataset.was === undefined) now.dataset.was = "";
    const html = next.innerHTML;
    const same = now.dataset.was === html && now.className === next.className;
    if (same || now.contains(document.activeElement)) continue;
    const open = new Set([...now.querySelectorAll("details[open][id]")].map((one) => one.id));
    const copy = document.importNode(next, true);
    copy.dataset.was = html;
    for (const one of copy.querySelectorAll("details[id]")) if (open.has(one.id)) one.open = true;
    now.replaceWith(copy);
    localTimes(copy.parentNode || document);
  }
  document.dispatchEvent(new CustomEvent("andon:refreshed"));
  return undefined;
}

/** Listen to the line; the tab that nobody looks at lets go of its connection. */
function live() {
  const topics = (document.body.dataset.liveOn || "").split(" ").filter(Boolean);
  if (!topics.length || !window.EventSource) return;
  const broken = document.getElementById("broken");
  let source = null;
  let marks = null;
  let returned = false;
  let stale = false; // what is shown could not be asked for again
  let last = 0;
  let timer = 0;

  const again = () => {
    clearTimeout(timer);
    timer = setTimeout(async () => {
      last = Date.now();
      try {
        await refresh();
        broken.hidden = true;
        stale = false;
      } catch {
        broken.hidden = false;
        stale = true;
        timer = setTimeout(again, RETRY);
      }
    }, Math.max(0, last + LEAST_GAP - Date.now()));
  };
  const listen = () => {
    source = new EventSource("/api/v1/events");
    source.addEventListener("marks", (event) => {
      const next = JSON.parse(event.data);
      if (!stale) broken.hidden = true;
      // The first marks of a page that was just loaded are those it was made with.
      if (marks === null ? returned : topics.some((topic) => next[topic] !== marks[topic])) again();
      returned = true;
      marks = next;
    });
    source.onerror = () => {
      broken.hidden = false;
      marks = null;
      returned = true;
      if (source.readyState === EventSource.CLOSED) {
        source = null;
        setTimeout(() => source || document.hidden || listen(), 3_000);
      }
    };
  };
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      source?.close();
      source = null;
    } else if (!source) {
      marks = null;
      listen();
    }
  });
  window.addEventListener("pagehide", () => source?.close());
  if (!document.hidden) listen();
}

localTimes(document);
live();
