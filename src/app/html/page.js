"use strict";
const readouts = JSON.parse(document.getElementById("readouts").textContent);
const readout = document.getElementById("readout");
const plots = [...document.querySelectorAll("[data-live]")];
const cursors = plots.map((plot) => {
  const cursor = document.createElement("i");
  cursor.className = "cursor";
  cursor.hidden = true;
  plot.append(cursor);
  return cursor;
});
let at = 0;
// Parts without an event are passed over, in the direction of travel.
function show(part, step) {
  while (part > 0 && part < readouts.length - 1 && !readouts[part]) part += step;
  at = Math.min(Math.max(part, 0), readouts.length - 1);
  if (!readouts[at]) return;
  readout.textContent = readouts[at];
  for (const cursor of cursors) {
    cursor.hidden = false;
    cursor.style.left = (100 * (at + 0.5)) / readouts.length + "%";
  }
}
for (const plot of plots) {
  plot.addEventListener("pointermove", (event) => {
    const box = plot.getBoundingClientRect();
    show(Math.floor(((event.clientX - box.left) / box.width) * readouts.length), -1);
  });
  plot.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    show(at + step * (event.shiftKey ? 10 : 1), step);
  });
}
