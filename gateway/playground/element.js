// Making elements, and finding those of the page.

/** An element with attributes, listeners (`onclick`) and children; what is null, undefined or false is left out. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** The element of the page with an id. */
export function byId(id) {
  return document.getElementById(id);
}

/** Hide elements or show them, by id. */
export function show(visible) {
  for (const [id, shown] of Object.entries(visible)) byId(id).hidden = !shown;
}
