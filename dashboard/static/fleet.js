// The fleet's page: its rows as the server draws them.
"use strict";

document.body.classList.add("js");
Live.follow(document.body.dataset.events, {
  rows: (event) => {
    document.getElementById("banner").replaceChildren();
    document.getElementById("clock").textContent = event.clock;
    for (const id of ["attention", "rows", "tree"]) {
      const place = document.getElementById(id);
      if (place.lsHtml === event[id]) continue;
      place.lsHtml = event[id];
      // A focused link keeps its focus: the keyboard must not lose its place every moment.
      const focused = place.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
      place.innerHTML = event[id];
      if (focused) {
        const again = [...place.querySelectorAll("a")].find((a) => a.getAttribute("href") === focused);
        if (again) again.focus();
      }
    }
  },
});
