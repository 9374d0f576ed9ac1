// One piece of work at a time, with progress and Cancel.

import { ApiError, ask, uuid } from "./api.js";
import { byId } from "./dom.js";

export class Runner {
  #current = null;

  /** `begun` is called before work, `changed` when it begins or ends; `failed` receives what went wrong. */
  constructor({ begun, changed, failed }) {
    this.begun = begun;
    this.changed = changed;
    this.failed = failed;
    byId("cancel").addEventListener("click", () => this.cancel());
  }

  get busy() {
    return this.#current !== null;
  }

  /**
   * Run `task({job, signal, on})`. Replaceable work gives way to what is asked for after it; other work is finished first.
   * Returns what the task returned, or undefined if it failed, was cancelled, or could not begin.
   */
  async run(title, task, { replaceable = false } = {}) {
    if (this.#current && !this.#current.replaceable) return undefined;
    if (this.#current) await this.cancel();
    const work = { job: uuid(), controller: new AbortController(), replaceable };
    this.#current = work;
    this.begun();
    this.#show(title, null);
    work.finished = this.#finish(title, work, task);
    return work.finished;
  }

  /** Ask the server to stop what runs, and wait until it has. */
  async cancel() {
    const work = this.#current;
    if (!work) return;
    byId("cancel").disabled = true;
    byId("progress-text").textContent = "Cancelling ...";
    try {
      await ask(`../v1/jobs/${work.job}`, { method: "DELETE" });
    } catch {
      work.controller.abort(); // the job ended by itself, or the server is gone: hanging up cancels it too
    }
    await work.finished;
  }

  async #finish(title, work, task) {
    const on = (kind, message) => kind === "progress" && this.#show(title, message);
    try {
      return await task({ job: work.job, signal: work.controller.signal, on });
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.failed(error);
      return undefined;
    } finally {
      this.#current = null;
      byId("progress").hidden = true;
      this.changed();
    }
  }

  #show(title, progress) {
    const bar = byId("progress-bar");
    byId("progress").hidden = false;
    byId("cancel").disabled = false;
    if (progress) bar.value = progress.fraction;
    else bar.removeAttribute("value");
    byId("progress-text").textContent = progress?.message ? `${title}: ${progress.message}` : title;
    if (!progress) this.changed();
  }
}
