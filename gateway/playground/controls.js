// The control for each kind of property. A control reads and writes the value that goes into the input.
//
// `element` is what is shown, `described` the inputs in it that description and errors belong to, `group` says that
// several inputs make up the value.

import { element } from "./element.js";
import { fileKindOf, ratioOfPreset, titleOf } from "./schema.js";
import { fileControl } from "./upload.js";

/** The control for a property. */
export function controlFor(name, schema, { gateway, onChange }) {
  const kind = fileKindOf(name, schema);
  if (kind !== null) return fileControl(kind, gateway, onChange);
  if (schema.anyOf !== undefined) return sizeControl(schema, onChange);
  switch (schema.type) {
    case "boolean":
      return switchControl(onChange);
    case "integer":
    case "number":
      return numberControl(name, schema, onChange);
    case "array":
      return listControl(schema, onChange);
    default:
      return textControl(name, schema, onChange);
  }
}

function textControl(name, schema, onChange) {
  const lines = name === "prompt" ? 4 : 2;
  const example = name === "prompt" ? "A red lighthouse on a cliff at dusk, waves below, slow aerial shot" : null;
  const area = element("textarea", { rows: lines, placeholder: example, oninput: onChange });
  const control = simple(area);
  control.showsRange = false;
  return control;
}

function simple(input) {
  return {
    element: input,
    described: [input],
    read: () => (input.value.trim() === "" ? undefined : input.value),
    write: (value) => {
      input.value = value ?? "";
    },
    focus: () => input.focus(),
  };
}

function switchControl(onChange) {
  const box = element("input", { type: "checkbox", role: "switch", class: "switch", onchange: onChange });
  return {
    element: box,
    described: [box],
    inline: true,
    read: () => box.checked,
    write: (value) => {
      box.checked = Boolean(value);
    },
    focus: () => box.focus(),
  };
}

// What is not a number, or one that JavaScript would round, stays text, so that the gateway says what is wrong with it.
function numberOf(text) {
  if (text.trim() === "") return undefined;
  const value = Number(text);
  return Number.isFinite(value) && (Number.isSafeInteger(value) || !Number.isInteger(value)) ? value : text;
}

function numberControl(name, schema, onChange) {
  const whole = schema.type === "integer";
  const free = schema.minimum === undefined || schema.maximum === undefined;
  const input = element("input", {
    type: "text",
    inputmode: whole ? "numeric" : "decimal",
    class: "number",
    autocomplete: "off",
    placeholder: free && schema.default === undefined ? "Random" : null,
  });
  const control = simple(input);
  control.read = () => numberOf(input.value);
  if (free) {
    input.addEventListener("input", onChange);
    return control;
  }
  const step = whole ? 1 : schema.maximum - schema.minimum > 2 ? 0.1 : 0.01;
  const { minimum: min, maximum: max } = schema;
  const slider = element("input", { type: "range", min, max, step, "aria-label": `${titleOf(name)}, slider` });
  slider.addEventListener("input", () => {
    input.value = slider.value;
    onChange();
  });
  input.addEventListener("input", () => {
    if (Number.isFinite(Number(input.value))) slider.value = input.value;
    onChange();
  });
  const write = control.write;
  control.write = (value) => {
    write(value);
    slider.value = value ?? min;
  };
  control.element = element("div", { class: "number-pair" }, slider, input);
  return control;
}

function sizeControl(schema, onChange) {
  const sides = schema.anyOf.find((choice) => choice.type === "object");
  const presets = schema.anyOf.find((choice) => choice.enum !== undefined).enum;
  const usual = schema.default;
  const group = `size-${Math.random()}`;
  const chips = element("div", { class: "chips" });
  const custom = element("div", { class: "sides", hidden: true });
  const inputs = Object.entries(sides.properties).map(([name, side]) => {
    const input = element("input", { type: "text", inputmode: "numeric", class: "number", oninput: onChange });
    const range = `${side.minimum}–${side.maximum}, in steps of ${side.multipleOf}`;
    const label = element("label", {}, `${titleOf(name)} `, input, element("span", { class: "hint" }, range));
    custom.append(label);
    return [name, input];
  });
  const radios = new Map();
  const choose = () => {
    custom.hidden = !radios.get("custom").checked;
    onChange();
  };
  const chip = (value, text, ratio) => {
    const radio = element("input", { type: "radio", name: group, value, onchange: choose });
    const shape = element("i", { "aria-hidden": "true", class: "shape" });
    shape.style.aspectRatio = ratio ?? 1.5;
    shape.style[ratio < 1 ? "height" : "width"] = "18px";
    radios.set(value, radio);
    chips.append(element("label", { class: "chip" }, radio, ratio === undefined ? null : shape, element("span", {}, text)));
  };
  chip("default", `${usual.width} × ${usual.height}`, usual.width / usual.height);
  for (const preset of presets) chip(preset, presetTitle(preset), ratioOfPreset(preset));
  chip("custom", "Custom");
  const chosen = () => [...radios].find(([, radio]) => radio.checked)?.[0] ?? "default";
  return {
    element: element("div", {}, chips, custom),
    described: [...radios.values(), ...inputs.map(([, input]) => input)],
    group: true,
    read: () => {
      if (chosen() === "default") return usual;
      if (chosen() !== "custom") return chosen();
      return Object.fromEntries(inputs.map(([name, input]) => [name, numberOf(input.value) ?? null]));
    },
    write: (value = usual) => {
      const isUsual = typeof value === "object" && value.width === usual.width && value.height === usual.height;
      const choice = typeof value === "string" ? value : isUsual ? "default" : "custom";
      radios.get(choice).checked = true;
      custom.hidden = choice !== "custom";
      for (const [name, input] of inputs) input.value = (typeof value === "object" ? value : usual)[name] ?? "";
    },
    focus: () => (chosen() === "custom" ? inputs[0][1] : radios.get(chosen())).focus(),
  };
}

function presetTitle(preset) {
  return titleOf(preset).replace(/ (\d+) (\d+)$/, " $1:$2");
}

// A list of objects, such as LoRAs: a row for each, with an input for each property.
function listControl(schema, onChange) {
  const rows = [];
  const list = element("div", { class: "rows" });
  const add = element("button", { type: "button", class: "quiet", onclick: () => addRow({}, true) }, "Add");
  const described = [add];

  function addRow(value, takesFocus) {
    const inputs = new Map();
    const row = element("div", { class: "row" });
    for (const [name, property] of Object.entries(schema.items.properties)) {
      const input = element("input", { type: "text", autocomplete: "off", spellcheck: "false", oninput: onChange });
      input.value = value[name] ?? property.default ?? "";
      inputs.set(name, input);
      const hint = element("span", { class: "hint" }, property.description ?? "");
      row.append(element("label", { class: `part-${property.type}` }, titleOf(name), input, hint));
    }
    const remove = () => {
      rows.splice(rows.findIndex((found) => found.inputs === inputs), 1);
      row.remove();
      add.hidden = false;
      add.focus();
      onChange();
    };
    row.append(element("button", { type: "button", class: "quiet", onclick: remove }, "Remove"));
    rows.push({ inputs });
    list.append(row);
    add.hidden = schema.maxItems !== undefined && rows.length >= schema.maxItems;
    if (takesFocus) inputs.values().next().value.focus();
    onChange();
  }

  const valueOf = ({ inputs }) => {
    const entries = [...inputs].map(([name, input]) => {
      const text = schema.items.properties[name].type === "string" ? input.value.trim() || undefined : undefined;
      return [name, text ?? numberOf(input.value)];
    });
    return Object.fromEntries(entries.filter(([, value]) => value !== undefined));
  };
  return {
    element: element("div", {}, list, add),
    described,
    group: true,
    read: () => (rows.length ? rows.map(valueOf) : undefined),
    write: (value) => {
      rows.length = 0;
      list.replaceChildren();
      add.hidden = false;
      for (const entry of value ?? []) addRow(entry, false);
    },
    focus: () => (list.querySelector("input") ?? add).focus(),
  };
}
