// One station's live page: puts in what the server drew, holds it on demand, answers keys.
// Draws nothing itself: every fragment comes escaped from the server.
"use strict";

(() => {
  const body = document.body;
  const words = body.dataset;
  const STRIP = parseInt(words.strip, 10);
  const at = (id) => document.getElementById(id);
  body.classList.add("js");

  let held = null; // { since: "12:03:11", count, newest: last results event, cells: [events] }

  function put(id, html) {
    const place = at(id);
    if (place.lsHtml !== html) {
      place.lsHtml = html;
      place.innerHTML = html;
    }
  }

  function addCells(event) {
    const list = at("cells");
    if (event.reset) list.replaceChildren();
    list.insertAdjacentHTML("beforeend", event.cells);
    while (list.children.length > STRIP) list.firstElementChild.remove();
  }

  // The picture is fetched before it is shown, so that the old one does not flash away;
  // a verdict waits for its picture only a moment.
  let turn = 0;
  function showNewest(html) {
    const mine = ++turn;
    const template = document.createElement("template");
    template.innerHTML = html;
    const image = template.content.querySelector("svg.judged image");
    const show = () => {
      if (mine === turn) at("newest").replaceChildren(template.content);
      Ages.tick();
    };
    if (!image) return show();
    const early = new Image();
    early.src = image.getAttribute("href");
    Promise.race([early.decode().catch(() => {}), new Promise((done) => setTimeout(done, 400))]).then(show);
  }

  function results(event) {
    if (held) {
      held.count += event.count;
      if (event.reset) held.events.length = 0;
      held.events.push(event);
      if (held.events.length > STRIP) held.events.shift();
      sayHeld();
      return;
    }
    addCells(event);
    showNewest(event.newest);
    put("bad", event.bad);
  }

  function now(event) {
    for (const contact of ["live", "silent", "never"]) body.classList.toggle(contact, contact === event.contact);
    put("banner", event.banner);
    at("clock").textContent = event.clock;
    put("counts", event.counts);
    putStatus(event.status);
  }

  // The camera's picture stays in place while the words around it change.
  function putStatus(html) {
    const template = document.createElement("template");
    template.innerHTML = html;
    const old = [...at("status").querySelectorAll("img.live-frame")];
    for (const image of template.content.querySelectorAll("img.live-frame")) {
      const same = old.find((o) => (o.dataset.source || o.getAttribute("src")) === image.getAttribute("src"));
      if (same) image.replaceWith(same);
      else image.dataset.source = image.getAttribute("src");
    }
    at("status").replaceChildren(template.content);
  }

  let frameNumber = 0;
  function nextFrames() {
    if (document.hidden || held || !body.classList.contains("live") || body.classList.contains("unheard")) return;
    frameNumber += 1;
    for (const image of document.querySelectorAll("img.live-frame")) {
      if (!image.dataset.source) image.dataset.source = image.getAttribute("src");
      if (image.lsBusy) continue;
      const next = new Image();
      image.lsBusy = true;
      next.onload = () => {
        for (const name of ["class", "alt", "width", "height", "data-source"]) {
          next.setAttribute(name, image.getAttribute(name));
        }
        image.replaceWith(next);
      };
      next.onerror = () => { image.lsBusy = false; };
      next.src = `${image.dataset.source}?n=${frameNumber}`;
    }
  }

  function sayHeld() {
    at("held").textContent = words.held.replace("{time}", held.since).replace("{n}", held.count);
  }

  function toggleHold() {
    if (held) {
      const late = held;
      held = null;
      for (const event of late.events) addCells(event);
      const last = late.events[late.events.length - 1];
      if (last) {
        showNewest(last.newest);
        put("bad", last.bad);
      }
    } else {
      held = { since: at("clock").textContent, count: 0, events: [] };
      sayHeld();
    }
    at("held").hidden = !held;
    body.classList.toggle("is-held", Boolean(held));
    at("hold").setAttribute("aria-pressed", String(Boolean(held)));
    at("hold-word").textContent = held ? words.resume : words.hold;
  }

  function showKeys() {
    if (at("keys").open) at("keys").close();
    else at("keys").showModal();
  }

  function follow(id) {
    const link = at(id);
    if (link) link.click();
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "?") showKeys();
    else if (at("keys").open) return;
    else if (event.key === "f") toggleHold();
    else if (event.key === "o") follow("open-result");
    else if (event.key === "w") follow("to-wall");
  });
  at("hold").addEventListener("click", toggleHold);
  at("keys-open").addEventListener("click", showKeys);
  at("keys-close").addEventListener("click", () => at("keys").close());

  setInterval(nextFrames, 1000);
  Live.follow(`${words.events}?after=${words.after}`, { results, now });
})();
