"use strict";
// Draws the pictures in the page's colours, light or dark, on the screen and on paper, and saves them as files.

// CSS pixels: the width between the margins of an A4 page, and of the pictures of a verdict, two of which have room on a
// page; the style sheet makes them smaller there.
const PRINT_WIDTH = 680;
const PRINTED_VERDICT = { width: 370, height: 190 };
// Of more names, a narrow screen has no room for a legend.
const TITLE = 34;
const NARROW = 640;
const MOST_NAMES = 6;
const plots = [...document.querySelectorAll(".plot")];
const figures = new Map(plots.map((plot) => [plot, JSON.parse(plot.querySelector("script").textContent)]));
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
  if (["map", "overview"].includes(layout.meta?.kind)) {
    changes.plot_bgcolor = colour("zero");
    for (const place of (layout.annotations ?? []).keys()) changes[`annotations[${place}].bgcolor`] = colour("zero");
  }
  const looking = (looks) => traces.flatMap((trace, index) => (trace.meta?.looks === looks ? [index] : []));
  return { changes, ink: looking("ink"), empty: looking("not computed"), colour };
}

async function paint(plot) {
  if (!plot.data) return; // not drawn yet
  const { changes, ink, empty, colour } = themed(plot.layout, plot.data);
  for (const index of ink) {
    const part = plot.data[index].type === "bar" ? { "marker.color": colour("ink") } : { "line.color": colour("ink"), "marker.line.color": colour("ink") };
    await Plotly.restyle(plot, part, [index]);
  }
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
  const value = data.meta?.looks === "not computed" ? null : (z ?? "-inf");
  showLabel(event, state, steps(y, block[0]), steps(x, block[1]), value, tokens, Math.abs(Math.round(y - x)), of);
}

// As a file a picture stands by itself: light, with its title, its colour scale and its legend.
function save(plot, format) {
  const { data, layout } = structuredClone(figures.get(plot));
  const title = plot.getAttribute("aria-label");
  const escaped = title.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  layout.title = { text: escaped, x: 0, xref: "paper", y: 0.985, yref: "container", yanchor: "top", xanchor: "left" };
  layout.paper_bgcolor = "white";
  if (layout.coloraxis) layout.coloraxis.showscale = true;
  layout.showlegend ||= plot.dataset.name === "causes";
  layout.legend = { x: 1.02, y: 1 };
  layout.margin.t += TITLE;
  const size = { width: Math.max(plot.clientWidth, NARROW), height: (layout.height += TITLE) };
  const filename = title.replace(/[^\p{L}\p{N}._-]+/gu, "-").replace(/^-|-$/g, "");
  return Plotly.downloadImage({ data, layout }, { format, filename, scale: format === "png" ? 2 : 1, ...size });
}

function addSaving(plot) {
  const saving = Object.assign(document.createElement("p"), { className: "saving" });
  for (const format of ["png", "svg"]) {
    const name = format.toUpperCase();
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: name });
    button.title = button.ariaLabel = `Save this picture as ${name}`;
    button.addEventListener("click", () => save(plot, format));
    saving.append(button);
  }
  const frame = Object.assign(document.createElement("div"), { className: "frame" });
  plot.replaceWith(frame);
  frame.append(saving, plot);
}

async function draw(plot) {
  const figure = structuredClone(figures.get(plot));
  if (matchMedia("(pointer: coarse)").matches) figure.layout.dragmode = false; // a finger scrolls the page
  const names = figure.data.filter((trace) => trace.name && trace.showlegend !== false);
  if (plot.clientWidth < NARROW && names.length > MOST_NAMES) figure.layout.showlegend = false;
  plot.style.height = figure.layout.height + "px"; // what stays when the width changes
  await Plotly.newPlot(plot, figure.data, figure.layout, { responsive: true, displayModeBar: false });
  await paint(plot);
  if (figure.layout.meta?.kind !== "map") return;
  plot.on("plotly_hover", (hit) => showCell(plot, hit));
  plot.on("plotly_unhover", hideLabel);
}

// What is folded away is drawn when it is opened: before, it has no width.
const folded = (plot) => plot.closest("details:not([open])") !== null;
async function drawMissing(inside) {
  for (const plot of plots) {
    if (!inside.contains(plot) || plot.data || folded(plot)) continue;
    await draw(plot);
    await new Promise((resume) => setTimeout(resume)); // between two pictures the page answers
  }
}

plots.forEach(addSaving);
drawMissing(document).then(() => document.documentElement.classList.add("drawn"));
for (const part of document.querySelectorAll("details")) part.addEventListener("toggle", () => drawMissing(part));
dark.addEventListener("change", () => plots.forEach(paint));
addEventListener("scroll", hideLabel, { passive: true });
let closed = [];
addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("details.card:not([open])")];
  for (const part of closed) part.open = true;
  for (const plot of plots) {
    if (!plot.data) draw(plot);
    const { height } = figures.get(plot).layout;
    const size = { width: plot.closest(".panels") ? PRINT_WIDTH / 2 - 24 : PRINT_WIDTH, height };
    if (plot.closest(".seen")) Object.assign(size, PRINTED_VERDICT, { height: Math.min(height, PRINTED_VERDICT.height) });
    plot.style.height = size.height + "px";
    Plotly.relayout(plot, { ...size, autosize: false });
    paint(plot);
  }
});
addEventListener("afterprint", () => {
  for (const part of closed) part.open = false;
  for (const plot of plots) {
    const { height } = figures.get(plot).layout;
    plot.style.height = height + "px";
    if (plot.data) Plotly.relayout(plot, { width: null, height, autosize: true });
    paint(plot);
  }
});
