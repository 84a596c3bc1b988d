// The same request as code, for each way to call. Keys are never written into it.

/** Which gRPC service is behind the gateway, as far as the page can know. */
export function grpcAddress(hostname, meta) {
  return { address: `${hostname}:${meta("grpc-port")}`, tls: meta("grpc-tls") === "yes" };
}

/** Name and writer of each language; a writer gets `{ endpoint, input, origin, grpc }`. */
export const LANGUAGES = [
  { name: "Python", id: "python", write: pythonClient },
  { name: "fal-client", id: "fal-client", write: falPython },
  { name: "JavaScript", id: "javascript", write: javaScript },
  { name: "curl", id: "curl", write: curl },
  { name: "grpcurl", id: "grpcurl", write: grpcurl },
];

function pythonClient({ endpoint, input, grpc }) {
  const { image_url: image, video_url: video, ...plain } = input;
  const named = { ...plain, ...(image && { image }), ...(video && { video }) };
  const options = Object.entries(named).map(([name, value]) => `        ${name}=${python(value, 8)},\n`);
  return `# pip install ./client, and COGREEL_API_KEY in the environment
from cogreel import CogReel

with CogReel(${python(grpc.tls ? `https://${grpc.address}` : grpc.address)}) as client:
    result = client.subscribe(
        ${python(endpoint)},
${options.join("")}        on_update=print,
    )
    client.download(result, "video.mp4")
`;
}

function falPython({ endpoint, input, origin }) {
  const host = origin.replace(/^https?:\/\//, "");
  const insecure = origin.startsWith("https:") ? "" : "# fal-client speaks https only: give the gateway a certificate.\n";
  return `# pip install fal-client, and FAL_KEY in the environment
${insecure}import os

os.environ["FAL_QUEUE_RUN_HOST"] = ${python(host)}  # before the import
os.environ["FAL_RUN_HOST"] = ${python(`${host}/run`)}

import fal_client

def on_update(update):
    print(update)

result = fal_client.subscribe(
    ${python(endpoint)},
    arguments=${python(input, 4)},
    with_logs=True,
    on_queue_update=on_update,
)
print(result["video"]["url"])
`;
}

function javaScript({ endpoint, input, origin }) {
  const url = JSON.stringify(`${origin}/api/fal/proxy`);
  return `// npm install @fal-ai/client, and FAL_KEY in the environment
import { fal } from "@fal-ai/client";

fal.config({
  credentials: process.env.FAL_KEY,
  proxyUrl: { url: ${url}, when: "always" },
});

const { data, requestId } = await fal.subscribe(${JSON.stringify(endpoint)}, {
  input: ${indented(JSON.stringify(input, null, 2), 2)},
  logs: true,
  onQueueUpdate: (update) => console.log(update.status),
});
console.log(requestId, data.video.url);
`;
}

function curl({ endpoint, input, origin }) {
  const key = '-H "Authorization: Key $COGREEL_API_KEY"';
  return `# queue it, with the key in COGREEL_API_KEY
REQUEST_ID=$(curl -sS ${key} -H "Content-Type: application/json" \\
  ${shell(`${origin}/${endpoint}`)} \\
  -d ${shell(JSON.stringify(input, null, 2))} |
  sed -n 's/.*"request_id":"\\([^"]*\\)".*/\\1/p')

# watch it, then fetch the result
curl -sSN ${key} "${origin}/${endpoint}/requests/$REQUEST_ID/status/stream?logs=1"
curl -sS ${key} "${origin}/${endpoint}/requests/$REQUEST_ID"
`;
}

function grpcurl({ endpoint, input, grpc }) {
  const message = JSON.stringify({ endpoint, ...contractInput(input) }, null, 2);
  return `grpcurl ${grpc.tls ? "" : "-plaintext "}-H "authorization: Bearer $COGREEL_API_KEY" \\
  -d ${shell(message)} \\
  ${grpc.address} cogreel.v1.QueueService/Submit
`;
}

/** The input as the contract has it: cogreel.v1.SubmitRequest in JSON. */
export function contractInput({ image_url: image, video_url: video, strength, video_size: size, ...plain }) {
  const text = { ...plain };
  if (typeof size === "string") text.video_size = { preset: `VIDEO_SIZE_PRESET_${size.toUpperCase()}` };
  else if (size !== undefined) text.video_size = { dimensions: size };
  if (image !== undefined) return { image_to_video: { text, image: { url: image } } };
  if (video !== undefined) {
    return { video_to_video: { text, video: { url: video }, ...(strength !== undefined && { strength }) } };
  }
  return { text_to_video: text };
}

/** A value as a Python literal; lines after the first are indented by `indent`. */
function python(value, indent = 0) {
  const pad = " ".repeat(indent + 4);
  if (Array.isArray(value)) return `[${value.map((item) => python(item, indent)).join(", ")}]`;
  switch (typeof value) {
    case "boolean":
      return value ? "True" : "False";
    case "object": {
      if (value === null) return "None";
      const entries = Object.entries(value).map(([name, item]) => `${JSON.stringify(name)}: ${python(item, indent + 4)}`);
      if (entries.join().length < 60) return `{${entries.join(", ")}}`;
      return `{\n${entries.map((entry) => `${pad}${entry},\n`).join("")}${" ".repeat(indent)}}`;
    }
    default:
      return JSON.stringify(value);
  }
}

function shell(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function indented(text, indent) {
  return text.replaceAll("\n", `\n${" ".repeat(indent)}`);
}
