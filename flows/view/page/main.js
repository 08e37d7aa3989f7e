// The page: what is looked at, what is drawn of it, and what keys and clicks do.

import * as api from "./api.js";
import { byId, choose, fillJoint, fillSuspects, fillTracks, fillVideos, kindOf, time } from "./lists.js";
import { Player } from "./player.js";
import { Stage } from "./stage.js";
import { Timeline } from "./timeline.js";
import { openVideo } from "./video.js";

const SPEEDS = [0.25, 0.5, 1, 2, 4];
const state = {
  about: null, video: null, minPose: 0, minKeypoint: 0, track: null, suspect: null, selected: null, joint: null, drawn: [],
};
let isDue = false;

const changed = () => {
  if (isDue || !state.about) return;
  isDue = true;
  requestAnimationFrame(() => {
    isDue = false;
    draw();
  });
};
const trouble = (error) => (byId("trouble").textContent = error ? error.message : "");
const player = new Player(changed);
const stage = new Stage(byId("stage"), { picked, changed });
const timeline = new Timeline(byId("timeline"), { sought: (place) => player.seek(place), told: (text) => (byId("timeline-note").textContent = text) });
window.tkm = { state, player, stage, timeline }; // for whoever looks at what is shown, tests among them

// What is shown.

const isShown = (person) => person.poseScore >= state.minPose && (state.track === null || person.trackId === state.track);

function draw() {
  const { video } = state;
  if (!video) return;
  const { place } = player;
  const everybody = video.people(place);
  const people = (everybody ?? []).filter(isShown);
  const options = {
    minKeypoint: state.minKeypoint,
    ...Object.fromEntries(["boxes", "ids", "trails", "skeletons"].map((name) => [name, byId(name).checked])),
  };
  const picture = video.pictures.at(place);
  const suspect = state.suspect?.frame === video.frames[place] ? state.suspect : null;
  const joint = state.joint?.place === place && state.joint.candidates ? state.joint : null;
  video.pictures.width = stage.wantedWidth();
  if (!player.isPlaying) player.fetch();
  stage.draw({ video, picture, people, trails: options.trails ? trails(place) : [], options, about: state.about, suspect, joint });
  const gone = video.pictures.trouble(place);
  byId("no-picture").hidden = !gone;
  byId("no-picture").textContent = gone;
  tell(place, people, everybody, picture, gone);
  timeline.setPlace(place);
  if (state.selected && !player.isPlaying) fetchJoint(place);
}

function tell(place, people, everybody, picture, gone) {
  const { video } = state;
  const frame = video.frames[place];
  state.drawn = people;
  byId("clock").textContent = `frame ${frame}   ${time(video.seconds[place])}`;
  byId("people-count").textContent = everybody === null ? "..." : people.length === everybody.length ? `${people.length} people` : `${people.length} of ${everybody.length} people`;
  byId("late").textContent = player.dropped ? `${player.dropped} late frames left out` : "";
  byId("play").textContent = player.isPlaying ? "pause" : "play";
  Object.assign(byId("stage").dataset, {
    video: video.id,
    frame,
    people: everybody === null ? "" : people.map((one) => one.trackId).join(" "),
    picture: picture ? "shown" : gone ? "none" : "awaited",
  });
  if (!player.isPlaying) history.replaceState(null, "", `#video=${encodeURIComponent(video.id)}&frame=${frame}`);
}

// Where the feet of those in view stood in the frames before.
function trails(place) {
  const found = new Map();
  for (let before = Math.max(0, place - state.about.trail_frames + 1); before <= place; before++) {
    for (const { trackId, box: [x1, , x2, y2] } of (state.video.people(before) ?? []).filter(isShown)) {
      if (!found.has(trackId)) found.set(trackId, []);
      found.get(trackId).push([(x1 + x2) / 2, y2]);
    }
  }
  return found;
}

// Which video.

async function listVideos() {
  try {
    fillVideos(await api.videos(byId("video-filter").value), state.video?.id ?? null, (id) => open(id));
  } catch (error) {
    trouble(error);
  }
}

async function open(id, frame = null) {
  try {
    const video = await openVideo(id, state.about, (error) => (error ? trouble(error) : changed()));
    state.video?.close();
    Object.assign(state, { video, track: null, suspect: null, selected: null, joint: null });
    trouble(null);
    byId("track-filter").value = "";
    choose(byId("videos"), id);
    stage.setFrame(...video.size_px);
    player.open(video);
    for (const suspect of video.suspects ?? []) suspect.place = video.placeOf(suspect.frame);
    const kinds = [...new Set((video.suspects ?? []).map((one) => one.kind))];
    byId("suspect-kind").replaceChildren(new Option("all kinds", ""), ...kinds.map((kind) => new Option(kindOf(kind), kind)));
    listSuspects();
    listTracks();
    fillJoint(null);
    timeline.open(video, state.about, suspects, { minPose: state.minPose, track: null });
    if (video.length) player.seek(frame === null ? 0 : video.placeOf(frame));
  } catch (error) {
    trouble(error);
  }
}

// Filters.

function filter() {
  byId("min-pose-value").textContent = state.minPose.toFixed(2);
  byId("min-keypoint-value").textContent = Math.max(0, state.minKeypoint).toFixed(2);
  timeline.setFilter({ minPose: state.minPose, track: state.track });
  listTracks();
  listSuspects();
  changed();
}

function setTrack(track) {
  state.track = track;
  byId("track-filter").value = track === null ? "" : String(track);
  filter();
}

function listTracks() {
  const { video } = state;
  if (!video) return;
  const wanted = video.tracks.filter((one) => (state.track === null || one.track_id === state.track) && (one.mean_pose_score ?? 0) >= state.minPose);
  fillTracks(wanted, video.tracks.length, state.about, state.track, (one) => {
    setTrack(state.track === one.track_id ? null : one.track_id);
    if (state.track !== null && !(video.people(player.place) ?? []).some(isShown)) player.seek(video.placeOf(one.first_frame));
  });
}

// Suspects.

function suspects() {
  const kind = byId("suspect-kind").value;
  const isWanted = (one) => (!kind || one.kind === kind) && (state.track === null || state.track === one.track_id || state.track === one.other_track_id);
  const found = (state.video?.suspects ?? []).filter(isWanted);
  if (byId("suspect-order").value === "time") found.sort((a, b) => a.frame - b.frame || a.suspect - b.suspect);
  return found;
}

function listSuspects() {
  const { video } = state;
  if (video) fillSuspects(video.suspects && suspects(), video.suspects?.length, state.suspect?.suspect ?? null, jump);
}

function jump(suspect) {
  player.pause();
  state.suspect = suspect;
  if (suspect.joint) select(suspect.track_id, suspect.joint);
  else select(null);
  player.seek(suspect.place);
  choose(byId("suspects"), suspect.suspect);
}

function jumpBy(step) {
  const found = suspects();
  if (!found.length) return;
  const at = found.indexOf(state.suspect);
  jump(found[at < 0 ? (step > 0 ? 0 : found.length - 1) : (at + step + found.length) % found.length]);
}

// Keypoints.

function picked(x, y) {
  if (!state.video) return;
  const { person, joint } = stage.hit(state.video, state.drawn, state.minKeypoint, x, y);
  if (person && joint) select(person.trackId, joint);
  else if (person) setTrack(state.track === person.trackId ? null : person.trackId);
  else select(null);
}

function select(track, joint) {
  state.selected = track === null ? null : { track, joint };
  state.joint = null;
  fillJoint(state.selected, state.video.frames[player.place], null);
  changed();
}

async function fetchJoint(place) {
  const { video, selected } = state;
  if (state.joint?.place === place) return;
  state.joint = { place };
  let found;
  try {
    found = await api.joint(video.id, { frame: video.frames[place], track: selected.track, name: selected.joint });
  } catch (error) {
    found = { message: error.message };
  }
  if (state.selected !== selected || state.video !== video || player.place !== place) return;
  state.joint = { ...found, place };
  fillJoint(selected, video.frames[place], state.joint);
  changed();
}

// Keys and controls.

function second(direction) {
  const { video } = state;
  player.seek(video.placeAt(video.seconds[player.place] + direction));
}

function setSpeed(speed) {
  byId("speed").value = String(speed);
  player.setSpeed(speed);
}

const keys = {
  " ": () => player.toggle(),
  ArrowLeft: (event) => step(event.shiftKey ? -10 : -1),
  ArrowRight: (event) => step(event.shiftKey ? 10 : 1),
  PageUp: () => second(-1),
  PageDown: () => second(1),
  Home: () => player.seek(0),
  End: () => player.seek(state.video.length - 1),
  n: () => jumpBy(1),
  p: () => jumpBy(-1),
  "[": () => setSpeed(SPEEDS[Math.max(0, SPEEDS.indexOf(player.speed) - 1)]),
  "]": () => setSpeed(SPEEDS[Math.min(SPEEDS.length - 1, SPEEDS.indexOf(player.speed) + 1)]),
  Escape: () => {
    select(null);
    setTrack(null);
    stage.whole();
  },
  "?": () => byId("help").showModal(),
};

function step(by) {
  player.pause();
  player.seek(player.place + by);
}

document.addEventListener("keydown", (event) => {
  const isTyped = event.target.matches("input[type=search], select") && event.key !== "Escape";
  const action = keys[event.key];
  if (!action || isTyped || event.ctrlKey || event.altKey || event.metaKey || byId("help").open || !state.video?.length) return;
  event.preventDefault();
  if (event.target instanceof HTMLElement) event.target.blur();
  action(event);
});

byId("play").addEventListener("click", () => player.toggle());
byId("help-button").addEventListener("click", () => byId("help").showModal());
byId("speed").addEventListener("change", (event) => setSpeed(Number(event.target.value)));
byId("video-filter").addEventListener("input", listVideos);
byId("min-pose").addEventListener("input", (event) => {
  state.minPose = Number(event.target.value);
  filter();
});
byId("min-keypoint").addEventListener("input", (event) => {
  state.minKeypoint = Number(event.target.value) || -Infinity; // refined responses may lie below 0
  filter();
});
byId("track-filter").addEventListener("input", (event) => {
  const text = event.target.value.trim();
  state.track = /^\d+$/.test(text) ? Number(text) : null;
  filter();
});
for (const name of ["boxes", "ids", "trails", "skeletons"]) byId(name).addEventListener("change", changed);
for (const name of ["suspect-kind", "suspect-order"]) {
  byId(name).addEventListener("change", () => {
    listSuspects();
    timeline.draw();
  });
}

async function start() {
  try {
    state.about = await api.results();
    byId("root").textContent = state.about.root + (state.about.run ? `@${state.about.run}` : "");
    byId("min-keypoint").value = state.minKeypoint = state.about.min_keypoint_score;
    filter();
    await listVideos();
    const asked = new URLSearchParams(location.hash.slice(1));
    const first = asked.get("video") ?? byId("videos").querySelector("button")?.dataset.key;
    if (first) await open(first, asked.has("frame") ? Number(asked.get("frame")) : null);
  } catch (error) {
    trouble(error);
  }
}

start();
