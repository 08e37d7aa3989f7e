// The canvas that a frame is drawn on: which part of it is in view, and what lies under the pointer.

import { drawJoint, drawPeople, drawSuspect } from "./draw.js";

const REACH = 12; // px of the screen within which a joint is hit
const CLICK = 4; // px of the screen that a pointer may move in a click

export class Stage {
  constructor(canvas, { picked, changed }) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.changed = changed;
    this.size = [1, 1]; // of the frame, in its pixels
    this.whole();
    new ResizeObserver(() => changed()).observe(canvas);
    canvas.addEventListener("wheel", (event) => this.zoom(event), { passive: false });
    canvas.addEventListener("pointerdown", (event) => {
      this.drag = { x: event.clientX, y: event.clientY, moved: 0 };
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", (event) => {
      if (this.drag && this.drag.moved < CLICK) picked(...this.toFrame(event));
      this.drag = null;
    });
    canvas.addEventListener("dblclick", () => this.whole());
  }

  // The whole frame in view.
  whole() {
    this.magnified = 1;
    this.centre = null;
    this.changed();
  }

  setFrame(width, height) {
    this.size = [width, height];
    this.whole();
  }

  // Canvas pixels for each of the frame, and where the frame's corner lies on the canvas.
  view() {
    const ratio = window.devicePixelRatio || 1;
    const { clientWidth, clientHeight } = this.canvas;
    const [width, height] = [Math.max(1, Math.round(clientWidth * ratio)), Math.max(1, Math.round(clientHeight * ratio))];
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
    const scale = Math.min(width / this.size[0], height / this.size[1]) * this.magnified;
    const [x, y] = this.centre ?? [this.size[0] / 2, this.size[1] / 2];
    return { ratio, width, height, scale, left: width / 2 - x * scale, top: height / 2 - y * scale };
  }

  // Width of picture that is worth having: as many pixels as are seen, in steps, for a server holds those of one width.
  wantedWidth() {
    const { scale } = this.view();
    return Math.max(160, Math.min(this.size[0], Math.ceil((this.size[0] * Math.min(scale, 1)) / 320) * 320));
  }

  toFrame(event) {
    const { left, top, scale, ratio } = this.view();
    const box = this.canvas.getBoundingClientRect();
    return [((event.clientX - box.left) * ratio - left) / scale, ((event.clientY - box.top) * ratio - top) / scale];
  }

  // Where a point of the frame is in the window, in CSS pixels.
  toWindow(x, y) {
    const { left, top, scale, ratio } = this.view();
    const box = this.canvas.getBoundingClientRect();
    return [box.left + (left + x * scale) / ratio, box.top + (top + y * scale) / ratio];
  }

  zoom(event) {
    event.preventDefault();
    const [x, y] = this.toFrame(event);
    const before = this.view().scale;
    this.magnified = Math.min(40, Math.max(1, this.magnified * Math.exp(-event.deltaY / 400)));
    if (this.magnified === 1) this.centre = null;
    else {
      const [cx, cy] = this.centre ?? [this.size[0] / 2, this.size[1] / 2];
      const kept = before / this.view().scale; // the point under the pointer stays there
      this.centre = [x + (cx - x) * kept, y + (cy - y) * kept];
    }
    this.changed();
  }

  move(event) {
    if (!this.drag) return;
    const [dx, dy] = [event.clientX - this.drag.x, event.clientY - this.drag.y];
    this.drag = { x: event.clientX, y: event.clientY, moved: this.drag.moved + Math.abs(dx) + Math.abs(dy) };
    if (this.magnified === 1) return;
    const { scale, ratio } = this.view();
    const [x, y] = this.centre;
    this.centre = [x - (dx * ratio) / scale, y - (dy * ratio) / scale];
    this.changed();
  }

  draw({ video, picture, people, trails, options, about, suspect, joint }) {
    const { context } = this;
    const { width, height, scale, left, top } = this.view();
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, width, height);
    context.setTransform(scale, 0, 0, scale, left, top);
    if (picture) context.drawImage(picture, 0, 0, ...this.size);
    else {
      context.fillStyle = "#1b2027";
      context.fillRect(0, 0, ...this.size);
    }
    const scene = { context, scale };
    drawPeople(scene, video, people, trails, options, about);
    if (suspect) drawSuspect(scene, suspect);
    if (joint) drawJoint(scene, joint);
  }

  // The joint or, where none is near, the person under a point of the frame.
  hit(video, people, minKeypoint, x, y) {
    const { scale, ratio } = this.view();
    let best = { distance: (REACH * ratio) / scale, person: null, joint: null };
    for (const person of people) {
      video.skeleton.keypoints.forEach((name, k) => {
        const [jx, jy, score] = person.joint(k);
        const distance = Math.hypot(jx - x, jy - y);
        if (score >= minKeypoint && distance < best.distance) best = { distance, person, joint: name };
      });
    }
    if (best.person) return best;
    const inside = people.filter(({ box: [x1, y1, x2, y2] }) => x1 <= x && x <= x2 && y1 <= y && y <= y2);
    inside.sort((a, b) => b.box[3] - a.box[3]);
    return { person: inside[0] ?? null, joint: null };
  }
}
