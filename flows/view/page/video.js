// A video that is looked at: times, people by windows of frames, and pictures, fetched ahead of where they are wanted.

import * as api from "./api.js";

const WINDOW = 256; // frames whose people are fetched at once
const WINDOWS = 64; // that are held
const PICTURES = 64; // that are held: at 1280 x 720 240 MB
const IN_FLIGHT = 5; // pictures asked for at once; browsers have six connections

export async function openVideo(id, about, changed) {
  const opened = await api.opened(id);
  const times = await api.times(id); // of what was opened
  return new Video(id, opened, times, about, changed);
}

export class Video {
  constructor(id, opened, times, about, changed) {
    Object.assign(this, opened, { id, changed });
    this.length = times.length / 2;
    this.frames = times.subarray(0, this.length);
    this.seconds = times.slice(this.length).map((ns) => ns / 1e9);
    this.first = about.person.length; // column of the first keypoint
    this.columns = Object.fromEntries(about.person.map((name, n) => [name, n]));
    this.width = this.first + 3 * this.skeleton.keypoints.length;
    this.windows = new Map();
    this.pictures = new Pictures(this);
  }

  // The people of a frame by its place, null while they are fetched. Each is what the table holds, and `row`, all its numbers.
  people(place) {
    const number = Math.floor(place / WINDOW);
    const held = this.windows.get(number);
    if (!held) {
      this.load(place);
      return null;
    }
    return held.rows ? held.rows[place - number * WINDOW] : null;
  }

  // Fetches the people of a frame, and of those around it.
  async load(place) {
    const number = Math.floor(place / WINDOW);
    const known = this.windows.get(number);
    if (known) return known.fetched;
    const held = { rows: null };
    this.windows.set(number, held);
    if (this.windows.size > WINDOWS) this.windows.delete(this.windows.keys().next().value);
    const start = number * WINDOW;
    const stop = Math.min(start + WINDOW, this.length);
    held.fetched = api.people(this.id, start, stop).then(
      (values) => {
        held.rows = Array.from({ length: stop - start }, () => []);
        for (let at = 0; at < values.length; at += this.width) {
          const row = values.subarray(at, at + this.width);
          held.rows[row[0] - start].push(this.person(row));
        }
        this.changed();
      },
      (error) => {
        this.windows.delete(number);
        this.changed(error);
      },
    );
    return held.fetched;
  }

  person(row) {
    const { columns: c } = this;
    return {
      row,
      trackId: row[c.track_id],
      poseScore: row[c.pose_score],
      box: [row[c.box_x1], row[c.box_y1], row[c.box_x2], row[c.box_y2]],
      joint: (k) => [row[this.first + 3 * k], row[this.first + 3 * k + 1], row[this.first + 3 * k + 2]],
    };
  }

  // Place of the last frame that is shown at a time.
  placeAt(seconds) {
    let [low, high] = [0, this.length];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (this.seconds[middle] <= seconds) low = middle;
      else high = middle;
    }
    return low;
  }

  // Place of a frame by its number, or of the last one before it that was sampled.
  placeOf(frame) {
    let [low, high] = [0, this.length];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (this.frames[middle] <= frame) low = middle;
      else high = middle;
    }
    return low;
  }

  close() {
    this.pictures.close();
  }
}

class Pictures {
  constructor(video) {
    this.video = video;
    this.held = new Map(); // by place {bitmap, message, width}; the one that came last is the last
    this.flying = new Set();
    this.wanted = []; // places, the most urgent first
    this.width = 0;
    this.isClosed = false;
    this.lacking = video.row.codec === "none" ? "annotated from poses, without pictures" : "";
  }

  at(place) {
    return this.held.get(place)?.bitmap ?? null;
  }

  // Why there is no picture of a frame, where there is a reason.
  trouble(place) {
    return this.lacking || (this.held.get(place)?.message ?? "");
  }

  isSettled(place) {
    return Boolean(this.lacking) || this.held.has(place);
  }

  // Have these places, the most urgent first; what was wanted before is not any more.
  want(places) {
    this.wanted = places;
    this.fetch();
  }

  fetch() {
    if (this.isClosed || this.lacking || !this.width) return;
    for (const place of this.wanted) {
      if (this.flying.size >= IN_FLIGHT) return;
      const isHeld = this.held.get(place)?.width === this.width; // one of another width is shown until this one comes
      if (!isHeld && !this.flying.has(place)) this.fetchOne(place);
    }
  }

  async fetchOne(place) {
    const found = { bitmap: null, message: "", width: this.width };
    this.flying.add(place);
    try {
      found.bitmap = await api.picture(this.video.id, this.video.frames[place], found.width);
    } catch (error) {
      found.message = error.message;
    }
    this.flying.delete(place);
    if (this.isClosed) {
      found.bitmap?.close();
      return;
    }
    this.drop(place);
    this.held.set(place, found);
    while (this.held.size > PICTURES) this.drop(this.held.keys().next().value);
    this.video.changed();
    this.fetch();
  }

  drop(place) {
    this.held.get(place)?.bitmap?.close();
    this.held.delete(place);
  }

  close() {
    this.isClosed = true;
    for (const place of [...this.held.keys()]) this.drop(place);
  }
}
