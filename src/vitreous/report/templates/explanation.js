"use strict";
// One picture seen by one model. Everything on the page follows from `state`; `render` redraws what changed.

const cells = data.rows * data.cols;
const prefixes = data.prefix.length;

// ---- maps ------------------------------------------------------------------------------------------

const mean = { ...data.mean, ...unpack(data.mean), prefix: bytesOf(data.mean.prefix) };
const each = { ...data.each, ...unpack(data.each), prefix: bytesOf(data.each.prefix) };
const reads = unpack(data.reads);
const rollout = unpack(data.rollout);
const relevance = unpack(data.relevance);
const positions = data.positions && { ...data.positions, bytes: bytesOf(data.positions.bytes) };

// ---- state -----------------------------------------------------------------------------------------

// query: a row ahead of the patches (0 .. prefixes - 1; 0 is what the answer is read from) or a patch
// (prefixes + row * cols + col). head: -1 is the mean.
const state = {
  query: 0,
  pinned: false,
  layer: data.layers - 1,
  head: -1,
  target: data.chosen,
  method: "relevance",
};

function change(next) {
  Object.assign(state, next);
  render();
}

const isPatch = () => state.query >= prefixes;
const patchOf = (query) => ({ row: Math.floor((query - prefixes) / data.cols), col: (query - prefixes) % data.cols });

// The kept row of attention that belongs to a query: with blocks, several patches share one.
function rowOf(pack, query) {
  if (query < prefixes) return query;
  const { row, col } = patchOf(query);
  return prefixes + Math.floor(row / pack.side) * pack.cols + Math.floor(col / pack.side);
}

function mapOf(layer) {
  const pack = state.head < 0 ? mean : each;
  const rows = prefixes + pack.rows * pack.cols;
  const group = state.head < 0 ? layer : layer * data.heads + state.head;
  return { pack, index: group * rows + rowOf(pack, state.query) };
}

const numberOf = (cell) => cell + 1;

function nameOf(query) {
  if (query < prefixes) return data.prefix[query];
  const { row, col } = patchOf(query);
  const what = data.block > 1 ? "block" : "patch";
  return `${what} ${numberOf(query - prefixes)} (row ${row + 1}, column ${col + 1})`;
}

// ---- 1: the answer ---------------------------------------------------------------------------------

function buildAnswer() {
  data.targets.forEach((target, index) => {
    byId(`target-${index}`).addEventListener("click", () => change({ target: index, method: "relevance" }));
  });
  for (const radio of document.querySelectorAll("input[name=method]")) {
    radio.addEventListener("change", () => change({ method: radio.value }));
  }
  lay(byId("heat"), data.place);
  frame(byId("seen"), data.place);
}

function renderAnswer() {
  data.targets.forEach((_, index) => byId(`target-${index}`).setAttribute("aria-pressed", String(index === state.target)));
  for (const radio of document.querySelectorAll("input[name=method]")) radio.checked = radio.value === state.method;
  const bare = state.method === "none";
  byId("heat").hidden = bare;
  byId("source").classList.toggle("dim", !bare);
  if (state.method === "relevance") paint(byId("heat"), relevance.bytes, state.target, { overlay: true, stretch: true });
  if (state.method === "rollout") paint(byId("heat"), rollout.bytes, 0, { overlay: true, stretch: true });
  const label = data.targets[state.target].label;
  byId("method-told").textContent = {
    relevance: `The patches whose attention raised the score of “${label}”.`,
    rollout: "Attention followed through all layers, the same for every class.",
    none: byId("seen").hidden ? "The picture." : "The picture. What lies within the dashed frame reached the model.",
  }[state.method];
}

// ---- 2: a patch and what it attends to -------------------------------------------------------------

function buildExplorer() {
  const stage = byId("stage");
  const cellAt = (event) => {
    const box = stage.getBoundingClientRect();
    const col = Math.floor(((event.clientX - box.left) / box.width) * gridCols);
    const row = Math.floor(((event.clientY - box.top) / box.height) * gridRows);
    return prefixes + clamp(row, data.rows) * data.cols + clamp(col, data.cols);
  };
  stage.addEventListener("pointermove", (event) => {
    if (event.pointerType !== "touch" && !state.pinned) change({ query: cellAt(event) });
  });
  stage.addEventListener("click", (event) => {
    const query = cellAt(event);
    change({ query, pinned: !(state.pinned && query === state.query) });
  });
  stage.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (event.key === "Escape") change({ pinned: false });
    if (event.key === "Enter" || event.key === " ") { change({ pinned: !state.pinned }); event.preventDefault(); }
    if (!step) return;
    event.preventDefault();
    const from = isPatch() ? patchOf(state.query) : { row: Math.floor(data.rows / 2), col: Math.floor(data.cols / 2) };
    const [row, col] = [clamp(from.row + step[0], data.rows), clamp(from.col + step[1], data.cols)];
    change({ query: prefixes + row * data.cols + col, pinned: true });
  });
  data.prefix.forEach((_, index) => {
    byId(`prefix-${index}`).addEventListener("click", () => change({ query: index, pinned: true }));
  });
  byId("head").addEventListener("change", (event) => change({ head: Number(event.target.value) }));
  for (let layer = 0; layer < data.layers; layer++) {
    byId(`layer-${layer}`).addEventListener("click", () => change({ layer }));
  }
}

// Blocks at the edge may reach beyond the picture, so a grid may be a little larger than the stage.
const gridRows = data.grid_rows / data.block;
const gridCols = data.grid_cols / data.block;

function markOn(mark, query) {
  mark.hidden = query < prefixes;
  if (mark.hidden) return;
  const side = state.head < 0 ? mean.side : each.side;
  const { row, col } = patchOf(query);
  const [top, left] = [Math.floor(row / side) * side, Math.floor(col / side) * side];
  Object.assign(mark.style, {
    left: percentOf(left / gridCols), top: percentOf(top / gridRows),
    width: percentOf(Math.min(side, gridCols - left) / gridCols),
    height: percentOf(Math.min(side, gridRows - top) / gridRows),
  });
}

function renderExplorer() {
  for (let layer = 0; layer < data.layers; layer++) {
    const { pack, index } = mapOf(layer);
    paint(byId(`map-${layer}`), pack.bytes, index, { overlay: true });
    byId(`peak-${layer}`).textContent = percent(pack.peaks[index]);
    byId(`layer-${layer}`).setAttribute("aria-pressed", String(layer === state.layer));
  }
  const { pack, index } = mapOf(state.layer);
  paint(byId("stage-heat"), pack.bytes, index, { overlay: true });
  markOn(byId("mark"), state.query);
  data.prefix.forEach((_, at) => byId(`prefix-${at}`).setAttribute("aria-pressed", String(at === state.query)));
  byId("head").value = String(state.head);
  byId("told").replaceChildren(...told(pack, index));
}

// What the selected token does in the selected layer, in words.
function told(pack, index) {
  const part = pack.bytes.subarray(index * cells, (index + 1) * cells);
  let best = 0;
  for (let i = 1; i < cells; i++) if (part[i] > part[best]) best = i;
  const strong = (words) => { const node = document.createElement("strong"); node.textContent = words; return node; };
  const who = state.head < 0 ? `layer ${state.layer}, mean of all heads` : `layer ${state.layer}, head ${state.head}`;
  const name = nameOf(state.query);
  const words = [strong(name[0].toUpperCase() + name.slice(1)), ` in ${who}: most attention goes to `,
    strong(nameOf(prefixes + best)), `, ${percent(pack.peaks[index])}`];
  if (isPatch() && pack.side === 1) {
    words.push(`; to itself ${percent((part[state.query - prefixes] / 255) * pack.peaks[index])}`);
  }
  if (data.others) {
    words.push(`; to ${data.others} ${percent(pack.prefix[index] / 255)}`);
  }
  words.push(".");
  if (state.pinned && isPatch()) words.push(" Held; press Escape or the patch again to let go.");
  return words;
}

// ---- 3: every layer and head -----------------------------------------------------------------------

function buildGrid() {
  for (let layer = 0; layer < data.layers; layer++) {
    for (let head = 0; head < data.heads; head++) {
      paint(byId(`read-${layer}-${head}`).firstElementChild, reads.bytes, layer * data.heads + head);
      byId(`read-${layer}-${head}`).addEventListener("click", () => {
        change({ layer, head, query: 0, pinned: true });
      });
    }
  }
}

function renderGrid() {
  for (const button of document.querySelectorAll(".grid button")) {
    button.setAttribute("aria-pressed", String(button.id === `read-${state.layer}-${state.head}`));
  }
}

// ---- 4: positions ----------------------------------------------------------------------------------

function buildPositions() {
  if (!positions) return;
  // The classic grid: one small map for each position, and one pixel between the maps.
  const canvas = byId("classic");
  const size = Math.max(1, Math.round(12 / Math.max(data.rows, data.cols)));
  const [wide, tall] = [data.cols * size + 1, data.rows * size + 1];
  canvas.width = data.cols * wide - 1;
  canvas.height = data.rows * tall - 1;
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  const one = document.createElement("canvas");
  for (let cell = 0; cell < cells; cell++) {
    paint(one, positions.bytes, cell);
    context.drawImage(one, (cell % data.cols) * wide, Math.floor(cell / data.cols) * tall, data.cols * size, data.rows * size);
  }
  canvas.addEventListener("pointermove", (event) => {
    const box = canvas.getBoundingClientRect();
    const col = clamp(Math.floor(((event.clientX - box.left) / box.width) * data.cols), data.cols);
    const row = clamp(Math.floor(((event.clientY - box.top) / box.height) * data.rows), data.rows);
    if (!state.pinned) change({ query: prefixes + row * data.cols + col });
  });
  const scale = byId("position-scale");
  scale.width = 256; scale.height = 1;
  const image = scale.getContext("2d").createImageData(256, 1);
  colours.forEach((colour, i) => { image.data.set(colour, 4 * i); image.data[4 * i + 3] = 255; });
  scale.getContext("2d").putImageData(image, 0, 0);
}

function renderPositions() {
  if (!positions) return;
  const cell = isPatch() ? state.query - prefixes : Math.floor(data.rows / 2) * data.cols + Math.floor(data.cols / 2);
  paint(byId("similar"), positions.bytes, cell);
  const name = nameOf(prefixes + cell);
  byId("similar-told").textContent = {
    embedding: `The position of ${name} beside all others.`,
    bias: `What is added to the scores of ${name} for all others.`,
    turn: `What is left of a score of 1 between ${name} and all others.`,
  }[positions.kind];
}

// ---- start -----------------------------------------------------------------------------------------

let last = {};
function render() {
  const changed = (...names) => names.some((name) => state[name] !== last[name]);
  if (changed("target", "method")) renderAnswer();
  if (changed("query", "layer", "head", "pinned")) renderExplorer();
  if (changed("layer", "head")) renderGrid();
  if (changed("query")) renderPositions();
  last = { ...state };
}

buildAnswer();
buildExplorer();
buildGrid();
buildPositions();
render();
