// The draft report: sentences arrive as they are written; each leads to its place and says what speaks against it.

import { byId, make } from "./dom.js";

export class ReportPanel {
  #shown = null;

  /** `chosen` receives a sentence that was clicked. */
  constructor({ chosen }) {
    this.chosen = chosen;
  }

  clear() {
    byId("report").replaceChildren();
    byId("report-note").textContent = "Each sentence leads to its place.";
  }

  /** A sentence of a report that is still being written; what it rests on follows at the end. */
  append({ text, place_ras, support, flags }) {
    const row = { text, place_ras, phrase: support.evidence_text, flags: flags.join(", "), details: [] };
    byId("report").append(...this.#row(row));
  }

  show(report) {
    const parts = report.sections.flatMap((section) => [
      make("h3", { textContent: section.name }),
      ...section.sentences.flatMap((row) => this.#row(row)),
    ]);
    byId("report").replaceChildren(...parts);
    byId("report-note").textContent = report.notices.join(" ");
  }

  /** Mark the sentences whose evidence is shown. */
  mark(phrase) {
    this.#shown = phrase;
    for (const button of byId("report").querySelectorAll(".sentence")) {
      button.setAttribute("aria-pressed", String(phrase !== null && button.dataset.phrase === phrase));
    }
  }

  #row(sentence) {
    const button = make(
      "button",
      { className: "sentence", attributes: { "aria-pressed": String(sentence.phrase !== null && sentence.phrase === this.#shown) } },
      make("span", { textContent: sentence.text }),
    );
    button.dataset.phrase = sentence.phrase ?? "";
    if (sentence.flags) button.append(make("br"), make("span", { className: "flags", textContent: `\u26a0 ${sentence.flags}` }));
    button.addEventListener("click", () => this.chosen(sentence));
    if (!sentence.details.length) return [button];
    const lines = sentence.details.map((line) => make("li", { textContent: line }));
    const summary = make("summary", { textContent: "What it rests on" });
    return [button, make("details", {}, summary, make("ul", {}, ...lines))];
  }
}
