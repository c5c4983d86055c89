// The page of all stations: its rows as the server draws them.
"use strict";

document.body.classList.add("js");
Live.follow(document.body.dataset.events, {
  rows: (event) => {
    const rows = document.getElementById("rows");
    document.getElementById("banner").replaceChildren();
    document.getElementById("clock").textContent = event.clock;
    // A focused link keeps its focus: the keyboard must not lose its place every second.
    const focused = rows.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    rows.innerHTML = event.rows;
    if (focused) {
      const again = [...rows.querySelectorAll("a")].find((a) => a.getAttribute("href") === focused);
      if (again) again.focus();
    }
  },
});
