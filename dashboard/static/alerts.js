// The alerts' page: what stands, as the server draws it. A note that somebody writes is left alone.
"use strict";

document.body.classList.add("js");
Live.follow(document.body.dataset.events, {
  rows: (event) => {
    document.getElementById("banner").replaceChildren();
    const place = document.getElementById("standing");
    if (place.lsHtml === event.standing) return;
    const writes = [...place.querySelectorAll("input:not([type=hidden])")].some((input) => input.value !== "");
    if (writes || place.contains(document.activeElement)) return;
    place.lsHtml = event.standing;
    place.innerHTML = event.standing;
  },
});
