// The outlined structures: a switch, a colour and a volume each; a click goes to the midst of one.

import { byId, make } from "./dom.js";

export class StructuresPanel {
  #segments = [];

  /** `changed` receives all segments when one is switched, `chosen` the place of one that was clicked. */
  constructor({ changed, chosen }) {
    this.changed = changed;
    this.chosen = chosen;
  }

  clear(note = "Analyse outlines what the model knows.") {
    this.#segments = [];
    byId("structures").replaceChildren();
    byId("structures-note").textContent = note;
    byId("structures-note").hidden = false;
  }

  get segments() {
    return this.#segments;
  }

  show(segments) {
    this.#segments = segments;
    byId("structures").replaceChildren(...segments.map((segment) => make("li", {}, this.#row(segment))));
    byId("structures-note").hidden = segments.length > 0;
  }

  #row(segment) {
    const found = segment.center_ras !== null;
    const box = make("input", { type: "checkbox", checked: segment.shown, disabled: !found });
    box.setAttribute("aria-label", `Show ${segment.name}`);
    box.addEventListener("change", () => {
      segment.shown = box.checked;
      this.changed(this.#segments);
    });
    const swatch = make("span", { className: "swatch" });
    swatch.style.backgroundColor = `rgb(${segment.color.join(" ")})`;
    const name = make("button", { textContent: segment.name, disabled: !found, title: segment.code });
    name.addEventListener("click", () => this.chosen(segment.center_ras));
    const volume = make("span", { className: "volume", textContent: volumeText(segment, found) });
    return make("div", { className: "structure" }, box, swatch, name, volume);
  }
}

function volumeText(segment, found) {
  return found ? `${segment.volume_ml.toFixed(segment.volume_ml < 10 ? 1 : 0)} mL` : "not found";
}
