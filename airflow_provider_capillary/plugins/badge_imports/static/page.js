// The only script of the page: it takes over the user's theme, updates a running job, and opens links out of the frame.
"use strict";

const SECONDS_BETWEEN_LOOKS = 2;
const framed = window.parent !== window;

function takeTheme() {
  try {
    const root = window.parent.document.documentElement;
    const theme = root.classList.contains("dark") ? "dark" : root.classList.contains("light") ? "light" : "";
    if (framed && theme) document.documentElement.dataset.theme = theme;
  } catch {
    // framed by another origin, which the content security policy forbids: keep the system's theme
  }
}

// Airflow before 3.3.2 allows no downloads from its frames: show the file as a page of text there.
function takeDownloads() {
  try {
    const sandbox = window.frameElement?.sandbox;
    if (!framed || !sandbox?.length || sandbox.contains("allow-downloads")) return;
    for (const link of document.querySelectorAll("a[download]")) {
      const address = new URL(link.href);
      address.searchParams.set("as_text", "true");
      link.href = address.href;
      link.removeAttribute("download");
    }
  } catch {
    // framed by another origin, as below
  }
}

async function look() {
  const live = document.querySelector("[data-live]");
  if (!live) return;
  try {
    const reply = await fetch(live.dataset.live, { credentials: "same-origin", headers: { Accept: "text/html" } });
    if (reply.ok) {
      const text = await reply.text();
      const found = new DOMParser().parseFromString(text, "text/html").getElementById("live");
      const open = [...live.querySelectorAll("details[open] > summary")].map((summary) => summary.textContent);
      if (found && found.innerHTML !== live.innerHTML && !live.contains(document.activeElement)) {
        for (const summary of found.querySelectorAll("details > summary")) {
          if (open.includes(summary.textContent)) summary.parentElement.open = true;
        }
        live.replaceWith(document.importNode(found, true));
        // a job that has ended has other files and actions
        if (!found.dataset.live) window.location.reload();
      }
    }
  } catch {
    // the server may be away for a moment: look again
  }
  window.setTimeout(look, SECONDS_BETWEEN_LOOKS * 1000);
}

// A frame may not navigate its parent, but a link in the parent may: add one there and click it.
document.addEventListener("click", (event) => {
  const link = event.target.closest("a.to-airflow");
  if (!link || !framed || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const own = window.parent.document.createElement("a");
  own.href = link.href;
  window.parent.document.body.append(own);
  own.click();
  own.remove();
});

// A confirmation is sent once.
document.addEventListener("submit", (event) => {
  if (event.target.method === "post") {
    for (const button of event.target.querySelectorAll("button")) button.disabled = true;
  }
});

takeTheme();
takeDownloads();
try {
  if (framed) {
    new MutationObserver(takeTheme).observe(window.parent.document.documentElement, { attributeFilter: ["class"] });
  }
} catch {
  // as above
}
window.setTimeout(look, SECONDS_BETWEEN_LOOKS * 1000);
