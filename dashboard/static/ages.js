// Ages that grow by themselves, and the stream's own silence. Knows no page in particular.
"use strict";

const Ages = (() => {
  const words = document.body.dataset;

  function spoken(seconds) {
    const s = Math.max(0, Math.floor(seconds));
    if (s < 60) return words.ageS.replace("{n}", s);
    if (s < 3600) return words.ageMin.replace("{n}", Math.floor(s / 60));
    if (s < 86400) {
      return words.ageH.replace("{n}", Math.floor(s / 3600)).replace("{m}", Math.floor((s % 3600) / 60));
    }
    return words.ageD.replace("{n}", Math.floor(s / 86400)).replace("{h}", Math.floor((s % 86400) / 3600));
  }

  // An age is sent as seconds; from then on it is counted from when it came.
  function now(element) {
    if (element.lsAge !== element.dataset.age) {
      element.lsAge = element.dataset.age;
      element.lsCame = performance.now();
    }
    return parseFloat(element.dataset.age) + (performance.now() - element.lsCame) / 1000;
  }

  function tick() {
    for (const element of document.querySelectorAll(".age[data-age]")) {
      const text = spoken(now(element));
      if (element.textContent !== text) element.textContent = text;
    }
    const quietAfter = parseFloat(words.quietAfter || "0");
    for (const element of document.querySelectorAll("[data-quiet]")) {
      element.classList.toggle("quiet", now(element) > quietAfter);
    }
  }

  return { spoken, tick };
})();

// A picture that does not come is left out instead of drawn as broken.
(() => {
  const missing = (element) => {
    if (element.matches && element.matches("img, svg image")) element.classList.add("missing");
  };
  document.addEventListener("error", (event) => missing(event.target), true);
  document.addEventListener("load", (event) => {
    if (event.target.classList) event.target.classList.remove("missing");
  }, true);
  // Those that failed before this script was there: asked for once more.
  for (const image of document.querySelectorAll("img")) {
    if (image.complete && image.naturalWidth === 0 && image.loading !== "lazy") missing(image);
  }
  for (const image of document.querySelectorAll("svg image")) image.setAttribute("href", image.getAttribute("href"));
})();

// A live stream that says so when it is silent. `handlers`: event name to function of the data.
const Live = (() => {
  const SILENT_AFTER_S = 7;
  const RELOAD_AFTER_MS = 8000;

  function follow(url, handlers) {
    let heard = performance.now();
    let greyed = false;
    const source = new EventSource(url);
    for (const name of Object.keys(handlers)) {
      source.addEventListener(name, (message) => {
        heard = performance.now();
        if (greyed) {
          greyed = false;
          document.body.classList.remove("unheard");
        }
        handlers[name](JSON.parse(message.data));
        Ages.tick();
      });
    }
    source.addEventListener("error", () => {
      // Closed for good (all live places taken): a still page that reloads is the next best.
      if (source.readyState === EventSource.CLOSED) {
        say(document.body.dataset.dashboardFull);
        setTimeout(() => location.reload(), RELOAD_AFTER_MS);
      }
    });
    window.addEventListener("pagehide", () => source.close());
    window.addEventListener("pageshow", (event) => {
      if (event.persisted) location.reload();
    });
    setInterval(() => {
      const silence = (performance.now() - heard) / 1000;
      if (silence > SILENT_AFTER_S) {
        greyed = true;
        document.body.classList.add("unheard");
        say(document.body.dataset.dashboardSilent.replace("{age}", Ages.spoken(silence)));
      }
      Ages.tick();
    }, 1000);
  }

  function say(text) {
    const line = document.createElement("div");
    line.className = "banner silent";
    line.textContent = text;
    document.getElementById("banner").replaceChildren(line);
  }

  return { follow };
})();
