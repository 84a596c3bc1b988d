// The API key: asked for once, kept in the browser, taken only if the service knows it.

import { byId } from "./element.js";
import { Gateway } from "./gateway.js";

const PLACE = "cogreel.key";
const dialog = byId("key-dialog");
const input = byId("key");

/** The key that is kept, or an empty string. */
export function keptKey() {
  return localStorage.getItem(PLACE) ?? "";
}

/** Ask for the key; `message` says what was wrong with the last one. */
export function askForKey(message = "") {
  setError(message);
  byId("key-forget").hidden = keptKey() === "";
  if (!dialog.open) dialog.showModal();
  input.focus();
}

/** Have the dialog work. `onAccepted` gets the caller and the document that describes the endpoints. */
export function listenForKey({ onAccepted, onForgotten }) {
  byId("key-button").addEventListener("click", () => askForKey());
  byId("key-close").addEventListener("click", () => dialog.close());
  byId("key-forget").addEventListener("click", () => {
    localStorage.removeItem(PLACE);
    input.value = "";
    dialog.close();
    onForgotten();
  });
  byId("key-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const key = input.value.trim();
    if (key === "") {
      askForKey("Enter a key.");
      return;
    }
    byId("key-save").disabled = true;
    try {
      const accepted = await tryKey(key);
      localStorage.setItem(PLACE, key);
      input.value = "";
      dialog.close();
      onAccepted(accepted);
    } catch (error) {
      askForKey(messageFor(error));
    } finally {
      byId("key-save").disabled = false;
    }
  });
}

/** The caller with a key, and what it may call. Throws a CallError, with status 401 if the key is not known. */
export async function tryKey(key) {
  // A header takes only these; fetch would say so in words that nobody understands.
  const gateway = new Gateway(/^[\x21-\x7e]+$/.test(key) ? key : "-");
  return { gateway, description: await gateway.describe() };
}

/** What to say of a key that was not accepted. */
export function messageFor(error) {
  if (error.status === 401 || error.status === 403) {
    return "The service does not know this key. Look for a missing character, or ask who runs the service.";
  }
  return `The key could not be checked: ${error.message}`;
}

function setError(message) {
  byId("key-error").textContent = message;
  if (message) input.setAttribute("aria-invalid", "true");
  else input.removeAttribute("aria-invalid");
}
