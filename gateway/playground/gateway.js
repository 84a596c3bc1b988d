// Calls at the gateway that served this page. Every path is relative, for proxies that put a prefix before it.

const BASE = new URL("./", location.href);

/** A call that was refused, or that did not arrive (status 0). */
export class CallError extends Error {
  constructor(status, message, problems = []) {
    super(message);
    this.status = status;
    /** One entry a field: `loc`, `msg`. */
    this.problems = problems;
  }
}

/** The origin and prefix of this gateway, without a slash at the end. */
export function origin() {
  return BASE.href.replace(/\/$/, "");
}

/** Someone with a key. */
export class Gateway {
  constructor(key) {
    this.key = key;
  }

  /** The OpenAPI document with everything this key may call. */
  async describe() {
    return this.#json("GET", "openapi.json");
  }

  async submit(endpoint, input, idempotencyKey) {
    return this.#json("POST", endpoint, { body: input, headers: { "idempotency-key": idempotencyKey } });
  }

  async status(request) {
    return this.#json("GET", `${pathOf(request)}/status`);
  }

  async result(request) {
    return this.#json("GET", pathOf(request));
  }

  async cancel(request) {
    return this.#json("PUT", `${pathOf(request)}/cancel`);
  }

  /** The video itself. */
  async video(request) {
    return (await this.#fetch("GET", `playground/videos/${request.id}`)).blob();
  }

  /** The events of a status stream, up to its end. A stream that breaks off throws. */
  async *events(request, signal) {
    const response = await this.#fetch("GET", `${pathOf(request)}/status/stream?logs=1`, { signal });
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        text += value;
        const events = text.split("\n\n");
        text = events.pop();
        for (const event of events) {
          const lines = event.split("\n").filter((line) => line.startsWith("data:"));
          if (lines.length) yield JSON.parse(lines.map((line) => line.slice(5)).join("\n"));
        }
      }
    } catch (error) {
      throw error.name === "AbortError" ? error : new CallError(0, "The connection broke off.");
    } finally {
      reader.cancel().catch(() => {});
    }
  }

  /** Upload a file; `onProgress` gets a share from 0 to 1. Returns the URL that names it in an input. */
  async upload(file, onProgress, signal) {
    const described = { content_type: file.type, file_name: file.name };
    const begun = await this.#json("POST", "storage/upload/initiate", { body: described });
    const path = begun.upload_url.slice(begun.upload_url.indexOf("storage/upload/"));
    await put(new URL(path, BASE), file, onProgress, signal);
    return begun.file_url;
  }

  async #json(method, path, options) {
    return (await this.#fetch(method, path, options)).json();
  }

  async #fetch(method, path, { body, headers = {}, signal } = {}) {
    const sent = { ...headers, authorization: `Key ${this.key}` };
    if (body !== undefined) sent["content-type"] = "application/json";
    let response;
    try {
      const content = body === undefined ? undefined : JSON.stringify(body);
      response = await fetch(new URL(path, BASE), { method, headers: sent, body: content, signal });
    } catch (error) {
      throw error.name === "AbortError" ? error : new CallError(0, "The gateway is out of reach.");
    }
    if (!response.ok) throw refusal(response.status, await response.text());
    return response;
  }
}

function pathOf(request) {
  return `${request.endpoint}/requests/${request.id}`;
}

function refusal(status, text) {
  let detail;
  try {
    detail = JSON.parse(text).detail;
  } catch {
    detail = undefined;
  }
  if (Array.isArray(detail)) return new CallError(status, detail.map((problem) => problem.msg).join("; "), detail);
  return new CallError(status, detail || `The gateway answered with status ${status}.`);
}

// fetch does not tell how much of a body has been sent.
function put(url, file, onProgress, signal) {
  return new Promise((resolve, reject) => {
    const call = new XMLHttpRequest();
    call.open("PUT", url);
    call.setRequestHeader("content-type", file.type || "application/octet-stream");
    call.upload.addEventListener("progress", (event) => onProgress(event.loaded / Math.max(event.total, 1)));
    call.addEventListener("load", () =>
      call.status < 300 ? resolve() : reject(refusal(call.status, call.responseText)),
    );
    call.addEventListener("error", () => reject(new CallError(0, "The upload broke off.")));
    call.addEventListener("abort", () => reject(new DOMException("left", "AbortError")));
    signal?.addEventListener("abort", () => call.abort());
    call.send(file);
  });
}
