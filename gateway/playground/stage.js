// The stage: where a request stands, and its video in the end.

import { byId, element, show } from "./element.js";

const STAGES = ["queue", "prepare", "denoise", "decode", "interpolate", "encode", "upload"];
const DOING = {
  prepare: "Preparing",
  denoise: "Denoising",
  decode: "Decoding",
  interpolate: "Interpolating",
  encode: "Encoding",
  upload: "Storing",
};
const MOST_CELLS = 60;
const video = byId("video");
const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");

let ticking = null;
let announced = "";

/** Nothing is selected. */
export function showIdle() {
  settle("idle", "Nothing playing yet", "Describe a scene below, and watch it being made here.");
}

/** The request is on its way to the gateway, or its status is. */
export function showWaiting(headline) {
  settle("waiting", headline, "");
}

/** A status of the stream. `entry` says since when there is the request. */
export function showStatus(status, entry) {
  if (status.status === "IN_QUEUE") {
    const before = status.queue_position ?? 0;
    const subline = before === 0 ? "Next in line" : `${before} ${before === 1 ? "request" : "requests"} before it`;
    settle("queued", "In the queue", subline);
    showRail("queue");
    keepTime((now) => (byId("facts").textContent = `${seconds((now - entry.created) / 1000)} since it was sent`));
    show({ beneath: true, cancel: true });
    announce(`In the queue. ${subline}.`);
    return;
  }
  const { stage = "prepare", step = 0, total = 0, eta = null } = status.progress ?? {};
  const doing = DOING[stage] ?? "Working";
  const counted = total > 1 ? `${step} of ${total}` : "";
  settle("running", doing, counted);
  showRail(stage);
  showReel(doing, step, total);
  const told = Date.now();
  keepTime((now) => {
    const left = eta === null ? null : Math.max(0, eta - (now - told) / 1000);
    const remaining = left === null ? "" : left < 1 ? "almost there · " : `about ${seconds(left)} left · `;
    byId("facts").textContent = `${remaining}${seconds((now - entry.created) / 1000)} so far`;
  });
  show({ beneath: true, cancel: true });
  const quarter = total > 3 ? Math.floor((4 * step) / total) * 25 : 0;
  announce(quarter ? `${doing}, ${quarter} percent.` : `${doing}.`);
}

/** The connection is lost for the moment. */
export function showLost(message) {
  byId("facts").textContent = `${message} Trying again …`;
  stopTime();
  announce(`${message} Trying again.`);
}

/** The video. `fallback` gives another URL for it if the browser cannot play this one. */
export function showVideo(result, fallback) {
  settle("done", "", "");
  show({ resting: false, video: true, beneath: true, reuse: true, download: true });
  let other = fallback;
  video.onerror = async () => {
    if (other === null) return;
    const ask = other;
    other = null;
    const url = await ask().catch(() => null);
    if (url !== null && byId("stage").dataset.kind === "done") video.src = url;
  };
  video.setAttribute("aria-label", `Video: ${result.prompt}`);
  video.autoplay = !reducedMotion.matches;
  video.src = result.video.url;
  showRail("done", result.timings);
  const total = result.timings.total ?? result.timings.inference;
  const size = `${(result.video.file_size / 1e6).toFixed(result.video.file_size < 1e5 ? 2 : 1)} MB`;
  byId("facts").textContent = `made in ${seconds(total, 1)} · seed ${result.seed} · ${size}`;
  announce("The video is ready.");
}

/** The request has come to nothing: `kind` is failed, cancelled or gone. `id` is what an operator would ask for. */
export function showEnd(kind, headline, detail, id) {
  settle(kind, headline, detail);
  show({ beneath: true, reuse: kind !== "gone" });
  byId("facts").textContent = `request ${id}`;
  announce(`${headline}. ${detail}`);
}

/** The shape of the video to come: width divided by height. */
export function shapeScreen(ratio) {
  byId("screen").style.setProperty("--ratio", ratio);
}

function settle(kind, headline, subline) {
  const stage = byId("stage");
  const before = stage.dataset.kind;
  stage.dataset.kind = kind;
  byId("headline").textContent = headline;
  byId("subline").textContent = subline;
  stopTime();
  show({
    resting: true,
    reel: kind === "running",
    video: false,
    rail: false,
    beneath: false,
    cancel: false,
    reuse: false,
    download: false,
  });
  if (before === "done" || kind === "done") {
    video.onerror = null;
    video.removeAttribute("src");
    video.load();
  }
}

function showRail(at, timings = {}) {
  const reached = at === "done" ? STAGES.length : STAGES.indexOf(at);
  const items = STAGES.map((stage, place) => {
    const state = place < reached ? "past" : place === reached ? "now" : "to-come";
    const skipped = at === "done" && timings[stage] === undefined;
    const taken = at === "done" && !skipped ? seconds(timings[stage], 1) : null;
    const attributes = { "data-state": skipped ? "skipped" : state, "aria-current": state === "now" ? "step" : null };
    return element("li", attributes, element("span", {}, stage), taken && element("b", {}, taken));
  });
  byId("rail").replaceChildren(...items);
  show({ rail: true });
}

function showReel(doing, step, total) {
  const reel = byId("reel");
  const count = Math.min(total, MOST_CELLS);
  if (reel.children.length !== count) {
    reel.replaceChildren(...Array.from({ length: count }, () => element("i")));
    reel.style.setProperty("--cells", count);
  }
  const filled = total ? Math.floor((step / total) * count) : 0;
  [...reel.children].forEach((cell, place) => {
    cell.className = place < filled ? "full" : place === filled ? "next" : "";
  });
  if (total) {
    reel.setAttribute("aria-valuenow", step);
    reel.setAttribute("aria-valuemax", total);
  } else {
    reel.removeAttribute("aria-valuenow");
    reel.removeAttribute("aria-valuemax");
  }
  reel.setAttribute("aria-valuetext", total ? `${doing}, ${step} of ${total}` : doing);
}

function keepTime(tell) {
  stopTime();
  tell(Date.now());
  ticking = setInterval(() => tell(Date.now()), 1000);
}

function stopTime() {
  clearInterval(ticking);
}

/** Have screen readers say something, once. */
export function announce(text) {
  if (text === announced) return;
  announced = text;
  byId("announcement").textContent = text;
}

function seconds(value, digits = 0) {
  if (value < 90) return `${value.toFixed(digits)} s`;
  const minutes = Math.floor(value / 60);
  return minutes < 90 ? `${minutes} min ${Math.floor(value % 60)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
