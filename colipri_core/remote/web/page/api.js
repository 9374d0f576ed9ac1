// What the page says to the server: JSON, NIfTI bytes, and streams of frames. The token is never part of an address.

const TOKEN_KEY = "colipri-token";
const PROTOCOL = 1;
const PREAMBLE_BYTES = 18; // "CLPR", version, kind, bytes of the header, bytes of the arrays; see protocol/frames.py
const KINDS = { 2: "progress", 3: "sentence", 4: "result", 5: "error" };

/** What went wrong, in the server's words; its code is "unreachable" where no answer came. */
export class ApiError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

export const token = {
  read: () => sessionStorage.getItem(TOKEN_KEY) ?? "",
  write: (value) => sessionStorage.setItem(TOKEN_KEY, value),
};

/** Ask and return the JSON of the answer. */
export async function ask(path, options = {}) {
  const response = await send(path, options);
  const text = await received(response.text());
  return text ? JSON.parse(text) : null;
}

/** Ask and return the bytes of the answer. */
export async function bytes(path, { signal } = {}) {
  const response = await send(path, { signal });
  return received(response.arrayBuffer());
}

/** Ask for long work; `on` receives the messages before the last, whose body is returned. Arrays are left aside. */
export async function work(path, { body = {}, job, signal, on = () => {} }) {
  const response = await send(path, { method: "POST", body, headers: { "Colipri-Job": job }, signal });
  let outcome = null;
  for await (const frame of frames(response.body)) {
    if (frame.kind === "result" || frame.kind === "error") outcome = frame;
    else on(frame.kind, frame.body);
  }
  if (!outcome) throw unreachable();
  if (outcome.kind === "error") throw new ApiError(outcome.body.error.code, outcome.body.error.message);
  return outcome.body;
}

/** A random UUID; crypto.randomUUID exists on https and localhost alone. */
export function uuid() {
  const raw = crypto.getRandomValues(new Uint8Array(16));
  raw[6] = (raw[6] & 0x0f) | 0x40;
  raw[8] = (raw[8] & 0x3f) | 0x80;
  const hex = [...raw].map((value) => value.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

async function send(path, { method = "GET", body, headers = {}, signal } = {}) {
  const sent = { "Colipri-Protocol": String(PROTOCOL), ...headers };
  if (token.read()) sent.Authorization = `Bearer ${token.read()}`;
  let content = body;
  if (body !== undefined) {
    const isFile = body instanceof Blob;
    sent["Content-Type"] = isFile ? "application/octet-stream" : "application/json";
    content = isFile ? body : JSON.stringify(body);
  }
  const response = await received(fetch(path, { method, headers: sent, body: content, signal, cache: "no-store" }));
  if (!response.ok) throw await refusal(response);
  return response;
}

async function received(promise) {
  try {
    return await promise;
  } catch (error) {
    throw error.name === "AbortError" ? new ApiError("cancelled", "Cancelled. Nothing was changed.") : unreachable();
  }
}

function unreachable() {
  const message = "The server does not answer. Was it stopped? Start it again; this page goes on by itself.";
  return new ApiError("unreachable", message);
}

async function refusal(response) {
  try {
    const { error } = await response.json();
    return new ApiError(error.code, error.message);
  } catch {
    const message = `The server answered with status ${response.status}. Look at its log, then try again.`;
    return new ApiError("http", message);
  }
}

async function* frames(stream) {
  const reader = stream.getReader();
  let waiting = new Uint8Array(0);
  for (;;) {
    const { value, done } = await received(reader.read());
    if (done) return;
    waiting = joined(waiting, value);
    for (let frame = first(waiting); frame; frame = first(waiting)) {
      waiting = waiting.subarray(frame.size);
      yield frame;
    }
  }
}

/** The first frame of the bytes, or null if it has not come whole. */
function first(content) {
  if (content.length < PREAMBLE_BYTES) return null;
  const view = new DataView(content.buffer, content.byteOffset);
  const headerBytes = view.getUint32(6, true);
  const size = PREAMBLE_BYTES + headerBytes + Number(view.getBigUint64(10, true));
  if (content.length < size) return null;
  const header = new TextDecoder().decode(content.subarray(PREAMBLE_BYTES, PREAMBLE_BYTES + headerBytes));
  return { size, kind: KINDS[view.getUint8(5)], body: JSON.parse(header).body };
}

function joined(a, b) {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}
