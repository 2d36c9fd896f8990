"use strict";
// One recurrence among many: its panels alone, its lines in front of the others, its verdict open.

const focus = document.getElementById("focus");
const section = document.getElementById("section");
const FAINT = 0.12;

// Whether a trace, or each of its bars, belongs to the chosen recurrence.
function fade(plot, chosen) {
  if (!plot.data) return;
  const mine = (place) => chosen === "" || place === undefined || String(place) === chosen;
  plot.data.forEach((trace, index) => {
    if (trace.meta?.readings) {
      Plotly.restyle(plot, { "marker.opacity": [trace.meta.readings.map((place) => (mine(place) ? 1 : FAINT))] }, [index]);
    } else if (trace.meta?.reading !== undefined) {
      Plotly.restyle(plot, { opacity: mine(trace.meta.reading) ? (figures.get(plot).data[index].opacity ?? 1) : FAINT }, [index]);
    }
  });
}

function choose() {
  const chosen = focus.value;
  for (const part of document.querySelectorAll("[data-reading]")) {
    part.hidden = chosen !== "" && part.dataset.reading !== chosen && part.tagName !== "TR";
    part.classList.toggle("faint", chosen !== "" && part.dataset.reading !== chosen);
    if (chosen !== "" && part.dataset.reading === chosen && part.tagName === "DETAILS") part.open = true;
  }
  document.documentElement.classList.toggle("focused", chosen !== "");
  for (const plot of plots) {
    if (plot.data && plot.offsetParent) Plotly.Plots.resize(plot);
    if (!plot.closest("[data-reading]")) fade(plot, chosen);
  }
}

// A link to what is folded or hidden shows it.
function arrive() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const part = target?.closest("[data-reading]");
  if (!part) return;
  if (focus && focus.value !== "" && focus.value !== part.dataset.reading) {
    focus.value = "";
    choose();
  }
  if (part.tagName === "DETAILS") part.open = true;
  target.scrollIntoView();
}

focus?.addEventListener("change", choose);
section?.addEventListener("change", () => {
  location.hash = section.value;
  section.value = "";
});
addEventListener("hashchange", arrive);
arrive();
