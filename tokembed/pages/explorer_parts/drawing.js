/* What the map and the film share: canvases as sharp as the screen, colours of the scheme, labels that never overlap. */

const element = (id) => document.getElementById(id);
const LABEL_FONT = 12; // pixels
const LABEL_FAMILY = "system-ui, sans-serif";
const DIRECTIONS = [[0, -1], [0, 1], [1, 0], [-1, 0], [1, -1], [-1, -1], [1, 1], [-1, 1]];
const isDark = matchMedia("(prefers-color-scheme: dark)");

/** Return a colour of the style sheet, which follows the light or dark scheme. */
function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/** Return all colours of clusters. */
function clusterColours() {
  return Array.from({ length: data.clusters.length }, (_, cluster) => colour(`cluster-${cluster}`));
}

/** Give a canvas as many dots as it covers on the screen; return its context, in CSS pixels. */
function sharpContext(canvas, width, height, ratio = devicePixelRatio || 1) {
  const [across, down] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== across || canvas.height !== down) {
    [canvas.width, canvas.height] = [across, down];
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

const measuring = document.createElement("canvas").getContext("2d");
const measured = new Map();

/** Return how many pixels wide text is, remembered. */
function textWidth(text, font) {
  const key = `${font} ${text}`;
  if (!measured.has(key)) {
    measuring.font = font;
    measured.set(key, measuring.measureText(text).width);
  }
  return measured.get(key);
}

const fontOf = (size, isBold) => `${isBold ? "600 " : ""}${size}px ${LABEL_FAMILY}`;
const around = ([x, y], size) => [x - size, y - size, x + size, y + size];
const overlaps = (a, b) => a[0] < b[2] + 5 && b[0] < a[2] + 5 && a[1] < b[3] + 2 && b[1] < a[3] + 2;
const isWithin = ([left, top, right, bottom], [width, height]) => left >= 0 && top >= 0 && right <= width && bottom <= height;

/** Return a label at the first free place around its point, or undefined; what is tried lies at these distances from it. */
function freePlace({ text, pixel, size = LABEL_FONT, isBold = false, distances }, taken, area) {
  const font = fontOf(size, isBold);
  const half = [textWidth(text, font) / 2, size / 2 + 1];
  for (const distance of distances) {
    for (const [right, down] of DIRECTIONS) {
      const shift = [right * (half[0] + distance), down * (half[1] + distance)]; // from the point to the label's middle
      const [x, y] = [pixel[0] + shift[0], pixel[1] + shift[1]];
      const box = [x - half[0], y - half[1], x + half[0], y + half[1]];
      if (isWithin(box, area) && !taken.some((other) => overlaps(box, other))) {
        return { text, font, shift, box };
      }
    }
  }
  return undefined;
}

/** Write a label with a halo, so that points behind it don't make it hard to read. */
function drawLabel(context, { text, font }, [x, y], ink, paper) {
  context.font = font;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.lineJoin = "round";
  context.lineWidth = 4;
  context.strokeStyle = paper;
  context.strokeText(text, x, y);
  context.fillStyle = ink;
  context.fillText(text, x, y);
}
