// The page: which case is open, and what each click leads to.

import { ApiError, ask, bytes, token, work } from "./api.js";
import { byId, make } from "./dom.js";
import { FindingsPanel } from "./findings.js";
import { Labelling } from "./labelling.js";
import { ReportPanel } from "./report.js";
import { Runner } from "./runner.js";
import { StructuresPanel } from "./structures.js";
import { View } from "./view.js";

const HIDDEN_AT_FIRST = new Set(["body"]); // it encloses the others: outlining it would only frame the picture
const TOKEN_WANTED = "bad-token";
const RETRY_MS = 2000;
const HEARTBEAT_MS = 30_000;
const READOUT_MS = 120;

let about = null;
let opened = null; // the open case, as the server describes it
let readoutTimer = 0;
let retrying = false;

const runner = new Runner({ begun: () => notify(""), changed: enable, failed: explain });
const view = new View({ moved: read });
const findings = new FindingsPanel({ chosen: showEvidence, asked: askFor });
const structures = new StructuresPanel({
  changed: (segments) => view.repaint("structures", segments),
  chosen: (place) => view.goTo(place),
});
const report = new ReportPanel({ chosen: followSentence });
const labelling = new Labelling({ prompted: prompt, step });

start();

async function start() {
  try {
    await view.start();
  } catch (error) {
    notify(error.message);
    return;
  }
  connectControls();
  if (await connect()) await openOnly();
}

/** Ask what is served; asks for the token where one is needed. */
async function connect() {
  for (;;) {
    try {
      about = await ask("api/about");
      break;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.code !== TOKEN_WANTED) {
        explain(error);
        return false;
      }
      await askForToken();
    }
  }
  const { model, device } = about;
  byId("model").textContent = `${model.name} (${model.sha256.slice(0, 8)}) on ${device}: ${model.training_data}`;
  byId("model").title = `${model.notice}\nLicence: ${model.licence}\nsha256 ${model.sha256}`;
  byId("synthetic").hidden = !model.synthetic;
  const names = about.cases.map((name) => make("option", { value: name, textContent: name }));
  byId("case").replaceChildren(make("option", { value: "", textContent: "Choose a case" }), ...names);
  return true;
}

function askForToken() {
  const dialog = byId("token-dialog");
  if (token.read()) byId("token-note").textContent = "The server refused that token. Try again.";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(token.write(byId("token").value)), { once: true });
  });
}

/** A server of one case opens it at once. */
async function openOnly() {
  if (about.cases.length !== 1) return;
  byId("case").value = about.cases[0];
  await open("Opening", { path: "api/cases", body: { name: about.cases[0] } });
}

function connectControls() {
  byId("case").addEventListener("change", ({ target }) => {
    if (target.value) open("Opening", { path: "api/cases", body: { name: target.value } });
  });
  byId("file").addEventListener("change", ({ target }) => target.files[0] && upload(target.files[0]));
  byId("analyse").addEventListener("click", analyse);
  byId("draft").addEventListener("click", draft);
  byId("window").addEventListener("change", ({ target }) => view.setWindow(target.value));
  byId("show-heat").addEventListener("change", ({ target }) => view.setShown("heat", target.checked));
  byId("show-structures").addEventListener("change", ({ target }) => view.setShown("structures", target.checked));
  const stage = byId("stage");
  for (const kind of ["dragenter", "dragover"]) {
    stage.addEventListener(kind, (event) => {
      event.preventDefault();
      stage.classList.add("dropping");
    });
  }
  stage.addEventListener("dragleave", () => stage.classList.remove("dropping"));
  stage.addEventListener("drop", (event) => {
    event.preventDefault();
    stage.classList.remove("dropping");
    const [file] = event.dataTransfer.files;
    if (file) upload(file);
  });
  setInterval(() => opened && ask(`${opened.calls}/heartbeat`, { method: "POST" }).catch(explain), HEARTBEAT_MS);
}

function upload(file) {
  byId("case").value = "";
  if (!/\.nii(\.gz)?$/i.test(file.name)) {
    notify(`Expected a NIfTI file (.nii or .nii.gz), found "${file.name}". Convert it with: colipri convert SOURCE ct.nii.gz`);
    return;
  }
  if (file.size > about.upload_bytes) {
    const limit = Math.floor(about.upload_bytes / 2 ** 20);
    notify(`Expected a file of at most ${limit} MB. Put it under the server's --root, and choose it above.`);
    return;
  }
  const headers = { "Colipri-Name": encodeURIComponent(file.name) };
  open(`Sending ${file.name}`, { path: "api/uploads", body: file, headers });
}

/** Open a case and show its slices; results of the former one go. */
async function open(title, { path, body, headers }) {
  const found = await runner.run(title, async ({ signal }) => {
    const found = located(await ask(path, { method: "POST", body, headers, signal }));
    return { found, content: await bytes(`${found.url}/volume?voxels=${view.budget}`, { signal }) };
  });
  if (!found) return;
  const former = opened;
  opened = found.found;
  if (former) ask(former.calls, { method: "DELETE" }).catch(() => {}); // else its lease ends it
  await view.showCt(found.content, byId("window").value);
  for (const panel of [findings, report]) panel.clear();
  structures.clear(about.capabilities.structures ? undefined : "This model outlines no structures.");
  byId("heat-caption").textContent = "";
  byId("display-note").textContent = displayNote();
  showWarnings();
  view.goTo(opened.center_ras);
  await showEditing();
  enable();
}

async function analyse() {
  const title = "Analysing";
  const found = await runner.run(title, (job) => work(`${opened.calls}/classify`, job));
  if (!found) return;
  findings.clear();
  findings.add(found.items);
  warn(found.provenance.warnings);
  if (about.capabilities.structures) await outline();
}

async function outline() {
  const url = opened.url;
  const found = await runner.run("Outlining structures", async (job) => {
    const outlined = await work(`${url}/segment`, { ...job, body: { voxels: view.budget } });
    return { ...outlined, content: await bytes(`${url}/drawings/${outlined.drawing}`, job) };
  });
  if (!found || url !== opened.url) return;
  const segments = found.segments.map((item) => ({ ...item, shown: !HIDDEN_AT_FIRST.has(item.name.toLowerCase()) }));
  structures.show(segments);
  await view.showLabels("structures", found.content, segments);
  byId("show-structures").checked = true;
}

async function askFor(phrase) {
  const found = await runner.run(`Asking for "${phrase}"`, (job) =>
    work(`${opened.calls}/classify`, { ...job, body: { findings: [phrase] } }),
  );
  if (!found) return;
  byId("filter").value = "";
  findings.add(found.items, { asked: true });
  await showEvidence(phrase);
}

async function showEvidence(text) {
  const url = opened.url;
  const found = await runner.run(
    `Evidence for ${text}`,
    async (job) => {
      const evidence = await work(`${url}/evidence`, { ...job, body: { text, voxels: view.budget } });
      return { ...evidence, content: await bytes(`${url}/drawings/${evidence.drawing}`, job) };
    },
    { replaceable: true },
  );
  if (!found || url !== opened.url) return;
  await view.showHeat(found.content);
  byId("show-heat").checked = true;
  view.goTo(found.peak_ras);
  findings.mark(text);
  report.mark(text);
  const peak = found.peak_value.toFixed(3);
  byId("heat-caption").textContent = `Heat: ${text}, peak ${peak} (difference of cosine similarities, not a probability)`;
}

function followSentence({ phrase, place_ras: place }) {
  if (place) view.goTo(place);
  if (phrase) showEvidence(phrase);
}

async function draft() {
  report.clear();
  const written = await runner.run("Drafting a report", (job) =>
    work(`${opened.url}/report`, {
      ...job,
      on: (kind, message) => (kind === "sentence" ? report.append(message) : job.on(kind, message)),
    }),
  );
  if (written) report.show(written);
  else report.clear();
}

async function prompt({ positive, label }) {
  await edit("Outlining", "prompt", { prompt: { kind: "point", ras: view.cursor, positive }, label });
}

async function step(kind) {
  await edit(kind === "undo" ? "Undoing" : "Redoing", kind, {});
}

/** Change the labels; each call says which revision it follows, so that none is made twice. */
async function edit(title, kind, body) {
  const answer = await runner.run(title, (job) =>
    work(`${opened.calls}/${kind}`, { ...job, body: { ...body, after: opened.revision } }),
  );
  if (!answer) return;
  Object.assign(opened, { state: answer.state, revision: answer.revision });
  await showEditing();
}

async function showEditing() {
  const { state, url } = opened;
  labelling.show(state);
  if (!state.objects.length && !state.undo.length && !state.redo.length) return;
  const content = await bytes(`${url}/labels?voxels=${view.budget}`).catch(explain);
  if (content && url === opened.url) {
    await view.showLabels("labels", content, state.objects.map((item) => ({ ...item, shown: true })));
  }
}

/** Write place and HU of the cursor; the server is asked where the page shows a reduced copy. */
function read(ras, shown) {
  clearTimeout(readoutTimer);
  if (!opened) return;
  write(ras, opened.exact ? shown : null);
  if (opened.exact) return;
  readoutTimer = setTimeout(async () => {
    const [r, a, s] = ras.map((value) => value.toFixed(4));
    try {
      const { value } = await ask(`${opened.url}/intensity?r=${r}&a=${a}&s=${s}`);
      write(ras, value);
    } catch (error) {
      explain(error);
    }
  }, READOUT_MS);
}

function write(ras, value) {
  const place = ras.map((part, axis) => `${"RAS"[axis]} ${part.toFixed(1)}`).join("  ");
  const unit = opened.unit === "HU" ? " HU" : "";
  byId("readout").textContent = `${place} mm   ${value === null ? "..." : `${Math.round(value)}${unit}`}`;
}

/** Say how far the slices are reduced. */
function displayNote() {
  const factors = opened.shape.map((size, axis) => Math.floor(size / view.shape[axis]));
  opened.exact = factors.every((factor) => factor === 1);
  if (opened.exact) return "";
  return `Shown reduced by ${factors.join(" x ")}; results and HU come from all ${opened.shape.join(" x ")} voxels`;
}

function enable() {
  const ready = opened !== null && !runner.busy;
  byId("analyse").disabled = !ready;
  byId("draft").disabled = !ready;
  byId("ask-button").disabled = !ready || !about.capabilities.free_text;
  byId("phrase").disabled = !about?.capabilities.free_text;
  byId("case").disabled = runner.busy;
  byId("file").disabled = runner.busy;
  labelling.enable(ready);
}

function warn(warnings) {
  const fresh = warnings.filter((text) => !opened.warnings.includes(text));
  opened.warnings.push(...fresh);
  showWarnings();
}

/** Say what makes results of this case doubtful, as long as it is open. */
function showWarnings() {
  byId("warnings").textContent = opened.warnings.join("\n");
  byId("warnings").hidden = !opened.warnings.length;
}

function notify(text) {
  byId("notice").textContent = text;
  byId("notice").hidden = !text;
}

/** Say an error in words. A server that is gone is waited for. */
function explain(error) {
  if (!(error instanceof ApiError)) throw error;
  notify(error.message);
  if (error.code === "unreachable") wait();
}

/** Wait for the server, then take the case up again: sessions outlive it, labels and history included. */
async function wait() {
  if (retrying) return;
  retrying = true;
  for (let away = true; away; ) {
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    away = await ask("api/about").then(() => false, ({ code }) => code === "unreachable");
  }
  retrying = false;
  notify("");
  if (!(await connect())) return;
  if (opened) await takeUp();
  else await openOnly();
}

async function takeUp() {
  try {
    Object.assign(opened, located(await ask(opened.url)));
    showWarnings();
    await showEditing();
  } catch (error) {
    explain(error);
  }
}

/** Where the case that the server describes is asked about: in its own words, and in images for this page. */
function located(found) {
  return { ...found, url: `api/sessions/${found.session}`, calls: `../v1/sessions/${found.session}` };
}
