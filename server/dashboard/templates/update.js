"use strict";
// Every few seconds the page is asked for again, and what has changed is put in the place of what was there.
const seconds = Number(document.documentElement.dataset.refresh);
const stale = document.getElementById("stale");
let since = new Date();

async function update() {
  try {
    const answer = await fetch("/", { cache: "no-store", signal: AbortSignal.timeout(3000 * seconds) });
    if (!answer.ok) throw new Error(await answer.text());
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const old of document.querySelectorAll(".now")) {
      const next = fresh.getElementById(old.id);
      if (next.innerHTML !== old.innerHTML) old.replaceChildren(...next.childNodes);
    }
    document.title = fresh.title;
    since = new Date();
    stale.hidden = true;
  } catch (error) {
    stale.textContent = `This is old: no answer since ${since.toLocaleTimeString()}. Does “ra-server dashboard” run?`;
    stale.hidden = false;
    document.title = `? ${document.title.replace(/^\S+ /, "")}`;
  }
  document.body.classList.toggle("outdated", !stale.hidden);
  setTimeout(update, 1000 * seconds);
}

setTimeout(update, 1000 * seconds);
