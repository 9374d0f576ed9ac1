// Clicks as prompts: a click on a slice says what belongs to the object, and its mask is proposed anew.

import { byId } from "./dom.js";

const DRAG_PIXELS = 4;

export class Labelling {
  #object = 1;
  #state = null;

  /** `prompted` receives {positive, label} after a click in a prompting mode; `step` receives "undo" or "redo". */
  constructor({ prompted, step }) {
    this.prompted = prompted;
    byId("undo").addEventListener("click", () => step("undo"));
    byId("redo").addEventListener("click", () => step("redo"));
    byId("new-object").addEventListener("click", () => this.#begin());
    this.#watch(byId("slices"));
    document.addEventListener("keydown", (event) => this.#key(event, step), { capture: true }); // before the slices
  }

  /** What a click means now: null only looks. */
  get mode() {
    const { value } = document.querySelector("input[name=click]:checked");
    return value === "look" ? null : { positive: value === "positive", label: this.#object };
  }

  /** Show how the labels stand. */
  show(state) {
    this.#state = state;
    this.#object = Math.min(this.#object, this.#next);
    this.enable(true);
    const size = ({ label }) => ((state.voxels[label] ?? 0) * state.voxel_volume_ml).toFixed(1);
    const lines = state.objects.map((item) => `${item.name}: ${size(item)} mL`);
    byId("label-note").textContent = lines.join(", ") || "Choose what a click does, then click on a slice.";
  }

  enable(enabled) {
    byId("undo").disabled = !enabled || !this.#state?.undo.length;
    byId("redo").disabled = !enabled || !this.#state?.redo.length;
    byId("new-object").disabled = !enabled || !this.#state?.objects.length;
  }

  #key(event, step) {
    if (!event.ctrlKey && !event.metaKey) return;
    if (event.target.matches("input[type=text], input[type=search]")) return;
    const wanted = { z: event.shiftKey ? "redo" : "undo", y: "redo" }[event.key.toLowerCase()];
    if (!wanted || byId(wanted).disabled) return;
    event.preventDefault();
    step(wanted);
  }

  get #next() {
    return Math.max(0, ...this.#state.objects.map(({ label }) => label)) + 1;
  }

  #begin() {
    this.#object = this.#next;
    byId("label-note").textContent = `The next click begins object ${this.#object}.`;
  }

  /** A press and release in one place; a drag moves the cursor and prompts nothing. */
  #watch(canvas) {
    let from = null;
    canvas.addEventListener("pointerdown", (event) => {
      from = event.button === 0 ? [event.clientX, event.clientY] : null;
    });
    canvas.addEventListener("pointerup", (event) => {
      if (!from || !this.mode) return;
      const moved = Math.hypot(event.clientX - from[0], event.clientY - from[1]);
      from = null;
      if (moved <= DRAG_PIXELS) setTimeout(() => this.prompted(this.mode)); // NiiVue moves its cursor first
    });
  }
}
