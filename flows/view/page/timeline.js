// Tracks as bars over time, people in view above them, suspects as ticks; zoomed by the wheel, and the server sends what fits.

import * as api from "./api.js";
import { colourOf } from "./draw.js";

const PEOPLE = 26; // px, the height of the curve of people in view
const TICKS = 10; // px, below it, for suspects
const MIN_SPAN = 20; // frames

export class Timeline {
  constructor(canvas, { sought, told }) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    Object.assign(this, { sought, told, video: null, range: [0, 1], shown: null, asked: 0 });
    new ResizeObserver(() => this.fetchSoon()).observe(canvas);
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.isDragged = true;
      this.seek(event);
    });
    canvas.addEventListener("pointermove", (event) => this.isDragged && this.seek(event));
    canvas.addEventListener("pointerup", () => (this.isDragged = false));
    canvas.addEventListener("dblclick", () => this.setRange(0, this.video?.length ?? 1));
  }

  open(video, about, suspects, filter) {
    Object.assign(this, { video, about, suspects, filter, shown: null, place: 0 });
    this.setRange(0, video.length);
  }

  setFilter(filter) {
    this.filter = filter;
    this.fetchSoon();
  }

  setRange(start, stop) {
    if (!this.video) return;
    const span = Math.min(this.video.length, Math.max(MIN_SPAN, Math.round(stop - start)));
    const first = Math.round(Math.min(Math.max(0, start), this.video.length - span));
    this.range = [first, first + span];
    this.fetchSoon();
    this.draw();
  }

  // Show where the playhead is; the range follows it.
  setPlace(place) {
    this.place = place;
    const [start, stop] = this.range;
    if (place < start || place >= stop) this.setRange(place - (stop - start) / 10, place + ((stop - start) * 9) / 10);
    else this.draw();
  }

  toPlace(event) {
    const box = this.canvas.getBoundingClientRect();
    const share = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    return this.range[0] + share * (this.range[1] - this.range[0]);
  }

  seek(event) {
    if (this.video) this.sought(Math.min(this.video.length - 1, Math.floor(this.toPlace(event))));
  }

  wheel(event) {
    event.preventDefault();
    const [start, stop] = this.range;
    const turned = event.deltaY || event.deltaX;
    if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      const by = ((stop - start) * turned) / 800;
      this.setRange(start + by, stop + by);
      return;
    }
    const at = this.toPlace(event);
    const factor = Math.exp(turned / 300);
    this.setRange(at - (at - start) * factor, at + (stop - at) * factor);
  }

  fetchSoon() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.fetch(), 40);
  }

  async fetch() {
    if (!this.video || !this.video.length) return;
    const [start, stop] = this.range;
    const columns = Math.max(1, Math.round(this.canvas.clientWidth * (window.devicePixelRatio || 1)));
    const asked = ++this.asked;
    try {
      const found = await api.timeline(this.video.id, {
        start, stop, columns, min_score: this.filter.minPose, track: this.filter.track,
      });
      if (asked !== this.asked) return;
      this.shown = found;
      this.told(found.left_out ? `${found.left_out} shorter bars are not shown: zoom in` : "");
      this.draw();
    } catch (error) {
      this.told(error.message);
    }
  }

  draw() {
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [Math.round(this.canvas.clientWidth * ratio), Math.round(this.canvas.clientHeight * ratio)];
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
    const { context } = this;
    context.clearRect(0, 0, width, height);
    if (!this.video) return;
    const [start, stop] = this.range;
    const x = (place) => ((place - start) / (stop - start)) * width;
    if (this.shown) {
      this.drawPeople(x, ratio);
      this.drawBars(x, ratio, width, height);
    }
    this.drawSuspects(x, ratio);
    const head = x(this.place + 0.5);
    context.fillStyle = "#ffffff";
    context.fillRect(Math.round(head - ratio / 2), 0, Math.max(1, ratio), height);
  }

  drawPeople(x, ratio) {
    const { context, shown } = this;
    const most = Math.max(1, ...shown.people);
    const step = (shown.stop - shown.start) / shown.people.length;
    context.fillStyle = "#40b4ff66";
    shown.people.forEach((people, n) => {
      const [left, right] = [Math.floor(x(shown.start + n * step)), Math.floor(x(shown.start + (n + 1) * step))];
      const tall = (people / most) * (PEOPLE - 4) * ratio;
      context.fillRect(left, PEOPLE * ratio - tall, Math.max(1, right - left), tall);
    });
    context.fillStyle = "#8b96a3";
    context.font = `${10 * ratio}px system-ui, sans-serif`;
    context.textBaseline = "top";
    context.fillText(`${most} in view`, 4 * ratio, 2 * ratio);
  }

  drawBars(x, ratio, width, height) {
    const { context, shown } = this;
    const top = (PEOPLE + TICKS) * ratio;
    const lane = Math.min(16 * ratio, (height - top - 2 * ratio) / Math.max(1, shown.lanes));
    const thick = Math.max(1, lane - Math.min(2 * ratio, lane / 4));
    context.font = `${Math.min(10 * ratio, thick - ratio)}px system-ui, sans-serif`;
    context.textBaseline = "middle";
    for (const [track, number, first, last] of shown.bars) {
      const [left, right] = [x(first), x(last + 1)];
      if (right < 0 || left > width) continue;
      const y = top + number * lane;
      context.fillStyle = colourOf(this.about, track);
      context.fillRect(left, y, Math.max(1, right - left), thick);
      if (thick >= 9 * ratio && right - left > 24 * ratio) {
        context.fillStyle = "#101010";
        context.fillText(String(track), Math.max(left, 0) + 4 * ratio, y + thick / 2);
      }
    }
  }

  drawSuspects(x, ratio) {
    const { context } = this;
    context.fillStyle = "#ff9340";
    for (const { place } of this.suspects()) {
      const at = x(place + 0.5);
      context.beginPath();
      context.moveTo(at, PEOPLE * ratio + 8 * ratio);
      context.lineTo(at - 3 * ratio, PEOPLE * ratio + 2 * ratio);
      context.lineTo(at + 3 * ratio, PEOPLE * ratio + 2 * ratio);
      context.fill();
    }
  }
}
