// Which frame is shown, and which pictures are fetched for it: at the video's own pace, late pictures left out.

const AHEAD = 24; // pictures that are fetched before they are due
const STEP = 10; // frames; a jump back by fewer is a step, and others will follow
const WAIT = 0.4; // seconds without a picture after which the clock waits for it

export class Player {
  constructor(changed) {
    Object.assign(this, { changed, video: null, place: 0, wanted: 0, direction: 1, isPlaying: false, speed: 1, dropped: 0 });
  }

  open(video) {
    this.pause();
    Object.assign(this, { video, place: 0, wanted: 0, dropped: 0 });
  }

  // Show a frame: at once without its picture where that takes a while.
  seek(place) {
    if (!this.video) return;
    const before = this.place;
    this.wanted = this.place = Math.min(Math.max(0, Math.round(place)), this.video.length - 1);
    this.direction = before - this.place > 0 && before - this.place <= STEP ? -1 : 1;
    this.restart();
    this.fetch();
    this.changed();
  }

  toggle() {
    if (this.isPlaying) this.pause();
    else this.play();
  }

  play() {
    if (!this.video || this.isPlaying) return;
    if (this.place >= this.video.length - 1) this.seek(0);
    this.isPlaying = true;
    this.dropped = 0;
    this.restart();
    this.changed();
    requestAnimationFrame(() => this.tick());
  }

  pause() {
    if (!this.isPlaying) return;
    this.isPlaying = false;
    this.changed();
  }

  setSpeed(speed) {
    this.speed = speed;
    this.restart();
  }

  // The clock starts from the frame that is shown.
  restart() {
    this.began = performance.now();
    this.from = this.place;
    this.shownAt = this.began;
  }

  tick() {
    if (!this.isPlaying) return;
    const { video } = this;
    const now = performance.now();
    const due = video.placeAt(video.seconds[this.from] + ((now - this.began) / 1000) * this.speed);
    this.wanted = due;
    let next = due;
    while (next > this.place && !this.isReady(next)) next--;
    if (next > this.place) {
      this.dropped += next - this.place - 1;
      this.place = next;
      this.shownAt = now;
      this.changed();
    } else if (due > this.place && (now - this.shownAt) / 1000 > WAIT) {
      this.restart(); // nothing came for a while: wait, and leave nothing out
      this.wanted = this.place + 1;
    }
    this.fetch();
    if (this.place >= video.length - 1) this.pause();
    else requestAnimationFrame(() => this.tick());
  }

  isReady(place) {
    return this.video.pictures.isSettled(place) && this.video.people(place) !== null;
  }

  // Ask for the picture that is due, and for those after it; while nothing plays, for the next two the way that steps go.
  fetch() {
    const { video, wanted } = this;
    const [count, by] = this.isPlaying ? [AHEAD, 1] : [3, this.direction];
    const places = Array.from({ length: count }, (_, n) => wanted + n * by);
    video.pictures.want(places.filter((place) => place >= 0 && place < video.length));
    video.people(Math.min(wanted + 2 * AHEAD, video.length - 1));
  }
}
