// What the server tells. Numbers that are many come as they lie in memory, not as JSON.

export class ServerError extends Error {}

async function ask(path) {
  let answer;
  try {
    answer = await fetch(path);
  } catch {
    throw new ServerError("the server does not answer: is `tkm view` still running?");
  }
  if (answer.ok) return answer;
  let detail = answer.statusText;
  try {
    detail = (await answer.json()).detail;
  } catch { /* no JSON: the status says it */ }
  const error = new ServerError(typeof detail === "string" ? detail : "the server refuses what this page asks for");
  error.status = answer.status;
  throw error;
}

const json = async (path) => (await ask(path)).json();
const of = (video) => `/api/videos/${encodeURIComponent(video)}`;
const query = (values) => new URLSearchParams(Object.entries(values).filter(([, value]) => value !== null)).toString();

export const results = () => json("/api/results");
export const videos = (text) => json(`/api/videos?${query({ text })}`);
export const opened = (video) => json(of(video));
export const times = async (video) => new Float64Array(await (await ask(`${of(video)}/times`)).arrayBuffer());
export const people = async (video, start, stop) =>
  new Float32Array(await (await ask(`${of(video)}/people?${query({ start, stop })}`)).arrayBuffer());
export const timeline = (video, range) => json(`${of(video)}/timeline?${query(range)}`);
export const joint = (video, which) => json(`${of(video)}/joint?${query(which)}`);
export const picture = async (video, frame, width) =>
  createImageBitmap(await (await ask(`${of(video)}/frames/${frame}.jpg?${query({ width })}`)).blob());
