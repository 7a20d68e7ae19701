"use strict";
// What every page with heat on a picture needs: its data, maps from bytes, colours, and where a map lies.

const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const clamp = (value, count) => Math.max(0, Math.min(count - 1, value));
const percent = (value) => (value >= 0.0995 ? (100 * value).toFixed(0) : (100 * value).toFixed(1)) + "%";
const percentOf = (part) => `${100 * part}%`;

function bytesOf(text) {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return bytes;
}

// A pack of maps: bytes of 0..255 of each map's own peak, and the peaks.
function unpack(pack) {
  return { bytes: bytesOf(pack.bytes), peaks: new Float32Array(bytesOf(pack.peaks).buffer) };
}

// 256 colours from the table's evenly spaced ones.
const colours = (function () {
  const table = data.colours.map((hex) => [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16)));
  return Array.from({ length: 256 }, (_, value) => {
    const place = (value / 255) * (table.length - 1);
    const below = Math.min(Math.floor(place), table.length - 2);
    return table[below].map((low, i) => Math.round(low + (table[below + 1][i] - low) * (place - below)));
  });
})();

// Draw map number `index` of some bytes, one pixel to a cell of a grid {rows, cols}. An overlay is the clearer
// the hotter it is; `stretch` spreads the map's own range over all colours, and `root` takes the square root
// of it, so that what is weak shows beside one place that is strong.
function paint(canvas, bytes, index, { overlay = false, stretch = false, root = false, opacity = 0.85, grid = data } = {}) {
  const count = grid.rows * grid.cols;
  canvas.width = grid.cols;
  canvas.height = grid.rows;
  const context = canvas.getContext("2d");
  const image = context.createImageData(grid.cols, grid.rows);
  const part = bytes.subarray(index * count, (index + 1) * count);
  let low = 0, high = 255;
  if (stretch) {
    low = part.reduce((a, b) => Math.min(a, b), 255);
    high = part.reduce((a, b) => Math.max(a, b), 0);
  }
  for (let i = 0; i < count; i++) {
    const share = high > low ? (part[i] - low) / (high - low) : 0;
    const value = Math.round(255 * (root ? Math.sqrt(share) : share));
    image.data.set(colours[value], 4 * i);
    image.data[4 * i + 3] = overlay ? Math.round(255 * opacity * Math.sqrt(value / 255)) : 255;
  }
  context.putImageData(image, 0, 0);
}

// Lay a canvas over the source picture, where the view of its map lies; what the model padded is not shown.
function lay(canvas, place) {
  const { left, top, right, bottom } = place;
  Object.assign(canvas.style, {
    left: percentOf(left), top: percentOf(top), width: percentOf(right - left), height: percentOf(bottom - top),
    clipPath: `inset(0 ${percentOf((right - place.seen_right) / (right - left))} ${percentOf((bottom - place.seen_bottom) / (bottom - top))} 0)`,
  });
}

// A dashed frame around what the model saw, hidden where that is the whole picture.
function frame(element, place) {
  const edges = [place.seen_left, place.seen_top, 1 - place.seen_right, 1 - place.seen_bottom];
  element.hidden = edges.every((edge) => Math.abs(edge) < 0.005);
  Object.assign(element.style, {
    left: percentOf(place.seen_left), top: percentOf(place.seen_top),
    width: percentOf(place.seen_right - place.seen_left), height: percentOf(place.seen_bottom - place.seen_top),
  });
}
