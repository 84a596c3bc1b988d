// The panel that shows a request as code.

import { byId, element } from "./element.js";
import { origin } from "./gateway.js";
import { LANGUAGES, grpcAddress } from "./snippets.js";

const PLACE = "cogreel.language";
const tabs = new Map();
let chosen = LANGUAGES.find(({ id }) => id === localStorage.getItem(PLACE)) ?? LANGUAGES[0];
let shown = null;

/** Have the panel work. */
export function listenForCode() {
  for (const language of LANGUAGES) {
    const attributes = { type: "button", role: "tab", id: `tab-${language.id}`, "aria-controls": "code-panel" };
    const tab = element("button", { ...attributes, onclick: () => choose(language) }, language.name);
    tabs.set(language, tab);
    byId("code-tabs").append(tab);
  }
  byId("code-tabs").addEventListener("keydown", (event) => {
    const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (move === undefined) return;
    event.preventDefault();
    choose(LANGUAGES[(LANGUAGES.indexOf(chosen) + move + LANGUAGES.length) % LANGUAGES.length]);
    tabs.get(chosen).focus();
  });
  byId("copy").addEventListener("click", copy);
  choose(chosen);
}

/** Show a request as code. */
export function showCode(endpoint, input) {
  shown = { endpoint, input };
  write();
}

function choose(language) {
  chosen = language;
  localStorage.setItem(PLACE, language.id);
  for (const [known, tab] of tabs) {
    tab.setAttribute("aria-selected", known === language);
    tab.tabIndex = known === language ? 0 : -1;
  }
  byId("code-panel").setAttribute("aria-labelledby", `tab-${language.id}`);
  write();
}

function write() {
  if (shown === null) return;
  const meta = (name) => document.querySelector(`meta[name="${name}"]`).content;
  const grpc = grpcAddress(location.hostname, meta);
  byId("code").textContent = chosen.write({ ...shown, origin: origin(), grpc });
}

async function copy() {
  const button = byId("copy");
  try {
    await toClipboard(byId("code").textContent);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Select it and copy";
  }
  setTimeout(() => (button.textContent = "Copy"), 2000);
}

async function toClipboard(text) {
  if (navigator.clipboard !== undefined) {
    await navigator.clipboard.writeText(text);
    return;
  }
  // Pages that came by plain HTTP from another machine have no clipboard but this old one.
  getSelection().selectAllChildren(byId("code"));
  const copied = document.execCommand("copy");
  if (!copied) throw new Error("not copied");
}
