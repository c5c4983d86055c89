// A button that prints the page.
"use strict";

document.body.classList.add("js");
for (const button of document.querySelectorAll("[data-print]")) button.addEventListener("click", () => window.print());
