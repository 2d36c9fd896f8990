"use strict";
// What the pointer is on: one label for the maps and for the text. Text nodes only, so that a token is never markup.

const label = document.getElementById("label");

function nats(value) {
  if (value === null || value === undefined) return "not computed";
  if (value === "-inf") return "exactly zero";
  return Number(value.toPrecision(4)).toString().replace("-", "−") + " nats";
}

function quoted(token) {
  return token === undefined ? "" : " ‘" + token.replace(/\n/g, "⏎") + "’";
}

// t and i are steps, or words such as "8 to 11" for a block of them.
// What is differentiated is a loss, "dl", or a direction of a state, "v·dh".
function showLabel(event, state, t, i, value, tokens = {}, lag = Math.abs(t - i), of = "dl") {
  const formula = document.createElement("b");
  const subscript = (step) => Object.assign(document.createElement("sub"), { textContent: step });
  formula.append("ln |" + of, subscript(t), "/d" + state, subscript(i), "| = ", nats(value));
  if (value === "-inf" || value === null) formula.replaceChildren(of, subscript(t), "/d" + state, subscript(i), ": ", nats(value));
  const where = document.createElement("span");
  where.textContent = `t = ${t}${quoted(tokens[t])}, i = ${i}${quoted(tokens[i])}, lag ${lag}`;
  label.replaceChildren(formula, where);
  label.hidden = false;
  const box = label.getBoundingClientRect();
  const left = Math.min(event.clientX + 14, innerWidth - box.width - 6);
  const top = event.clientY - box.height - 12;
  label.style.left = Math.max(6, left) + "px";
  label.style.top = (top < 6 ? event.clientY + 18 : top) + "px";
}

function hideLabel() {
  label.hidden = true;
}
