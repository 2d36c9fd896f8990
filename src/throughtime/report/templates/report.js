"use strict";
// Draws the pictures in the page's colours, light or dark, on the screen and on paper.

const PRINT_WIDTH = 680; // CSS pixels between the margins of an A4 page
const plots = [...document.querySelectorAll(".plot")];
const dark = matchMedia("(prefers-color-scheme: dark)");
const strips = document.querySelectorAll(".strip");
// By step; where the networks read different texts, a map does not say which is its own.
const texts = Object.fromEntries(
  strips.length === 1 ? [...strips[0].querySelectorAll(".token")].map((token) => [token.dataset.step, token.textContent]) : [],
);

function themed(layout, traces) {
  const css = getComputedStyle(document.documentElement);
  const colour = (name) => css.getPropertyValue("--" + name).trim();
  const changes = { "font.color": colour("ink") };
  for (const axis of Object.keys(layout).filter((key) => /^[xy]axis/.test(key))) {
    for (const part of ["gridcolor", "zerolinecolor", "linecolor"]) changes[`${axis}.${part}`] = colour("grid");
  }
  if (layout.meta?.kind === "map") changes.plot_bgcolor = colour("zero");
  const ink = traces.flatMap((trace, index) => (trace.meta === "ink" ? [index] : []));
  const empty = traces.flatMap((trace, index) => (trace.meta === "not computed" ? [index] : []));
  return { changes, ink, empty, colour };
}

async function paint(plot) {
  const { changes, ink, empty, colour } = themed(plot.layout, plot.data);
  if (ink.length) await Plotly.restyle(plot, { "line.color": colour("ink"), "marker.line.color": colour("ink") }, ink);
  if (empty.length) await Plotly.restyle(plot, { colorscale: [[[0, colour("page")], [1, colour("page")]]] }, empty);
  await Plotly.relayout(plot, changes);
}

function steps(centre, block) {
  return block === 1 ? centre : `${Math.ceil(centre - (block - 1) / 2)} to ${Math.floor(centre + (block - 1) / 2)}`;
}

function showCell(plot, { points, event }) {
  const { x, y, z, data } = points[0];
  const { of, state, block } = plot.layout.meta;
  const tokens = block[0] * block[1] === 1 ? texts : {};
  const value = data.meta === "not computed" ? null : (z ?? "-inf");
  showLabel(event, state, steps(y, block[0]), steps(x, block[1]), value, tokens, Math.abs(Math.round(y - x)), of);
}

async function draw(plot) {
  const figure = JSON.parse(plot.querySelector("script").textContent);
  if (matchMedia("(pointer: coarse)").matches) figure.layout.dragmode = false; // a finger scrolls the page
  const config = { responsive: true, displaylogo: false, modeBarButtons: [["toImage", "resetScale2d"]] };
  await Plotly.newPlot(plot, figure.data, figure.layout, config);
  await paint(plot);
  if (figure.layout.meta?.kind !== "map") return;
  plot.on("plotly_hover", (hit) => showCell(plot, hit));
  plot.on("plotly_unhover", hideLabel);
}

Promise.all(plots.map(draw)).then(() => document.documentElement.classList.add("drawn"));
dark.addEventListener("change", () => plots.forEach(paint));
addEventListener("scroll", hideLabel, { passive: true });
addEventListener("beforeprint", () => {
  for (const plot of plots) {
    const width = plot.closest(".panels") ? PRINT_WIDTH / 2 - 10 : PRINT_WIDTH;
    Plotly.relayout(plot, { width, autosize: false });
    paint(plot);
  }
});
addEventListener("afterprint", () => {
  for (const plot of plots) {
    Plotly.relayout(plot, { width: null, autosize: true });
    paint(plot);
  }
});
