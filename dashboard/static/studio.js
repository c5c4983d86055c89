// The editor of a recipe draft: checks while one writes, regions drawn on a frame, thresholds replayed.
// The text is the truth: what is drawn or slid is put into it, and read back from it.
"use strict";

(() => {
  const words = document.body.dataset;
  const at = (id) => document.getElementById(id);
  const say = (pattern, values) => pattern.replace(/\{(\w+)\}/g, (_, key) => values[key]);
  const text = at("text");
  document.body.classList.add("js");

  // Checking.
  let regions = {};
  let turn = 0;
  let soon = 0;

  async function check() {
    const mine = ++turn;
    const place = at("problems");
    try {
      const answer = await fetch(words.check, {
        method: "POST",
        headers: { "X-CSRF-Token": words.csrf, "Content-Type": "text/plain; charset=utf-8" },
        body: text.value,
        signal: AbortSignal.timeout(20000),
      });
      if (!answer.ok) throw new Error(String(answer.status));
      const told = await answer.json();
      if (mine !== turn) return;
      regions = told.regions;
      place.replaceChildren(...(told.problems.length ? told.problems.map(problem) : [line("ok", words.fine)]));
      place.append(line("detail", told.by));
      listRegions();
    } catch {
      if (mine === turn) place.replaceChildren(line("trouble", words.notChecked));
    }
  }

  function line(kind, said) {
    const made = document.createElement("p");
    made.className = kind;
    made.textContent = said;
    return made;
  }

  function problem(one) {
    const where = one.line ? say(words.line, { line: one.line }) + ": " : "";
    return line("trouble", `${where}${one.key ? one.key + " " : ""}${one.message}`);
  }

  text.addEventListener("input", () => {
    clearTimeout(soon);
    at("problems").replaceChildren(line("detail", words.checking));
    soon = setTimeout(check, 500);
  });

  // Regions.
  const drawing = at("drawing");
  const numbers = ["x0", "y0", "x1", "y1"].map(at);
  const round = (value) => Math.round(Math.min(1, Math.max(0, value)) * 1000) / 1000;
  const name = () => at("region-name").value.trim() || at("region").value;

  function listRegions() {
    const chosen = at("region").value;
    at("region").replaceChildren(...Object.keys(regions).map((one) => new Option(one, one)));
    if (chosen in regions) at("region").value = chosen;
    choose();
  }

  function choose() {
    const box = regions[name()];
    if (box) box.forEach((value, n) => (numbers[n].value = value));
    paint();
  }

  function paint() {
    const made = [];
    const all = { ...regions };
    const mine = numbers.map((input) => parseFloat(input.value));
    if (name() && mine.every(Number.isFinite)) all[name()] = mine;
    for (const [one, [x0, y0, x1, y1]] of Object.entries(all)) {
      const group = document.createElementNS(drawing.namespaceURI, "g");
      if (one === name()) group.setAttribute("class", "chosen");
      for (const kind of ["halo", "box"]) {
        const rect = document.createElementNS(drawing.namespaceURI, "rect");
        rect.setAttribute("class", kind);
        rect.setAttribute("x", x0 * 1000);
        rect.setAttribute("y", y0 * 750);
        rect.setAttribute("width", Math.max(0, x1 - x0) * 1000);
        rect.setAttribute("height", Math.max(0, y1 - y0) * 750);
        group.append(rect);
      }
      const label = document.createElementNS(drawing.namespaceURI, "text");
      label.setAttribute("x", x0 * 1000 + 8);
      label.setAttribute("y", y0 * 750 + 26);
      label.textContent = one;
      group.append(label);
      made.push(group);
    }
    at("boxes").replaceChildren(...made);
  }

  let from = null;
  const spot = (event) => {
    const box = drawing.getBoundingClientRect();
    return [round((event.clientX - box.left) / box.width), round((event.clientY - box.top) / box.height)];
  };
  const stretch = (event) => {
    const to = spot(event);
    [Math.min(from[0], to[0]), Math.min(from[1], to[1]), Math.max(from[0], to[0]), Math.max(from[1], to[1])].forEach(
      (value, n) => (numbers[n].value = value),
    );
    paint();
  };
  drawing.addEventListener("pointerdown", (event) => {
    from = spot(event);
    drawing.setPointerCapture(event.pointerId);
  });
  drawing.addEventListener("pointermove", (event) => from && stretch(event));
  drawing.addEventListener("pointerup", (event) => {
    if (from) stretch(event);
    from = null;
  });
  numbers.forEach((input) => input.addEventListener("input", paint));
  at("region").addEventListener("change", () => {
    at("region-name").value = "";
    choose();
  });
  at("region-name").addEventListener("input", paint);

  at("into-text").addEventListener("click", () => {
    const box = numbers.map((input) => parseFloat(input.value));
    const one = name();
    if (!/^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(one) || !box.every(Number.isFinite)) return;
    const written = `${one}: [${box.join(", ")}]`;
    const lines = text.value.split("\n");
    const start = lines.findIndex((l) => /^regions\s*:/.test(l));
    let end = start + 1;
    while (start >= 0 && end < lines.length && /^(\s|$|#)/.test(lines[end])) end++;
    const block = start >= 0 ? lines.slice(start, end).join("\n") : "";
    const known = new RegExp(`(^|[\\s{,])${one.replace(/\./g, "\\.")}\\s*:\\s*\\[[^\\]]*\\]`);
    let changed = block;
    if (known.test(block)) changed = block.replace(known, (_, before) => before + written);
    else if (/^regions\s*:\s*\{\s*\}/.test(block)) changed = block.replace(/\{\s*\}/, `{${written}}`);
    else if (/^regions\s*:\s*\{/.test(block)) changed = block.replace(/\{/, `{${written}, `);
    else if (block) changed = block.replace(/\n|$/, `\n  ${written}\n`).replace(/\n\n/, "\n");
    if (start >= 0) lines.splice(start, end - start, changed);
    else {
      const ask = lines.findIndex((l) => /^ask\s*:/.test(l));
      lines.splice(ask < 0 ? lines.length : ask, 0, "regions:", `  ${written}`);
    }
    put(lines.join("\n"));
    at("region-name").value = "";
  });

  function put(whole) {
    text.value = whole;
    text.dispatchEvent(new Event("input"));
  }

  const camera = at("camera");
  if (camera) {
    const show = () => {
      const image = new Image();
      image.onload = () => {
        drawing.style.aspectRatio = `${image.naturalWidth} / ${image.naturalHeight}`;
        at("picture").setAttribute("href", image.src);
      };
      image.src = camera.value;
    };
    camera.addEventListener("change", show);
    show();
  }

  // Thresholds.
  fetch(words.replay, { headers: { Accept: "application/json" } })
    .then((answer) => (answer.ok ? answer.json() : Promise.reject(new Error(String(answer.status)))))
    .then((told) => {
      at("replay-over").textContent = told.n ? say(words.over, told) : words.none;
      if (told.n) for (const ask of Object.keys(told.asks)) at("replay").append(slider(ask, told));
    })
    .catch(() => (at("replay-over").textContent = words.notChecked));

  function slider(ask, told) {
    const steps = told.asks[ask];
    const row = at("replay-row").content.cloneNode(true).firstElementChild;
    const input = row.querySelector("input");
    const present = told.thresholds[ask] ?? 0.9;
    const nearest = steps.reduce((best, one, n) => (Math.abs(one.at - present) < Math.abs(steps[best].at - present) ? n : best), 0);
    row.querySelector("h3").textContent = say(words.threshold, { ask });
    row.querySelector(".slider-word").textContent = "";
    input.max = steps.length - 1;
    input.value = nearest;
    input.setAttribute("aria-label", say(words.threshold, { ask }));
    const fill = (kind, one) => {
      const share = (k, n) => say(words.share, { k, n });
      row.querySelector(`.${kind} .escapes`).textContent = share(one.escapes, told.bad);
      row.querySelector(`.${kind} .overkill`).textContent = share(one.overkill, told.good);
      row.querySelector(`.${kind} .reviews`).textContent = share(one.reviews, told.n);
    };
    const slide = () => {
      const one = steps[Number(input.value)];
      row.querySelector("output").textContent = String(one.at);
      input.setAttribute("aria-valuetext", String(one.at));
      fill("then", one);
    };
    input.addEventListener("input", slide);
    row.querySelector("button").addEventListener("click", () => threshold(ask, steps[Number(input.value)].at));
    fill("now", steps[nearest]);
    slide();
    return row;
  }

  function threshold(ask, value) {
    const lines = text.value.split("\n");
    const start = lines.findIndex((l) => new RegExp(`^\\s*-\\s+id\\s*:\\s*["']?${ask}["']?\\s*$`).test(l));
    if (start < 0) return;
    const inside = lines[start].indexOf("id");
    for (let n = start + 1; n < lines.length; n++) {
      if (lines[n].trim() && lines[n].search(/\S/) < inside) break;
      if (/^\s*min_confidence\s*:/.test(lines[n])) {
        lines[n] = lines[n].replace(/:.*/, `: ${value}`);
        return put(lines.join("\n"));
      }
    }
    lines.splice(start + 1, 0, `${" ".repeat(inside)}min_confidence: ${value}`);
    put(lines.join("\n"));
  }

  // Trying on pictures.
  const go = at("try-do");
  if (go) {
    go.addEventListener("click", async () => {
      go.disabled = true;
      at("tried").replaceChildren();
      for (const file of at("try-pictures").files) {
        const item = document.createElement("li");
        at("tried").append(item);
        try {
          const answer = await fetch(at("try-at").value, { method: "POST", headers: { "X-CSRF-Token": words.csrf }, body: file });
          const told = await answer.json();
          item.textContent = told.error ? `${file.name}: ${told.error}` : `${file.name}: ${told.words} · ${told.answers.join(", ")} · ${told.recipe}`;
        } catch {
          item.textContent = `${file.name}: ${words.notChecked}`;
        }
      }
      go.disabled = false;
    });
  }

  check();
})();
