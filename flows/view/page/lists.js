// Lists of videos, tracks and suspects. Names and messages come from files of strangers: they are text, never HTML.

import { colourOf } from "./draw.js";

const ROWS = 300; // of a list; more are told by their number

export function element(tag, { text, className, data, ...rest } = {}, ...children) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  Object.assign(made.dataset, data);
  for (const [name, value] of Object.entries(rest)) made[name] = value;
  made.append(...children);
  return made;
}

export const byId = (id) => document.getElementById(id);

export function time(seconds) {
  const [hours, minutes, rest] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, (seconds % 60).toFixed(2)];
  return `${hours ? `${hours}:` : ""}${String(minutes).padStart(hours ? 2 : 1, "0")}:${rest.padStart(5, "0")}`;
}

function fill(list, items, row, chosen, others = items.length) {
  list.replaceChildren(...items.slice(0, ROWS).map((item) => element("li", {}, row(item))));
  if (others > Math.min(items.length, ROWS)) {
    const more = others - Math.min(items.length, ROWS);
    list.append(element("li", { className: "more", text: `and ${more} more` }));
  }
  choose(list, chosen);
}

// Marks the row whose button has this key.
export function choose(list, key) {
  for (const button of list.querySelectorAll("button")) {
    const isChosen = key !== null && button.dataset.key === String(key);
    if (isChosen) {
      button.setAttribute("aria-current", "true");
      button.scrollIntoView({ block: "nearest" });
    } else button.removeAttribute("aria-current");
  }
}

export function fillVideos({ shown, found, videos }, chosen, open) {
  const all = `${videos} video${videos === 1 ? "" : "s"}`;
  byId("video-count").textContent = found === videos ? all : `${found} of ${all}`;
  const row = (one) => {
    const button = element("button", { type: "button", title: one.uri, data: { key: one.video } }, element("span", { text: one.name }));
    const suspects = one.suspects ? `, ${one.suspects} suspects` : "";
    button.append(element("span", { className: "quiet", text: `${one.frames} frames, ${one.tracks} tracks${suspects}` }));
    button.addEventListener("click", () => open(one.video));
    return button;
  };
  fill(byId("videos"), shown, row, chosen, found);
}

export function fillTracks(tracks, total, about, chosen, pick) {
  byId("track-count").textContent = tracks.length === total ? `${total}` : `${tracks.length} of ${total}`;
  const row = (one) => {
    const dot = element("span", { className: "dot" });
    dot.style.background = colourOf(about, one.track_id);
    const span = `${time(one.first_pts_ns / 1e9)} to ${time(one.last_pts_ns / 1e9)}`;
    const score = one.mean_pose_score === null ? "" : `, score ${one.mean_pose_score.toFixed(2)}`;
    const button = element("button", { type: "button", data: { key: one.track_id, poses: one.poses } }, dot, `track ${one.track_id}`);
    button.append(element("span", { className: "quiet", text: `${span}, ${one.poses} poses${score}` }));
    button.addEventListener("click", () => pick(one));
    return button;
  };
  fill(byId("tracks"), tracks, row, chosen);
}

const KINDS = { switch: "identity switch", joint_speed: "joint too fast", limb_length: "limb too long" };
export const kindOf = (kind) => KINDS[kind] ?? kind;

export function fillSuspects(suspects, total, chosen, pick) {
  const isKnown = suspects !== null;
  byId("suspect-count").textContent = !isKnown ? "not looked for" : suspects.length === total ? `${total}` : `${suspects.length} of ${total}`;
  const row = (one) => {
    const button = element("button", { type: "button", data: { key: one.suspect, frame: one.frame, kind: one.kind } });
    button.append(element("span", { className: "severity", text: `${one.severity?.toFixed(1) ?? "?"} ×` }), kindOf(one.kind));
    const other = one.other_track_id === null ? "" : ` and ${one.other_track_id}`;
    const joint = one.joint === null ? "" : `, ${one.joint.replaceAll("_", " ")}`;
    const what = `track ${one.track_id}${other}${joint}, ${time(one.pts_ns / 1e9)}, frame ${one.frame}`;
    button.append(element("span", { className: "quiet", text: what }));
    button.addEventListener("click", () => pick(one));
    return button;
  };
  fill(byId("suspects"), suspects ?? [], row, chosen);
}

export function fillJoint(selected, frame, found) {
  byId("joint").hidden = !selected;
  if (!selected) return;
  byId("joint-title").textContent = `${selected.joint.replaceAll("_", " ")} of track ${selected.track}, frame ${frame}`;
  const point = (x, y, score) => `${x.toFixed(1)}, ${y.toFixed(1)} (${score?.toFixed(3) ?? "?"})`;
  const places = byId("joint-places");
  const body = byId("candidates");
  byId("joint-notes").replaceChildren(...(found?.notes ?? []).map((text) => element("li", { text })));
  if (!found || found.notes === undefined) {
    places.replaceChildren(element("div", { className: "quiet", text: found?.message ?? "..." }));
    body.replaceChildren();
    return;
  }
  const line = (name, text, key) => element("div", { data: { place: key } }, element("span", { className: "quiet", text: `${name} ` }), text);
  places.replaceChildren(
    ...(found.initial ? [line("network ▢", point(...found.initial), "initial")] : []),
    ...(found.refined ? [line("refined ✚", point(found.refined.x, found.refined.y, found.refined.score), "refined")] : []),
    ...(found.published[0] === null ? [] : [line("published", point(...found.published), "published")]),
    ...(found.counterparts === null ? [] : [line("support of", `${found.counterparts} poses in other frames`, "counterparts")]),
  );
  const cell = (value) => element("td", { text: value === null || value === undefined ? "–" : value.toFixed(3) });
  const rows = found.candidates.map((one, n) => {
    const row = element("tr", { data: { candidate: n + 1, x: one.x, y: one.y, response: one.response } });
    if (found.refined?.place === n + 1) row.className = "taken";
    row.append(element("td", { text: String(n + 1) }), cell(one.response), cell(one.weighted), cell(one.refined));
    return row;
  });
  if (found.own_refined !== null) {
    const own = element("tr", { className: found.refined?.place === 0 ? "own taken" : "own" }, element("td", { text: "network" }));
    own.append(cell(null), cell(null), cell(found.own_refined));
    rows.unshift(own);
  }
  body.replaceChildren(...rows);
}
