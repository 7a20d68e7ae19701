"use strict";
// Which class each place has, and what it was read from. Everything follows from `state`; `render` redraws it.

const points = unpack(data.points.maps);
const regions = unpack(data.regions);
// Either a place or a class is chosen; the other is -1.
const state = { point: data.chosen.point, region: data.chosen.region, method: "heat" };

function change(next) {
  Object.assign(state, next);
  render();
}

function nearest(x, y) {
  const { width, height } = data;
  const far = ({ x: left, y: top }) => ((left - x) * width) ** 2 + ((top - y) * height) ** 2;
  return data.points.places.reduce((best, place, at) => (far(place) < far(data.points.places[best]) ? at : best), 0);
}

function build() {
  const ask = byId("ask");
  lay(byId("heat"), data.place);
  frame(byId("seen"), data.place);
  for (const { x, y } of data.points.places) {
    const dot = byId("dots").appendChild(document.createElement("i"));
    dot.className = "dot";
    Object.assign(dot.style, { left: percentOf(x), top: percentOf(y) });
  }
  const choose = (point) => change({ point, region: -1, method: state.method === "none" ? "heat" : state.method });
  ask.addEventListener("click", (event) => {
    const box = ask.getBoundingClientRect();
    choose(nearest((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height));
  });
  ask.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (!step) return;
    event.preventDefault();
    // A place that was asked for by its pixel is beside the grid: the step begins at the one next to it.
    const { rows, cols, places } = data.points;
    const { x, y } = places[Math.max(0, state.point)];
    const from = places.slice(0, rows * cols).reduce((best, place, at, all) => {
      const far = (other) => (other.x - x) ** 2 + (other.y - y) ** 2;
      return far(place) < far(all[best]) ? at : best;
    }, 0);
    const row = clamp(Math.floor(from / cols) + step[0], rows);
    choose(row * cols + clamp((from % cols) + step[1], cols));
  });
  data.classes.forEach((_, region) => {
    byId(`class-${region}`).addEventListener("click", () => change({ region, point: -1, method: "heat" }));
  });
  for (const radio of document.querySelectorAll("input[name=method]")) {
    radio.addEventListener("change", () => change({ method: radio.value }));
  }
}

function told() {
  if (state.point < 0) {
    const { label, score } = data.classes[state.region];
    return `What the region of “${label}” was read from; its mean probability is ${percent(score)}.`;
  }
  const { across, down, shares } = data.points.places[state.point];
  const said = shares.map(([label, share]) => `${label} ${percent(share)}`).join(", ");
  return `Pixel ${across}, ${down}: ${said}. Shown is what “${shares[0][0]}” was read from here.`;
}

function render() {
  for (const radio of document.querySelectorAll("input[name=method]")) radio.checked = radio.value === state.method;
  const heated = state.method === "heat";
  byId("heat").hidden = !heated;
  byId("classes").hidden = state.method !== "classes";
  byId("ask").classList.toggle("dim", heated);
  data.classes.forEach((_, region) => byId(`class-${region}`).setAttribute("aria-pressed", String(region === state.region)));
  const mark = byId("mark");
  mark.hidden = state.point < 0;
  if (!mark.hidden) {
    const { x, y } = data.points.places[state.point];
    Object.assign(mark.style, { left: percentOf(x), top: percentOf(y) });
  }
  const [bytes, index] = state.point < 0 ? [regions.bytes, state.region] : [points.bytes, state.point];
  if (heated) paint(byId("heat"), bytes, index, { overlay: true, stretch: true, root: true });
  byId("told").textContent = told() + (heated ? ` Heat: ${data.way}; colours follow its square root.` : "");
}

build();
render();
