// A file as input: dropped, chosen or named by URL. What is dropped or chosen is uploaded at once.

import { element } from "./element.js";

/** The control for a picture or a video; its value is a URL. */
export function fileControl(kind, gateway, onChange) {
  const url = element("input", { type: "url", placeholder: "or paste a URL", autocomplete: "off", spellcheck: "false" });
  const chooser = element("input", { type: "file", accept: `${kind}/*`, class: "unseen", tabindex: "-1" });
  chooser.setAttribute("aria-hidden", "true");
  const choose = element("button", { type: "button", class: "quiet" }, `Choose ${withArticle(kind)}`);
  const said = element("p", { class: "said", role: "status" });
  const preview = element("div", { class: "preview", hidden: true });
  const remove = element("button", { type: "button", class: "link", hidden: true }, "Remove");
  const words = element("p", {}, choose, element("span", { class: "drop-hint" }, "or drop one here"), chooser);
  const zone = element("div", { class: "drop" }, preview, element("div", { class: "drop-text" }, words, said, remove));
  let leave = null;
  let shown = null;

  const clear = () => {
    leave?.abort();
    leave = null;
    control.busy = false;
    if (shown !== null) URL.revokeObjectURL(shown);
    shown = null;
    preview.hidden = true;
    preview.replaceChildren();
    remove.hidden = true;
    chooser.value = "";
    said.textContent = "";
    said.classList.remove("wrong-text");
  };
  const showFile = (source) => {
    const attributes = kind === "image" ? { alt: "" } : { muted: true, playsinline: true, preload: "metadata" };
    const picture = element(kind === "image" ? "img" : "video", attributes);
    picture.addEventListener("error", () => (preview.hidden = true));
    picture.src = source;
    preview.replaceChildren(picture);
    preview.hidden = false;
  };
  const take = async (file) => {
    clear();
    url.value = "";
    if (!file.type.startsWith(`${kind}/`)) {
      said.textContent = `${file.name} is not ${withArticle(kind)}.`;
      said.classList.add("wrong-text");
      return;
    }
    const own = new AbortController();
    leave = own;
    control.busy = true;
    shown = URL.createObjectURL(file);
    showFile(shown);
    remove.hidden = false;
    onChange();
    try {
      said.textContent = `Uploading ${file.name}`;
      const onProgress = (share) => zone.style.setProperty("--share", share);
      url.value = await gateway().upload(file, onProgress, own.signal);
      said.textContent = `${file.name}, ${sizeOf(file.size)}, uploaded`;
    } catch (error) {
      if (own.signal.aborted) return;
      said.textContent = error.message;
      said.classList.add("wrong-text");
    } finally {
      if (leave === own) {
        control.busy = false;
        zone.style.removeProperty("--share");
        onChange();
      }
    }
  };

  choose.addEventListener("click", () => chooser.click());
  chooser.addEventListener("change", () => chooser.files.length && take(chooser.files[0]));
  remove.addEventListener("click", () => {
    clear();
    url.value = "";
    choose.focus();
    onChange();
  });
  url.addEventListener("input", () => {
    clear();
    onChange();
  });
  for (const type of ["dragenter", "dragover"]) {
    zone.addEventListener(type, (event) => {
      event.preventDefault();
      zone.classList.add("over");
    });
  }
  zone.addEventListener("dragleave", (event) => zone.contains(event.relatedTarget) || zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    const [file] = event.dataTransfer.files;
    if (file !== undefined) take(file);
  });

  const control = {
    element: element("div", { class: "file" }, zone, url),
    described: [url],
    busy: false,
    read: () => url.value.trim() || undefined,
    write: (value) => {
      clear();
      url.value = value ?? "";
      if (value) {
        showFile(value);
        remove.hidden = false;
      }
    },
    focus: () => choose.focus(),
  };
  return control;
}

function sizeOf(bytes) {
  return bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

function withArticle(kind) {
  return kind === "image" ? "an image" : `a ${kind}`;
}
