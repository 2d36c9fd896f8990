"use strict";
// The text, coloured by the gradient that the chosen loss sends back.

function colourAt(scale, value) {
  const position = Math.min(1, Math.max(0, (value - scale.low) / (scale.high - scale.low)));
  const at = position * (scale.colours.length - 1);
  const below = Math.min(Math.floor(at), scale.colours.length - 2);
  const channels = (colour) => [1, 3, 5].map((start) => parseInt(colour.slice(start, start + 2), 16));
  const [from, to] = [channels(scale.colours[below]), channels(scale.colours[below + 1])];
  return from.map((channel, index) => Math.round(channel + (at - below) * (to[index] - channel)));
}

// Dark text on the light half of the scale, by the luminance that WCAG defines.
function readableOn(rgb) {
  const [r, g, b] = rgb.map((channel) => (channel / 255) ** 2.2);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.2 ? "#111" : "#fff";
}

function heatStrip(strip) {
  const maps = JSON.parse(strip.querySelector("script").textContent);
  const text = strip.querySelector(".text");
  const bar = strip.querySelector(".scale").dataset;
  const scale = { low: Number(bar.low), high: Number(bar.high), colours: bar.colours.split(" ") };
  const choice = strip.querySelector("select");
  const tokens = {};
  for (const token of text.querySelectorAll(".token")) tokens[token.dataset.step] = token.textContent;
  let map = maps[0];
  let loss = map.t[map.t.length - 1];

  // The initial state has read nothing: it stands before the first token, or after the last.
  function addInitialState(step, place) {
    const state = document.createElement("span");
    state.className = "token start";
    state.dataset.step = step;
    state.textContent = "start";
    text[place](state);
  }

  function nearest(step) {
    return map.t.reduce((best, t) => (Math.abs(t - step) < Math.abs(best - step) ? t : best));
  }

  function colour() {
    loss = nearest(loss);
    const row = map.nats[map.t.indexOf(loss)];
    for (const token of text.querySelectorAll(".token")) {
      const step = Number(token.dataset.step);
      const value = row[map.i.indexOf(step)];
      const known = typeof value === "number";
      token.classList.toggle("coloured", known);
      token.classList.toggle("zero", value === "-inf");
      token.classList.toggle("loss", step === loss);
      token.setAttribute("aria-selected", step === loss);
      const rgb = known ? colourAt(scale, value) : [0, 0, 0];
      token.style.setProperty("--fill", `rgb(${rgb})`);
      token.style.setProperty("--on", readableOn(rgb));
    }
    text.setAttribute("aria-activedescendant", `${text.id}-${loss}`);
    strip.querySelector("output").textContent = `the loss at t = ${loss}${quoted(tokens[loss])}`;
  }

  function choose(step) {
    loss = step;
    colour();
  }

  function move(by) {
    const index = map.t.indexOf(loss) + by;
    choose(map.t[Math.min(map.t.length - 1, Math.max(0, index))]);
  }

  const keys = { ArrowLeft: () => move(-1), ArrowRight: () => move(1), ArrowUp: () => move(-10), ArrowDown: () => move(10),
    Home: () => move(-Infinity), End: () => move(Infinity) };
  text.addEventListener("keydown", (event) => {
    if (!(event.key in keys)) return;
    event.preventDefault();
    hideLabel();
    keys[event.key]();
  });
  text.addEventListener("click", (event) => {
    const token = event.target.closest(".token:not(.start)");
    if (token) choose(Number(token.dataset.step));
  });
  text.addEventListener("pointermove", (event) => {
    const token = event.target.closest(".token");
    if (!token) return hideLabel();
    const step = Number(token.dataset.step);
    showLabel(event, map.state, loss, step, map.nats[map.t.indexOf(loss)][map.i.indexOf(step)], tokens);
  });
  text.addEventListener("pointerleave", hideLabel);
  choice.addEventListener("change", () => {
    map = maps[Number(choice.value)];
    colour();
  });

  const steps = Object.keys(tokens).map(Number);
  if (map.i.includes(0) && Math.min(...steps) === 1) addInitialState(0, "prepend");
  if (map.i.includes(Math.max(...steps) + 1)) addInitialState(Math.max(...steps) + 1, "append");
  colour();
}

document.querySelectorAll(".strip").forEach(heatStrip);
