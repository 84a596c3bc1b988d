// The page: brings together the form, the stage, the list of requests and the code.

import { listenForCode, showCode } from "./code.js";
import { byId, element } from "./element.js";
import { InputForm } from "./form.js";
import { History, isOpen } from "./history.js";
import { askForKey, keptKey, listenForKey, messageFor, tryKey } from "./key.js";
import { endpointsOf, ratioOfPreset } from "./schema.js";
import * as stage from "./stage.js";
import { watch } from "./watching.js";

const LOOK_MS = 5000;

let gateway = null;
let endpoints = [];
let form = null;
let history = null;
let selected = null; // { entry, leave } of the request on the stage
let sending = false;
let unsure = null; // a submission of which nobody knows whether it has arrived
let videoUrl = null;

function begin({ gateway: caller, description }) {
  gateway = caller;
  endpoints = endpointsOf(description);
  const chooser = byId("endpoint");
  chooser.replaceChildren(...endpoints.map(({ endpoint }) => element("option", { value: endpoint }, endpoint)));
  chooser.disabled = endpoints.length === 0;
  if (endpoints.length === 0) {
    chooser.append(element("option", {}, "No endpoint yet"));
    byId("form-error").textContent = "This service has no endpoint yet: no worker has announced a model.";
    byId("generate").disabled = true;
    return;
  }
  leaveStage();
  history = new History(gateway.key, { onSelect: select, onForget: forgotten });
  const named = history.find(location.hash.slice(1));
  const entry = named ?? history.entries.find(isOpen);
  chooseEndpoint(entry?.endpoint ?? kept()?.endpoint ?? endpoints[0].endpoint);
  form.fill(entry?.input ?? (kept()?.endpoint === byId("endpoint").value ? kept().input : {}));
  changed();
  if (entry !== undefined) select(entry);
  else stage.showIdle();
}

async function start() {
  const key = keptKey();
  if (key === "") {
    askForKey();
    return;
  }
  try {
    begin(await tryKey(key));
  } catch (error) {
    askForKey(messageFor(error));
  }
}

function chooseEndpoint(name) {
  const found = endpoints.find(({ endpoint }) => endpoint === name) ?? endpoints[0];
  byId("endpoint").value = found.endpoint;
  form = new InputForm(found.schema, () => gateway, changed);
}

function changed() {
  if (form === null) return;
  const endpoint = byId("endpoint").value;
  const input = form.input();
  showCode(endpoint, input);
  keep({ endpoint, input });
  byId("generate").disabled = sending || form.busy;
  if (selected === null) stage.shapeScreen(ratioOf(endpoint, input));
}

async function submit(event) {
  event?.preventDefault();
  if (form === null || sending || form.busy) return;
  const endpoint = byId("endpoint").value;
  const input = form.input();
  form.clearProblems();
  const body = JSON.stringify([endpoint, input]);
  if (unsure?.body !== body) unsure = { body, key: randomKey() };
  setSending(true);
  try {
    const { request_id: id } = await gateway.submit(endpoint, input, unsure.key);
    unsure = null;
    const entry = { id, endpoint, input, created: Date.now(), state: "IN_QUEUE" };
    history.add(entry);
    select(entry);
    byId("stage").scrollIntoView({ block: "nearest" });
  } catch (error) {
    if (error.status > 0) unsure = null;
    if (error.status === 401) askForKey(messageFor(error));
    else if (error.problems?.length) form.showProblems(error.problems);
    else byId("form-error").textContent = error.message;
  } finally {
    setSending(false);
  }
}

function setSending(now) {
  sending = now;
  byId("generate").textContent = now ? "Sending …" : "Generate";
  byId("generate").disabled = now || form.busy;
}

/** Put a request on the stage and follow it. */
async function select(entry) {
  leaveStage();
  const leave = new AbortController();
  selected = { entry, leave };
  history.select(entry.id);
  window.history.replaceState(null, "", `#${entry.id}`);
  stage.shapeScreen(ratioOf(entry.endpoint, entry.input));
  stage.showWaiting("Asking where it stands");
  showLines([], true);
  try {
    const on = {
      status: (status, lines) => {
        if (leave.signal.aborted) return;
        showLines(lines, false);
        if (status.status === "COMPLETED") return;
        stage.showStatus(status, entry);
        history.update(entry.id, { state: status.status });
      },
      lost: (error) => leave.signal.aborted || stage.showLost(error.message),
    };
    const last = await watch(gateway, entry, on, leave.signal);
    if (last !== null) await showEnd(entry, last, leave.signal);
  } catch (error) {
    if (!leave.signal.aborted) explain(entry, error);
  }
}

async function showEnd(entry, status, signal) {
  const changes = stateOf(status);
  if (changes.state !== "COMPLETED") {
    history.update(entry.id, changes);
    if (changes.state === "CANCELLED") {
      stage.showEnd("cancelled", "Cancelled", "Nothing more is made of it.", entry.id);
    } else {
      stage.showEnd("failed", "It failed", status.error, entry.id);
      byId("log-card").open = true;
    }
    return;
  }
  const result = await gateway.result(entry);
  if (signal.aborted) return;
  history.update(entry.id, { ...changes, url: result.video.url });
  stage.showVideo(result, () => ownVideo(entry));
}

function stateOf(status) {
  if (status.status !== "COMPLETED" || !status.error) return { state: status.status };
  return { state: status.error_type === "client_cancelled" ? "CANCELLED" : "FAILED" };
}

function explain(entry, error) {
  if (error.status === 401) askForKey(messageFor(error));
  if (error.status === 404) stage.showEnd("gone", "No longer there", "The service does not keep this request any more.", entry.id);
  else stage.showEnd("failed", "This request cannot be followed", error.message, entry.id);
}

async function cancel() {
  const { entry } = selected;
  byId("cancel").disabled = true;
  try {
    await gateway.cancel(entry);
    stage.announce("Cancelling.");
  } catch (error) {
    if (error.status !== 400) stage.showLost(error.message); // 400: it has just ended, which the stream tells
  } finally {
    byId("cancel").disabled = false;
  }
}

/** A URL of the video's content in this page. */
async function ownVideo(entry) {
  const content = await gateway.video(entry);
  if (videoUrl !== null) URL.revokeObjectURL(videoUrl);
  videoUrl = URL.createObjectURL(content);
  return videoUrl;
}

async function download() {
  const { entry } = selected;
  byId("download").disabled = true;
  try {
    const url = await ownVideo(entry);
    element("a", { href: url, download: `${entry.id}.mp4` }).click();
  } catch (error) {
    byId("facts").textContent = error.message;
  } finally {
    byId("download").disabled = false;
  }
}

function reuse() {
  const { entry } = selected;
  if (!endpoints.some(({ endpoint }) => endpoint === entry.endpoint)) return;
  chooseEndpoint(entry.endpoint);
  form.fill(entry.input);
  changed();
  byId("field-prompt").focus();
}

function leaveStage() {
  selected?.leave.abort();
  selected = null;
}

function forgotten(entry) {
  if (selected?.entry.id !== entry.id) return;
  leaveStage();
  window.history.replaceState(null, "", " ");
  stage.showIdle();
  showLines([], true);
}

function showLines(lines, fresh) {
  const log = byId("log");
  if (fresh) log.replaceChildren(element("p", { class: "hint" }, "No lines yet."));
  if (lines.length && log.querySelector(".hint")) log.replaceChildren();
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  for (const { timestamp, level, message } of lines) {
    const time = new Date(timestamp).toLocaleTimeString([], { hour12: false });
    log.append(element("p", { "data-level": level }, element("time", { datetime: timestamp }, time), ` ${message}`));
  }
  if (atEnd) log.scrollTop = log.scrollHeight;
  byId("log-count").textContent = log.querySelectorAll("time").length || "";
}

/** Ask after the open requests that are not on the stage. */
async function lookAtOthers() {
  if (history === null || document.hidden) return;
  for (const entry of history.entries.filter((found) => isOpen(found) && found !== selected?.entry)) {
    try {
      history.update(entry.id, stateOf(await gateway.status(entry)));
    } catch (error) {
      if (error.status === 404) history.update(entry.id, { state: "FAILED" });
    }
  }
}

function ratioOf(endpoint, input) {
  const properties = endpoints.find((found) => found.endpoint === endpoint)?.schema.properties;
  const size = input.video_size ?? properties?.video_size?.default;
  if (typeof size === "string") return ratioOfPreset(size);
  return size?.width > 0 && size?.height > 0 ? size.width / size.height : 1.5;
}

function kept() {
  try {
    return JSON.parse(localStorage.getItem("cogreel.draft"));
  } catch {
    return null;
  }
}

function keep(draft) {
  try {
    localStorage.setItem("cogreel.draft", JSON.stringify(draft));
  } catch {
    // A draft that is too large is kept until the page is left, and no longer.
  }
}

function randomKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

listenForKey({
  onAccepted: begin,
  onForgotten: () => location.reload(),
});
listenForCode();
byId("form").addEventListener("submit", submit);
byId("form").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) submit(event);
});
byId("endpoint").addEventListener("change", () => {
  const input = form.input();
  chooseEndpoint(byId("endpoint").value);
  form.fill(input);
  changed();
});
byId("reset").addEventListener("click", () => {
  form?.reset();
  changed();
});
byId("cancel").addEventListener("click", cancel);
byId("reuse").addEventListener("click", reuse);
byId("download").addEventListener("click", download);
if (matchMedia("(max-width: 959px)").matches) byId("settings").open = false;
setInterval(lookAtOthers, LOOK_MS);
start();
