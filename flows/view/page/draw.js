// A frame with its people, as `tkm render` draws them: coordinates are pixels of the video, line widths follow its size.

const OUTLINE = "#101010";
const LEFT = "#ffffff";

export const colourOf = (about, track) => about.colours[track % about.colours.length];

// scene: canvas context, in pixels of the video, and `scale`, canvas pixels each of them takes.
export function drawPeople(scene, video, people, trails, options, about) {
  const { context, scale } = scene;
  const short = Math.min(...video.size_px);
  const limb = Math.max(1.5 / scale, short / 240);
  context.lineJoin = context.lineCap = "round";
  if (options.trails) for (const [track, points] of trails) drawTrail(context, points, colourOf(about, track), limb * 0.7);
  // Far people first, so that near ones, whose feet stand lower in the frame, come out whole.
  for (const person of [...people].sort((a, b) => a.box[3] - b.box[3])) {
    const colour = colourOf(about, person.trackId);
    if (options.boxes) {
      context.strokeStyle = colour;
      context.lineWidth = Math.max(1 / scale, limb / 3);
      const [x1, y1, x2, y2] = person.box;
      context.strokeRect(x1, y1, x2 - x1, y2 - y1);
    }
    if (options.skeletons) drawSkeleton(context, video, person, colour, limb, scale, options.minKeypoint);
  }
  if (options.ids) for (const person of people) drawId(context, person, colourOf(about, person.trackId), scale);
}

function drawTrail(context, points, colour, width) {
  if (points.length < 2) return;
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.globalAlpha = 0.75;
  context.beginPath();
  points.forEach(([x, y], n) => (n ? context.lineTo(x, y) : context.moveTo(x, y)));
  context.stroke();
  context.globalAlpha = 1;
}

function drawSkeleton(context, video, person, colour, limbOfFrame, scale, minScore) {
  const { keypoints, limbs } = video.skeleton;
  const height = person.box[3] - person.box[1];
  const limb = Math.max(1.2 / scale, Math.min(limbOfFrame, height / 60)); // thin enough for a small person's face
  const rim = limb / 3;
  const joints = keypoints.map((_, k) => person.joint(k)).map((one) => (one[2] >= minScore ? one : null));
  for (const [stroke, width] of [[OUTLINE, limb + 2 * rim], [colour, limb]]) {
    context.strokeStyle = stroke;
    context.lineWidth = width;
    context.beginPath();
    for (const [a, b] of limbs) {
      if (!joints[a] || !joints[b]) continue;
      context.moveTo(joints[a][0], joints[a][1]);
      context.lineTo(joints[b][0], joints[b][1]);
    }
    context.stroke();
  }
  joints.forEach((joint, k) => {
    if (!joint) return;
    disc(context, joint[0], joint[1], limb + rim, colour);
    disc(context, joint[0], joint[1], Math.max(limb - rim, 0.5 / scale), keypoints[k].startsWith("right_") ? OUTLINE : LEFT);
  });
}

function disc(context, x, y, radius, colour) {
  context.fillStyle = colour;
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fill();
}

function drawId(context, person, colour, scale) {
  const size = 13 / scale;
  context.font = `600 ${size}px system-ui, "DejaVu Sans", sans-serif`;
  const text = String(person.trackId);
  const width = context.measureText(text).width + 0.7 * size;
  const x = person.box[0];
  const y = Math.max(person.box[1] - 1.3 * size, 0);
  context.fillStyle = colour;
  context.fillRect(x, y, width, 1.3 * size);
  context.fillStyle = OUTLINE;
  context.textBaseline = "middle";
  context.fillText(text, x + 0.35 * size, y + 0.68 * size);
}

// The place that a suspect is about.
export function drawSuspect({ context, scale }, suspect) {
  for (const [width, colour] of [[5, OUTLINE], [2.5, "#ff9340"]]) {
    context.strokeStyle = colour;
    context.lineWidth = width / scale;
    context.beginPath();
    context.arc(suspect.x, suspect.y, 22 / scale, 0, 2 * Math.PI);
    context.stroke();
  }
}

// Candidates, the larger the higher their response; the network's place, and the one that refinement took.
export function drawJoint({ context, scale }, found) {
  const most = Math.max(...found.candidates.map((one) => one.response), 1e-6);
  context.font = `${11 / scale}px system-ui, "DejaVu Sans", sans-serif`;
  context.textBaseline = "middle";
  found.candidates.forEach((one, n) => {
    const radius = (3 + 7 * Math.max(0, one.response / most)) / scale;
    context.fillStyle = "#40b4ff55";
    context.strokeStyle = "#9fd8ff";
    context.lineWidth = 1.2 / scale;
    context.beginPath();
    context.arc(one.x, one.y, radius, 0, 2 * Math.PI);
    context.fill();
    context.stroke();
    label(context, String(n + 1), one.x + radius + 2 / scale, one.y, scale, "#d8efff");
  });
  if (found.initial) mark(context, found.initial[0], found.initial[1], scale, "#ffcc33", "initial");
  if (found.refined) mark(context, found.refined.x, found.refined.y, scale, "#5fe070", "refined");
}

function mark(context, x, y, scale, colour, kind) {
  const reach = (kind === "initial" ? 8 : 11) / scale;
  for (const [width, stroke] of [[4, OUTLINE], [2, colour]]) {
    context.strokeStyle = stroke;
    context.lineWidth = width / scale;
    context.beginPath();
    if (kind === "initial") context.rect(x - reach, y - reach, 2 * reach, 2 * reach);
    else for (const [dx, dy] of [[1, 0], [0, 1]]) {
      context.moveTo(x - dx * reach, y - dy * reach);
      context.lineTo(x + dx * reach, y + dy * reach);
    }
    context.stroke();
  }
}

function label(context, text, x, y, scale, colour) {
  context.strokeStyle = OUTLINE;
  context.lineWidth = 3 / scale;
  context.strokeText(text, x, y);
  context.fillStyle = colour;
  context.fillText(text, x, y);
}
