"use strict";
// The objects that a model found. Everything follows from `state`; `render` redraws it.

const maps = {};
for (const method of ["relevance", "attention", "gradient"]) maps[method] = data[method] && unpack(data[method]);
const state = { object: data.chosen, method: "relevance" };

function change(next) {
  Object.assign(state, next);
  render();
}

function build() {
  frame(byId("seen"), data.relevance.place);
  data.objects.forEach((_, index) => {
    byId(`object-${index}`).addEventListener("click", () => change({ object: index }));
    byId(`box-${index}`).addEventListener("click", () => change({ object: index }));
    const small = byId(`small-${index}`);
    if (small) small.addEventListener("click", () => change({ object: index }));
  });
  for (const radio of document.querySelectorAll("input[name=method]")) {
    radio.addEventListener("change", () => change({ method: radio.value }));
  }
}

function draw(canvas, index, method) {
  lay(canvas, data[method].place);
  paint(canvas, maps[method].bytes, index, { overlay: true, stretch: true, grid: data[method] });
}

function render() {
  const bare = state.method === "none";
  data.objects.forEach((_, index) => {
    const pressed = String(index === state.object);
    byId(`object-${index}`).setAttribute("aria-pressed", pressed);
    byId(`box-${index}`).setAttribute("aria-pressed", pressed);
    const small = byId(`small-${index}`);
    if (!small) return;
    small.setAttribute("aria-pressed", pressed);
    draw(small.querySelector("canvas"), index, bare ? "relevance" : state.method);
  });
  byId("heat").hidden = bare;
  byId("source").classList.toggle("dim", !bare);
  if (!bare) draw(byId("heat"), state.object, state.method);
  const object = data.objects[state.object];
  const what = {
    relevance: `What spoke for “${object.label}” here: ${data.relevance.way}.`,
    attention: `${data.attention.way}.`,
    gradient: `What “${object.label}” grows with here: ${data.gradient.way}.`,
    none: byId("seen").hidden ? "The picture." : "The picture. What lies within the dashed frame reached the model.",
  }[state.method];
  byId("told").textContent = what[0].toUpperCase() + what.slice(1);
  byId("shares").replaceChildren(...object.shares.map(([label, share]) => {
    const row = document.createElement("tr");
    const [name, bar, value] = ["td", "td", "td"].map((kind) => row.appendChild(document.createElement(kind)));
    name.textContent = label;
    const line = bar.appendChild(document.createElement("span"));
    line.className = "bar";
    line.appendChild(document.createElement("i")).style.width = percentOf(share);
    value.className = "number";
    value.textContent = percent(share);
    return row;
  }));
}

if (data.objects.length) {
  build();
  render();
}
