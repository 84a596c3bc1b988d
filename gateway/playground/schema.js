// What the gateway's OpenAPI document says about endpoints and their inputs.

const WORDS = { rife: "RIFE", fps: "FPS", loras: "LoRAs", hd: "HD" };

/** The endpoints of a document, each with the schema of its input. */
export function endpointsOf(document) {
  const found = [];
  for (const [path, operations] of Object.entries(document.paths)) {
    const reference = operations.post?.requestBody?.content["application/json"].schema.$ref;
    if (reference === undefined || path.startsWith("/run/") || path.includes("{")) continue;
    const schema = reference.slice(2).split("/").reduce((at, step) => at[step], document);
    found.push({ endpoint: path.slice(1), schema });
  }
  return found.sort((one, other) => one.endpoint.localeCompare(other.endpoint));
}

/** Which kind of file a property takes, `image` or `video`; null if none. */
export function fileKindOf(name, schema) {
  return schema.type === "string" ? (/^(image|video)_url$/.exec(name)?.[1] ?? null) : null;
}

/** A property's name for people. */
export function titleOf(name) {
  const words = name.replace(/^num_|_url$/g, "").split("_").map((word) => WORDS[word] ?? word);
  const title = words.join(" ");
  return title[0].toUpperCase() + title.slice(1);
}

/** Which values are allowed, in a few signs; empty if that needs no saying. */
export function rangeOf(schema) {
  const { minimum, maximum } = schema;
  if (minimum !== undefined && maximum !== undefined) return `${minimum}–${maximum}`;
  if (maximum !== undefined) return `up to ${maximum}`;
  return "";
}

/** Whether two values of an input say the same. */
export function same(one, other) {
  return JSON.stringify(one) === JSON.stringify(other);
}

/** Width divided by height of a preset's name: its last two numbers, the larger first. */
export function ratioOfPreset(name) {
  const sides = /^(portrait|landscape)_(\d+)_(\d+)$/.exec(name);
  if (sides === null) return 1;
  const ratio = Number(sides[2]) / Number(sides[3]);
  return sides[1] === "portrait" ? 1 / ratio : ratio;
}
