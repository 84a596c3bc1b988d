// The requests that were sent from this browser, kept in it, apart for each key.

import { byId, element } from "./element.js";

const MOST = 40;
const PICTURES = 12;

/** States as the list shows them. */
const STATES = {
  IN_QUEUE: "Queued",
  IN_PROGRESS: "Running",
  COMPLETED: "Done",
  FAILED: "Failed",
  CANCELLED: "Cancelled",
};

/** Whether a kept request may still change. */
export function isOpen(entry) {
  return entry.state === "IN_QUEUE" || entry.state === "IN_PROGRESS";
}

/** The list. `onSelect` gets an entry, `onForget` one that was taken off the list. */
export class History {
  constructor(key, { onSelect, onForget }) {
    this.place = `cogreel.requests.${nameOf(key)}`;
    this.onSelect = onSelect;
    this.onForget = onForget;
    this.selected = null;
    this.rows = new Map();
    this.entries = read(this.place);
    this.#showAll();
  }

  find(id) {
    return this.entries.find((entry) => entry.id === id);
  }

  add(entry) {
    this.entries = [entry, ...this.entries.filter((other) => other.id !== entry.id)].slice(0, MOST);
    this.#write();
    this.#showAll();
  }

  /** Note what has become of an entry. */
  update(id, changes) {
    const entry = this.find(id);
    if (entry === undefined || Object.entries(changes).every(([name, value]) => entry[name] === value)) return;
    Object.assign(entry, changes);
    this.#write();
    this.rows.get(id)?.replaceWith(this.#row(entry, this.entries.indexOf(entry)));
  }

  forget(id) {
    const entry = this.find(id);
    this.entries = this.entries.filter((other) => other !== entry);
    this.#write();
    this.#showAll();
    if (entry !== undefined) this.onForget(entry);
  }

  select(id) {
    this.selected = id;
    for (const [known, row] of this.rows) mark(row, known === id);
  }

  #write() {
    try {
      localStorage.setItem(this.place, JSON.stringify(this.entries));
    } catch {
      // A full or closed store loses the list at the next reload, and nothing else.
    }
  }

  #showAll() {
    this.rows.clear();
    byId("history").replaceChildren(...this.entries.map((entry, place) => this.#row(entry, place)));
    byId("history-empty").hidden = this.entries.length > 0;
  }

  #row(entry, place) {
    const prompt = entry.input.prompt ?? "";
    const thumb = element("span", { class: "thumb", "aria-hidden": "true" });
    if (entry.url && place < PICTURES) {
      const picture = element("video", { preload: "metadata", playsinline: true, tabindex: "-1" });
      picture.muted = true;
      picture.addEventListener("error", () => picture.remove());
      picture.src = `${entry.url}#t=0.3`;
      thumb.append(picture);
    }
    const when = new Date(entry.created).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
    const facts = element("span", { class: "meta" }, element("b", { class: "state" }, STATES[entry.state]), ` · ${when}`);
    const words = element("span", { class: "words" }, element("span", { class: "prompt" }, prompt), facts);
    const open = element("button", { type: "button", class: "open", onclick: () => this.onSelect(entry) }, thumb, words);
    const forget = element("button", { type: "button", class: "forget", onclick: () => this.#forgetRow(entry) }, "×");
    forget.setAttribute("aria-label", `Take off the list: ${prompt}`);
    const row = element("li", { "data-state": entry.state, "data-id": entry.id }, open, forget);
    mark(row, entry.id === this.selected);
    this.rows.set(entry.id, row);
    return row;
  }

  #forgetRow(entry) {
    const place = this.entries.indexOf(entry);
    this.forget(entry.id);
    const next = this.entries[Math.min(place, this.entries.length - 1)];
    (next === undefined ? byId("endpoint") : this.rows.get(next.id).querySelector(".forget"))?.focus();
  }
}

function mark(row, isSelected) {
  const open = row.querySelector(".open");
  if (isSelected) open.setAttribute("aria-current", "true");
  else open.removeAttribute("aria-current");
}

function read(place) {
  try {
    const entries = JSON.parse(localStorage.getItem(place) ?? "[]");
    return entries.filter((entry) => entry.id && entry.endpoint && entry.input && STATES[entry.state]);
  } catch {
    return [];
  }
}

// Names the list of a key without telling the key. Two keys that met would share a list, where the service still says
// whose requests are whose.
function nameOf(key) {
  let hash = 0x811c9dc5; // FNV-1a
  for (const unit of new TextEncoder().encode(key)) hash = Math.imul(hash ^ unit, 0x01000193) >>> 0;
  return hash.toString(16);
}
