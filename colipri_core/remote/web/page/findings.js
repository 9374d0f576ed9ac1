// The findings: bars sorted by probability, a filter, and a field that asks for any phrase.

import { byId, make } from "./dom.js";

const UNCALIBRATED = "Not calibrated: the numbers rank, they are no risks.";

export class FindingsPanel {
  #rows = [];
  #shown = null;

  /** `chosen` receives the name of a finding that was clicked, `asked` a phrase that was typed. */
  constructor({ chosen, asked }) {
    this.chosen = chosen;
    byId("filter").addEventListener("input", () => this.#draw());
    byId("ask").addEventListener("submit", (event) => {
      event.preventDefault();
      const phrase = byId("phrase").value.trim().replace(/\s+/g, " ");
      if (phrase) asked(phrase);
    });
  }

  clear() {
    this.#rows = [];
    this.#shown = null;
    this.#draw();
  }

  /** Add findings, the newer one of a name in place of the older. */
  add(findings, { asked = false } = {}) {
    const rows = new Map(this.#rows.map((row) => [row.name.toLowerCase(), row]));
    for (const finding of findings) rows.set(finding.name.toLowerCase(), { ...finding, asked });
    this.#rows = [...rows.values()].sort((a, b) => b.probability - a.probability || a.name.localeCompare(b.name));
    this.#draw();
  }

  /** Mark the finding whose heat map is shown. */
  mark(name) {
    this.#shown = name;
    this.#draw();
  }

  #draw() {
    const words = byId("filter").value.toLowerCase().split(/\s+/);
    const rows = this.#rows.filter((row) => words.every((word) => row.name.toLowerCase().includes(word)));
    const uncalibrated = this.#rows.some((row) => !row.calibrated);
    byId("findings").replaceChildren(...rows.map((row) => make("li", {}, this.#row(row))));
    byId("uncalibrated").hidden = !uncalibrated;
    byId("findings-note").textContent = this.#note(rows, uncalibrated);
  }

  #note(rows, uncalibrated) {
    if (!this.#rows.length) return "Analyse lists what the model sees.";
    if (!rows.length) return "No finding has these words. Ask for them below.";
    return uncalibrated ? UNCALIBRATED : "Click a finding to see where the model sees it.";
  }

  #row(row) {
    const number = row.probability.toFixed(2);
    const kind = row.calibrated ? "calibrated" : "uncalibrated";
    const button = make(
      "button",
      {
        className: row.asked ? "finding asked" : "finding",
        title: `${row.name}${row.code ? `, ${row.code}` : ""}: probability ${number}, ${kind}`,
        attributes: {
          "aria-pressed": String(row.name === this.#shown),
          "aria-label": `${row.name}, probability ${number}, ${kind}`,
        },
      },
      make("span", { className: "name", textContent: row.name }),
      make("meter", { min: 0, max: 1, value: row.probability, attributes: { "aria-hidden": "true" } }),
      make("span", { className: "number", textContent: number }),
    );
    button.addEventListener("click", () => this.chosen(row.name));
    return button;
  }
}
