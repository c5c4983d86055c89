// Sends an engine bundle with its progress, and looks at a rollout anew while it moves.
"use strict";

(() => {
  const words = document.body.dataset;
  const form = document.getElementById("upload");
  document.body.classList.add("js");
  if (form) {
    const said = document.getElementById("upload-said");
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const file = form.elements.file.files[0];
      if (!file) return;
      const sending = new XMLHttpRequest();
      sending.open("POST", form.action);
      sending.setRequestHeader("X-CSRF-Token", words.csrf);
      sending.setRequestHeader("Content-Type", "application/octet-stream");
      sending.upload.onprogress = (now) => {
        said.textContent = now.loaded < now.total ? words.uploading.replace("{percent}", String(Math.floor((100 * now.loaded) / now.total))) : words.checking;
      };
      sending.onload = () => {
        let told = {};
        try {
          told = JSON.parse(sending.responseText);
        } catch {
          told = {};
        }
        if (sending.status === 200 && told.url) location.assign(told.url);
        else said.textContent = told.error || words.broken;
        form.querySelector("button").disabled = false;
      };
      sending.onerror = () => {
        said.textContent = words.broken;
        form.querySelector("button").disabled = false;
      };
      form.querySelector("button").disabled = true;
      sending.send(file);
    });
  }
  const moving = document.getElementById("moving");
  if (moving) {
    const look = async () => {
      try {
        const answer = await fetch(words.now, { headers: { Accept: "text/html" } });
        if (answer.ok) {
          const html = await answer.text();
          if (!moving.contains(document.activeElement) && moving.lsHtml !== html) {
            moving.lsHtml = html;
            moving.innerHTML = html;
          }
          document.getElementById("banner").textContent = "";
        } else throw new Error(String(answer.status));
      } catch {
        document.getElementById("banner").textContent = words.silent;
      }
      setTimeout(look, 2000);
    };
    setTimeout(look, 2000);
  }
})();
