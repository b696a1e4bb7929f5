/* The film of training: some words' places after each of a few epochs, and on the way from one to the next. */

const SECONDS_A_FRAME = 1.6;

class Film {
  /** `frames` holds, for each epoch, x and y of each row, one after the other. */
  constructor(frame, { epochs, rows, frames, losses, share }, onSelect) {
    Object.assign(this, { frame, epochs, rows, frames, losses, time: frames.length - 1 });
    this.canvas = frame.querySelector("canvas");
    this.extents = [0, 1].map((side) => Math.max(...frames.flatMap((each) => each.filter((_, place) => place % 2 === side)
      .map(Math.abs))) || 1);
    element("film-note").textContent = `${epochs.at(-1)} epochs with the settings of the map's vectors, trained once more for this film. `
      + `Every frame is centred, and shows the two directions in which the last epoch's vectors differ most (${Math.round(100 * share)} % `
      + "of their variance), turned to fit the next frame best. Colours are the map's clusters; click a word to find it there.";
    element("film-time").max = frames.length - 1;
    element("film-time").addEventListener("input", () => {
      this.stop();
      this.show(Number(element("film-time").value));
    });
    element("play-film").addEventListener("click", () => (this.playing ? this.stop() : this.play()));
    frame.addEventListener("click", (event) => {
      const box = this.canvas.getBoundingClientRect();
      const row = this.rowAt([event.clientX - box.left, event.clientY - box.top]);
      if (row !== undefined) {
        onSelect(row);
      }
    });
    new ResizeObserver(() => this.draw()).observe(frame);
    this.show(this.time);
  }

  /** Show the film at a time: a whole number is a frame, what lies between is on the way, slow at both ends. */
  show(time) {
    this.time = time;
    const nearest = Math.round(time);
    const loss = this.losses[nearest];
    element("film-time").value = time;
    const said = `epoch ${this.epochs[nearest]}${loss === null ? ", before training" : `, loss ${loss.toFixed(2)}`}`;
    element("film-time").setAttribute("aria-valuetext", said);
    element("film-epoch").textContent = said;
    this.draw();
  }

  /** Return each row's place in pixels. */
  pixels() {
    const first = Math.min(Math.floor(this.time), this.frames.length - 2);
    const way = this.time - first;
    const share = way * way * (3 - 2 * way);
    const [width, height] = [this.frame.clientWidth, this.frame.clientHeight];
    const scale = Math.min((width / 2 - 30) / this.extents[0], (height / 2 - 16) / this.extents[1]);
    const at = (place) => (1 - share) * this.frames[first][place] + share * this.frames[first + 1][place];
    return this.rows.map((_, index) => [width / 2 + scale * at(2 * index), height / 2 - scale * at(2 * index + 1)]);
  }

  draw() {
    const area = [this.frame.clientWidth, this.frame.clientHeight];
    if (area[0] === 0) {
      return;
    }
    const context = sharpContext(this.canvas, ...area);
    const [colours, ink, paper] = [clusterColours(), colour("ink"), colour("paper")];
    const pixels = this.pixels();
    pixels.forEach((pixel, index) => {
      context.beginPath();
      context.arc(...pixel, 3.5, 0, 2 * Math.PI);
      context.fillStyle = colours[clusters[this.rows[index]]];
      context.fill();
    });
    const taken = [];
    pixels.forEach((pixel, index) => {
      const label = freePlace({ text: names[this.rows[index]], pixel, distances: [4] }, taken, area);
      if (label) {
        taken.push(label.box);
        drawLabel(context, label, [pixel[0] + label.shift[0], pixel[1] + label.shift[1]], ink, paper);
      }
    });
  }

  /** Return the row nearest to a pixel, or undefined where none is near. */
  rowAt([x, y]) {
    const distances = this.pixels().map((pixel) => Math.hypot(pixel[0] - x, pixel[1] - y));
    const least = Math.min(...distances);
    return least < 20 ? this.rows[distances.indexOf(least)] : undefined;
  }

  /** Run from here to the end, or from the start if it is the end. */
  play() {
    let time = this.time >= this.frames.length - 1 ? 0 : this.time;
    let before;
    const step = (now) => {
      time = Math.min(time + (now - (before ?? now)) / 1000 / SECONDS_A_FRAME, this.frames.length - 1);
      before = now;
      this.show(time);
      if (time < this.frames.length - 1) {
        this.playing = requestAnimationFrame(step);
      } else {
        this.stop();
      }
    };
    this.playing = requestAnimationFrame(step);
    showPlaying("play-film", true);
  }

  stop() {
    cancelAnimationFrame(this.playing);
    this.playing = undefined;
    showPlaying("play-film", false);
  }
}
