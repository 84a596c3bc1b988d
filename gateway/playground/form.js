// The form of an endpoint's input: one field a property of its schema, and the errors at their fields.

import { controlFor } from "./controls.js";
import { byId, element } from "./element.js";
import { fileKindOf, rangeOf, same, titleOf } from "./schema.js";

const MAIN = new Set(["prompt", "image_url", "video_url"]);

/** The form for one schema. `gateway` gives whoever uploads, `onChange` is called after each change. */
export class InputForm {
  constructor(schema, gateway, onChange) {
    this.schema = schema;
    this.fields = new Map();
    byId("main-fields").replaceChildren();
    byId("more-fields").replaceChildren();
    for (const [name, property] of Object.entries(schema.properties)) {
      const control = controlFor(name, property, { gateway, onChange });
      const field = fieldAround(name, property, control, schema.required?.includes(name));
      this.fields.set(name, { control, property, field });
      byId(MAIN.has(name) ? "main-fields" : "more-fields").append(field);
    }
    this.reset();
  }

  /** The input: what was entered, without what the endpoint would choose by itself. */
  input() {
    const input = {};
    for (const [name, { control, property }] of this.fields) {
      const value = control.read();
      if (value !== undefined && !same(value, property.default)) input[name] = value;
    }
    return input;
  }

  /** Whether a file is still on its way. */
  get busy() {
    return [...this.fields.values()].some(({ control }) => control.busy);
  }

  /** Enter an input; what it does not have gets its default. */
  fill(input) {
    for (const [name, { control, property }] of this.fields) control.write(input[name] ?? property.default);
    this.clearProblems();
  }

  /** Enter the defaults everywhere but in the prompt and the files. */
  reset() {
    for (const [name, { control, property }] of this.fields) {
      if (!MAIN.has(name)) control.write(property.default);
    }
    this.clearProblems();
  }

  clearProblems() {
    for (const { field } of this.fields.values()) setProblem(field, "");
    byId("form-error").textContent = "";
  }

  /** Show each problem at its field, and what belongs to none beside the button. The first field gets the focus. */
  showProblems(problems) {
    this.clearProblems();
    const elsewhere = [];
    const atFields = new Map();
    for (const { loc, msg } of problems) {
      const [place, name, ...inner] = loc;
      if (place !== "body" || !this.fields.has(name)) {
        elsewhere.push(`${loc.slice(1).join(".") || "input"}: ${msg}`);
        continue;
      }
      const said = inner.length ? `${inner.map((step) => (step >= 0 ? step + 1 : step)).join(" ")} ${msg}` : msg;
      atFields.set(name, [...(atFields.get(name) ?? []), said]);
    }
    for (const [name, said] of atFields) setProblem(this.fields.get(name).field, sentence(said.join("; ")));
    byId("form-error").textContent = elsewhere.length ? sentence(elsewhere.join("; ")) : "";
    const first = [...this.fields].find(([name]) => atFields.has(name));
    if (first !== undefined) {
      const [name, { control }] = first;
      if (!MAIN.has(name)) byId("settings").open = true;
      control.focus();
    }
  }
}

function fieldAround(name, property, control, required) {
  const id = `field-${name}`;
  const isGroup = control.group === true;
  const title = titleOf(name);
  const label = element(isGroup ? "legend" : "label", { for: isGroup ? null : id }, title);
  if (required) label.append(" ", element("span", { class: "required" }, "required"));
  const range = rangeOf(property);
  const head = isGroup ? label : element("div", { class: "head" }, label);
  if (!isGroup && range && control.showsRange !== false) head.append(element("span", { class: "range" }, range));
  const hint = element("p", { class: "hint", id: `${id}-hint` }, property.description ?? "");
  const error = element("p", { class: "error", id: `${id}-error` });
  const described = `${id}-hint ${id}-error`;
  for (const focusable of control.described) focusable.setAttribute("aria-describedby", described);
  if (!isGroup) control.described[0].id = id;
  const parts = control.inline ? [element("div", { class: "inline" }, head, control.element)] : [head, control.element];
  const kind = fileKindOf(name, property) ? "file" : property.type;
  const attributes = { class: "field", "data-name": name, "data-kind": kind };
  return element(isGroup ? "fieldset" : "div", attributes, ...parts, hint, error);
}

function setProblem(field, text) {
  field.querySelector(":scope > .error").textContent = text;
  field.classList.toggle("wrong", text !== "");
  for (const input of field.querySelectorAll("input, textarea, select")) {
    if (text) input.setAttribute("aria-invalid", "true");
    else input.removeAttribute("aria-invalid");
  }
}

function sentence(text) {
  const begun = text[0].toUpperCase() + text.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}
