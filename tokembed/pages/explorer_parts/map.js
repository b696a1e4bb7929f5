/* The map: points on a canvas that one can drag, zoom, search and save as a picture. */

const FITTED = 1.08; // the whole map, and a little room around it
const PIXELS_A_LABEL = 10_000; // of the map, beside the labels of the selected token and its neighbours
const MAX_TRIED = 500; // words that a label is looked for; the most telling come first
const REACH = 12; // pixels around a point in which it is pointed at
const STILL = 150; // milliseconds after which a moved map is still, and labels are chosen anew
const ROUND = 1.7; // pixels of radius above which a point of a word is a circle; a square is faster
const ROUND_MOVING = 3.5; // the same while the map moves
const CLICK = 4; // pixels that a pointer may move in a click
const PICTURE_SCALE = 2;

/** Points in the plane, seen through a window: a centre and a width, in the map's units; the height follows from the shape. */
class TokenMap {
  /** `points` holds x and y of each row, one after the other; `onSelect` gets the row that was clicked. */
  constructor(frame, points, onSelect) {
    this.frame = frame;
    this.canvas = frame.querySelector("canvas");
    this.tip = frame.querySelector(".tip");
    this.points = points;
    this.onSelect = onSelect;
    this.showsFragments = true;
    this.highlighted = undefined; // a cluster, or none
    this.marked = { stars: [], near: [] }; // rows
    this.labels = [];
    const most = Math.log((counts?.[0] ?? 1) + 1);
    this.radii = Float32Array.from(tokens, (_, row) => (counts ? 1.5 + 5 * (Math.log(counts[row] + 1) / most) ** 2 : 2.5));
    // Frequent words name a region, if they are no grammar ("that", "which"): the most frequent 200 tokens come after others.
    const rank = (row) => (!isWord[row] || names[row].length < 4 ? 2 : Number(row < 200));
    this.labelledFirst = [...tokens.keys()].sort((a, b) => rank(a) - rank(b) || a - b);
    this.layers = data.clusters.map((_, cluster) => [0, 1].map((kind) =>
      [...tokens.keys()].filter((row) => clusters[row] === cluster && isWord[row] === kind))); // [fragments, words]
    this.measure();
    this.repaint();
    this.showAll();
    this.listen();
  }

  /** Take the frame's size. */
  measure() {
    [this.width, this.height] = [this.frame.clientWidth, this.frame.clientHeight];
    this.shrink = Math.min(1, Math.sqrt(this.width / 700)); // a small map has small points
  }

  /** Take the colours of the scheme. */
  repaint() {
    this.colours = clusterColours();
    [this.ink, this.paper] = ["ink", "paper"].map(colour);
    this.draw();
  }

  // ------------------------------------------------------------ the window

  /** Return the width at which everything is in view. */
  wholeSpan() {
    const extents = [0, 1].map((side) => {
      let [low, high] = [Infinity, -Infinity];
      for (let place = side; place < this.points.length; place += 2) {
        low = Math.min(low, this.points[place]);
        high = Math.max(high, this.points[place]);
      }
      return high - low || 1;
    });
    return FITTED * Math.max(extents[0], (extents[1] * this.width) / this.height);
  }

  /** Look at a part of the map; labels are chosen at once, or when it is still. */
  setView(x, y, span, { isMoving = false } = {}) {
    this.view = { x, y, span: Math.min(Math.max(span, this.wholeSpan() / 2000), 2 * this.wholeSpan()) };
    clearTimeout(this.settling);
    this.isMoving = isMoving;
    if (isMoving) {
      this.settling = setTimeout(() => this.settle(), STILL);
    } else {
      this.placeLabels();
    }
    this.draw();
  }

  /** Choose the labels of a map that has come to rest. */
  settle() {
    this.isMoving = false;
    this.placeLabels();
    this.draw();
  }

  /** Zoom by a factor below 1, or out by one above; the pixel keeps its place. */
  zoom(factor, pixel = [this.width / 2, this.height / 2], how = {}) {
    const { x, y, span } = this.view;
    const [fixedX, fixedY] = this.placeOf(pixel);
    const changed = Math.min(Math.max(span * factor, this.wholeSpan() / 2000), 2 * this.wholeSpan()) / span;
    this.setView(fixedX + (x - fixedX) * changed, fixedY + (y - fixedY) * changed, span * changed, how);
  }

  /** Move by shares of the width. */
  move(right, up, how) {
    const { x, y, span } = this.view;
    this.setView(x + right * span, y + up * span, span, how);
  }

  /** Look at everything. */
  showAll() {
    this.setView(0, 0, this.wholeSpan());
  }

  /** Look at a row from near enough to read its neighbourhood; at everything, for the parts of a word may lie anywhere. */
  centre(rows) {
    if (rows.length > 1) {
      this.showAll();
    } else {
      const [row] = rows;
      this.setView(this.points[2 * row], this.points[2 * row + 1], Math.min(this.view.span, this.wholeSpan() / 4));
    }
  }

  /** Fit the map to the room it has now. */
  resize() {
    if (this.frame.clientWidth > 0 && (this.frame.clientWidth !== this.width || this.frame.clientHeight !== this.height)) {
      const shown = this.view.span / this.wholeSpan();
      this.measure();
      this.setView(this.view.x, this.view.y, shown * this.wholeSpan());
    }
  }

  /** Return a row's place in pixels, from the map's left and top. */
  pixelOf(row) {
    const scale = this.width / this.view.span;
    return [
      this.width / 2 + (this.points[2 * row] - this.view.x) * scale,
      this.height / 2 - (this.points[2 * row + 1] - this.view.y) * scale,
    ];
  }

  /** Return the place on the map of a pixel: the inverse of `pixelOf`. */
  placeOf([x, y]) {
    const scale = this.view.span / this.width;
    return [this.view.x + (x - this.width / 2) * scale, this.view.y - (y - this.height / 2) * scale];
  }

  /** Return the row that is pointed at, or undefined: of those within reach, the one whose edge is nearest. */
  rowAt([x, y]) {
    let [found, least] = [undefined, REACH];
    for (let row = 0; row < tokens.length; row++) {
      if (this.isShown(row)) {
        const [pointX, pointY] = this.pixelOf(row);
        const distance = Math.hypot(pointX - x, pointY - y) - this.radii[row] * this.shrink;
        if (distance < least) {
          [found, least] = [row, distance];
        }
      }
    }
    return found;
  }

  /** Tell whether a row is not hidden. */
  isShown(row) {
    return (this.showsFragments || isWord[row] === 1) && (this.highlighted ?? clusters[row]) === clusters[row];
  }

  // ------------------------------------------------------------ drawing

  /** Draw the map in the next frame. */
  draw() {
    this.frameRequest ??= requestAnimationFrame(() => {
      this.frameRequest = undefined;
      this.drawOn(sharpContext(this.canvas, this.width, this.height));
    });
  }

  /** Draw points, what is marked, labels. */
  drawOn(context) {
    this.layers.forEach((kinds, cluster) => {
      context.globalAlpha = (this.highlighted ?? cluster) === cluster ? 0.72 : 0.1;
      context.fillStyle = this.colours[cluster];
      kinds.forEach((rows, kind) => {
        if (kind === 1 || this.showsFragments) {
          this.drawPoints(context, rows, kind === 1);
        }
      });
    });
    context.globalAlpha = 1;
    this.drawMarks(context);
    for (const label of this.labels) {
      const [x, y] = this.pixelOf(label.row);
      drawLabel(context, label, [x + label.shift[0], y + label.shift[1]], this.ink, this.paper);
    }
  }

  /** Fill the points of one colour: circles, or squares; what is too small to tell is a square too. */
  drawPoints(context, rows, isRound) {
    const { points, radii, width, height, shrink } = this;
    const least = this.isMoving ? ROUND_MOVING : ROUND;
    const scale = width / this.view.span;
    const [left, top] = [width / 2 - this.view.x * scale, height / 2 + this.view.y * scale];
    context.beginPath();
    for (const row of rows) {
      const x = left + points[2 * row] * scale;
      const y = top - points[2 * row + 1] * scale;
      const radius = radii[row] * shrink;
      if (x < -radius || y < -radius || x > width + radius || y > height + radius) {
        continue;
      }
      if (isRound && radius > least) {
        context.moveTo(x + radius, y);
        context.arc(x, y, radius, 0, 2 * Math.PI);
      } else {
        const half = 0.85 * radius; // of a square as large as the circle
        context.fillRect(x - half, y - half, 2 * half, 2 * half);
      }
    }
    context.fill();
  }

  /** Mark the selected token, or the parts of a word, and the neighbours, with a line to each. */
  drawMarks(context) {
    const { stars, near } = this.marked;
    context.strokeStyle = context.fillStyle = this.ink;
    context.lineWidth = 1.2;
    context.globalAlpha = 0.45;
    if (stars.length === 1) {
      context.beginPath();
      for (const row of near) {
        context.moveTo(...this.pixelOf(stars[0]));
        context.lineTo(...this.pixelOf(row));
      }
      context.stroke();
    }
    context.globalAlpha = 1;
    context.lineWidth = 1.8;
    for (const row of near) {
      context.beginPath();
      context.arc(...this.pixelOf(row), this.radii[row] * this.shrink + 2.5, 0, 2 * Math.PI);
      context.stroke();
    }
    for (const row of stars) {
      const [x, y] = this.pixelOf(row);
      context.beginPath();
      for (let corner = 0; corner < 10; corner++) {
        const [size, angle] = [corner % 2 ? 4.5 : 10, (Math.PI * (corner - 2.5)) / 5];
        context.lineTo(x + size * Math.cos(angle), y + size * Math.sin(angle));
      }
      context.closePath();
      context.strokeStyle = this.paper;
      context.stroke();
      context.fill();
      context.strokeStyle = this.ink;
    }
  }

  /** Choose labels: the selected token, its neighbours, then frequent words in view, each where nothing stands yet. */
  placeLabels() {
    const { stars, near } = this.marked;
    const area = [this.width, this.height];
    const taken = stars.map((row) => around(this.pixelOf(row), 9));
    this.labels = [];
    const place = (row, how) => {
      const found = freePlace({ text: names[row], pixel: this.pixelOf(row), ...how }, taken, area);
      if (found) {
        this.labels.push({ row, ...found });
        taken.push(found.box);
      }
    };
    stars.forEach((row) => place(row, { size: LABEL_FONT + 4, isBold: true, distances: [9, 18] }));
    taken.push(...near.map((row) => around(this.pixelOf(row), 6)));
    near.forEach((row) => place(row, { isBold: true, distances: [7, 18] }));
    const most = this.labels.length + (this.width * this.height) / PIXELS_A_LABEL;
    const isMarked = new Set([...stars, ...near]);
    let numTried = 0;
    for (const row of this.labelledFirst) {
      if (this.labels.length >= most || numTried >= MAX_TRIED) {
        break;
      }
      if (!isMarked.has(row) && this.isShown(row) && isWithin(around(this.pixelOf(row), 0), area)) {
        numTried += 1;
        place(row, { distances: [3] });
      }
    }
  }

  /** Mark rows, and label them. */
  mark(stars, near) {
    this.marked = { stars: [...new Set(stars)], near };
    this.settle();
  }

  /** Show fragments, or words alone. */
  filter({ showsFragments }) {
    this.showsFragments = showsFragments;
    this.settle();
  }

  /** Show all clusters, or one, which may lie anywhere. */
  highlight(cluster) {
    this.highlighted = cluster;
    this.showAll();
  }

  /** Return the map as a PNG, a line of text below it. */
  picture(caption) {
    const canvas = document.createElement("canvas");
    const strip = 34;
    const context = sharpContext(canvas, this.width, this.height + strip, PICTURE_SCALE);
    context.fillStyle = this.paper;
    context.fillRect(0, 0, this.width, this.height + strip);
    this.drawOn(context);
    context.fillStyle = this.paper;
    context.fillRect(0, this.height, this.width, strip);
    context.fillStyle = colour("faint");
    context.font = fontOf(LABEL_FONT);
    context.textAlign = "left";
    context.fillText(caption, 12, this.height + strip / 2, this.width - 24);
    return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  }

  // ------------------------------------------------------------ pointers and keys

  /** Follow pointers, the wheel, keys, and the window. */
  listen() {
    const { frame } = this;
    this.pointers = new Map(); // by their ids, in pixels: one drags, two zoom
    frame.addEventListener("pointerdown", (event) => this.onDown(event));
    frame.addEventListener("pointermove", (event) => this.onMove(event));
    frame.addEventListener("pointerup", (event) => this.onUp(event));
    frame.addEventListener("pointercancel", (event) => this.pointers.delete(event.pointerId));
    frame.addEventListener("pointerleave", () => this.showTip());
    frame.addEventListener("dblclick", (event) => this.zoom(0.5, this.pixelOfEvent(event)));
    frame.addEventListener("wheel", (event) => this.onWheel(event), { passive: false });
    frame.addEventListener("keydown", (event) => this.onKey(event));
    new ResizeObserver(() => this.resize()).observe(frame);
  }

  /** Return where an event is, from the map's left and top. */
  pixelOfEvent(event) {
    const box = this.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  onDown(event) {
    if (event.button === 0) {
      this.frame.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, this.pixelOfEvent(event));
      this.travelled = this.pointers.size > 1 ? Infinity : 0;
    }
  }

  onMove(event) {
    const pixel = this.pixelOfEvent(event);
    const before = this.pointers.get(event.pointerId);
    if (!before) {
      this.showTip(this.rowAt(pixel));
      return;
    }
    this.showTip();
    const isMoving = true;
    const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1];
    const weight = other ? 0.5 : 1; // of two pointers, the middle moves
    const [right, down] = [pixel[0] - before[0], pixel[1] - before[1]];
    this.pointers.set(event.pointerId, pixel);
    this.travelled += Math.hypot(right, down);
    if (this.travelled > CLICK) {
      this.move((-weight * right) / this.width, (weight * down) / this.width, { isMoving });
    }
    if (other) {
      const middle = [(pixel[0] + other[0]) / 2, (pixel[1] + other[1]) / 2];
      const distance = (from) => Math.max(Math.hypot(from[0] - other[0], from[1] - other[1]), 1);
      this.zoom(distance(before) / distance(pixel), middle, { isMoving });
    }
  }

  onUp(event) {
    if (this.pointers.delete(event.pointerId) && this.travelled <= CLICK) {
      const row = this.rowAt(this.pixelOfEvent(event));
      if (row !== undefined) {
        this.onSelect(row);
      }
    }
  }

  /** Zoom with Ctrl or ⌘ only, as which a touch pad's pinch comes too: a page that scrolls must not be caught by the map. */
  onWheel(event) {
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
      this.zoom(Math.exp(Math.max(-0.7, Math.min(0.7, event.deltaY * lines * 0.004))), this.pixelOfEvent(event), { isMoving: true });
    }
  }

  onKey(event) {
    const STEP = 0.15;
    const actions = {
      ArrowLeft: () => this.move(-STEP, 0), ArrowRight: () => this.move(STEP, 0),
      ArrowUp: () => this.move(0, STEP), ArrowDown: () => this.move(0, -STEP),
      "+": () => this.zoom(0.7), "=": () => this.zoom(0.7), "-": () => this.zoom(1 / 0.7), 0: () => this.showAll(),
    };
    if (Object.hasOwn(actions, event.key) && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      actions[event.key]();
    }
  }

  /** Say what a point is, beside it; nothing for none. */
  showTip(row) {
    this.tip.hidden = row === undefined;
    this.canvas.classList.toggle("on-point", row !== undefined);
    if (row !== undefined) {
      const [x, y] = this.pixelOf(row);
      this.tip.textContent = names[row] + (counts ? ` · ${grouped(counts[row])}×` : "");
      const left = Math.min(Math.max(x + 12, 4), this.width - this.tip.offsetWidth - 4);
      this.tip.style.transform = `translate(${left}px, ${y < 44 ? y + 14 : y - 38}px)`;
    }
  }
}
