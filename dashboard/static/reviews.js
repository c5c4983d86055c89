// The review queue: keys press the page's own buttons; what the server draws next replaces the desk.
// Without this script every button still works, with a page for each decision.
"use strict";

(() => {
  const at = (id) => document.getElementById(id);
  const words = document.body.dataset;
  document.body.classList.add("js");
  let busy = false;
  let seenAt = performance.now();
  const paces = [];

  function say(text) {
    at("banner").replaceChildren();
    if (!text) return;
    const line = document.createElement("div");
    line.className = "banner silent";
    line.textContent = text;
    at("banner").append(line);
  }

  function pace() {
    const left = at("desk").dataset.left;
    if (paces.length === 0) return;
    const sorted = [...paces].sort((a, b) => a - b);
    const middle = sorted[Math.floor(sorted.length / 2)].toFixed(1).replace(".", words.decimal);
    at("pace").textContent = words.pace.replace("{n}", left).replace("{s}", middle);
  }

  // The pictures of the part after this one are asked for while this one is looked at.
  function preload() {
    const next = document.querySelector(".film .now + li a");
    if (!next) return;
    fetch(next.href, { headers: { Accept: "text/html" } })
      .then((answer) => answer.text())
      .then((html) => {
        const desk = new DOMParser().parseFromString(html, "text/html");
        for (const image of desk.querySelectorAll(".bench svg image")) new Image().src = image.getAttribute("href");
      })
      .catch(() => {});
  }

  async function go(url, options) {
    if (busy) return;
    busy = true;
    try {
      const answer = await fetch(url, options);
      if (!answer.ok) throw new Error(String(answer.status));
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const desk = page.getElementById("desk");
      if (!desk) return location.assign(answer.url); // signed out meanwhile
      say("");
      at("desk").replaceWith(document.adoptNode(desk));
      document.title = page.title;
      const shown = new URL(answer.url);
      shown.searchParams.delete("word");
      history.replaceState(null, "", shown);
      seenAt = performance.now();
      pace();
      watchPictures();
      preload();
    } catch {
      say(words.failed);
    } finally {
      busy = false;
    }
  }

  function press(button) {
    const form = button.form;
    const sent = new URLSearchParams();
    for (const [name, value] of new FormData(form)) sent.set(name, value);
    if (button.name) sent.set(button.name, button.value);
    if (button.dataset.decision) sent.set("decision", button.dataset.decision);
    if (form.classList.contains("decisions")) {
      const seconds = (performance.now() - seenAt) / 1000;
      sent.set("seconds", seconds.toFixed(2));
      paces.push(seconds);
      if (paces.length > 20) paces.shift();
    }
    go(form.action, { method: "POST", body: sent });
  }

  // A picture that does not come says why: gone for good, or the device is away.
  function watchPictures() {
    for (const image of document.querySelectorAll(".bench svg image, .bench img")) {
      image.addEventListener("error", async () => {
        const source = image.getAttribute("href") || image.getAttribute("src");
        const place = image.closest("figure");
        const status = await fetch(source).then((a) => a.status, () => 0);
        if (place) place.dataset.missing = status === 404 ? words.gone : words.away;
      }, { once: true });
      if (image.href) image.setAttribute("href", image.getAttribute("href"));
    }
  }

  function along(step) {
    const cells = [...document.querySelectorAll(".film a")];
    const now = cells.findIndex((cell) => cell.getAttribute("aria-current"));
    const next = cells[now + step];
    if (next) go(next.href);
  }

  function showKeys() {
    if (at("keys").open) at("keys").close();
    else at("keys").showModal();
  }

  document.addEventListener("submit", (event) => {
    if (!at("desk").contains(event.target) || event.target.closest(".policy")) return;
    event.preventDefault();
    if (event.submitter) press(event.submitter);
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (event.target.matches("input, textarea, select")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (event.key === "?") return showKeys();
    if (at("keys").open) return;
    if (event.key === "j") return along(1);
    if (event.key === "k") return along(-1);
    const button = at("desk").querySelector(`button[data-key="${CSS.escape(event.key)}"]`);
    if (button) {
      event.preventDefault();
      press(button);
    }
  });
  at("keys-open").addEventListener("click", showKeys);
  at("keys-close").addEventListener("click", () => at("keys").close());
  watchPictures();
  preload();
})();
