"use strict";
// Shows new messages every two seconds: the server renders, this only replaces the list.
// A selection is somebody copying: then the list stays as it is.
setInterval(async () => {
  if (document.hidden || String(document.getSelection()) !== "") return;
  try {
    const response = await fetch(location.href, { cache: "no-store" });
    if (!response.ok) return;
    const next = new DOMParser().parseFromString(await response.text(), "text/html").getElementById("inbox");
    const now = document.getElementById("inbox");
    if (next && next.innerHTML !== now.innerHTML) now.replaceWith(document.adoptNode(next));
  } catch {
    // The process was stopped or restarts; the next round tells.
  }
}, 2000);
