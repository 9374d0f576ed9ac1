// Three slices of the CT with its overlays, drawn by NiiVue. Positions are RAS+ mm, as everywhere.

import { NVImage, Niivue } from "./niivue.js";
import { byId } from "./dom.js";

/** Level and width of the usual windows, in HU. */
const WINDOWS = { lung: [-600, 1500], mediastinum: [40, 400], bone: [400, 1800] };

const AXIAL = 0;
const CORONAL = 1;
const SAGITTAL = 2;
const LAYOUT = [
  { sliceType: AXIAL, position: [0, 0, 0.6, 1] },
  { sliceType: CORONAL, position: [0.6, 0, 0.4, 0.5] },
  { sliceType: SAGITTAL, position: [0.6, 0.5, 0.4, 0.5] },
];

/** Voxels shown at most: software renderers take seconds for what a GPU does at once. */
const BUDGETS = { gpu: 24_000_000, software: 3_000_000 };
const SOFTWARE = /swiftshader|llvmpipe|software|basic render/i;

const OPACITY = { structures: 0.4, labels: 0.55, heat: 0.6 };
const OVERLAYS = Object.keys(OPACITY); // drawn in this order

export class View {
  #overlays = new Map();
  #ct = null;

  /** `moved` receives the cursor's place and the value shown there. */
  constructor({ moved }) {
    this.moved = moved;
    this.niivue = new Niivue({
      backColor: [0, 0, 0, 1],
      crosshairColor: [0.31, 0.61, 0.94, 0.9],
      crosshairWidth: 0.8,
      crosshairWidthUnit: "mm",
      crosshairGap: 8,
      fontColor: [0.8, 0.82, 0.86, 1],
      dragAndDropEnabled: false,
      dragMode: 3, // the right button pans
      isRadiologicalConvention: true,
      loadingText: "",
      logLevel: "error",
      multiplanarShowRender: 0,
    });
    this.niivue.onLocationChange = ({ mm, values }) => this.moved([mm[0], mm[1], mm[2]], values[0]?.value);
  }

  /** Begin to draw. Rejects where the browser has no WebGL2. */
  async start() {
    const canvas = byId("slices");
    if (!document.createElement("canvas").getContext("webgl2")) {
      throw new Error("This browser offers no WebGL2, which the slices need. Switch it on, or use a current browser.");
    }
    await this.niivue.attachToCanvas(canvas);
    this.niivue.setCustomLayout(LAYOUT);
    byId("stage").addEventListener("keydown", (event) => this.#key(event), { capture: true });
  }

  /** Voxels this browser can show without freezing. */
  get budget() {
    const { gl } = this.niivue;
    const names = gl.getExtension("WEBGL_debug_renderer_info");
    const renderer = names ? gl.getParameter(names.UNMASKED_RENDERER_WEBGL) : "";
    return SOFTWARE.test(renderer) ? BUDGETS.software : BUDGETS.gpu;
  }

  /** Voxels shown along the CT's own axes. */
  get shape() {
    return this.#ct.hdr.dims.slice(1, 4);
  }

  /** Show a CT; overlays of the former one go. */
  async showCt(content, preset) {
    const [low, high] = limits(preset);
    const ct = await NVImage.new(content, "ct.nii", "gray", 1, null, low, high);
    this.#overlays.clear();
    this.niivue.overlays = [];
    this.niivue.volumes = [];
    this.niivue.addVolume(ct);
    this.#ct = ct;
    byId("empty").hidden = true;
  }

  setWindow(preset) {
    if (!this.#ct) return;
    const [low, high] = limits(preset);
    this.#ct.cal_min = Number.isNaN(low) ? this.#ct.global_min : low;
    this.#ct.cal_max = Number.isNaN(high) ? this.#ct.global_max : high;
    this.niivue.updateGLVolume();
  }

  /** Show a heat map; its 255 steps lie between the limits the server chose, 0 is clear. */
  async showHeat(content) {
    await this.#put("heat", await NVImage.new(content, "heat.nii", "inferno", OPACITY.heat, null, 1, 255));
  }

  /** Show a labelmap; `segments` have label, name, color and shown. */
  async showLabels(role, content, segments) {
    const image = await NVImage.new(content, `${role}.nii`, "gray", OPACITY[role]);
    image.segments = segments;
    paint(image);
    await this.#put(role, image);
  }

  /** Change colours or visibility of the segments of a labelmap. */
  repaint(role, segments) {
    const image = this.#overlays.get(role);
    if (!image) return;
    image.segments = segments;
    paint(image);
    this.#redraw();
  }

  setShown(role, shown) {
    const image = this.#overlays.get(role);
    if (!image) return;
    image.opacity = shown ? OPACITY[role] : 0;
    this.#redraw();
  }

  /** Slice through a place. */
  goTo(ras) {
    if (!this.#ct) return;
    const { niivue } = this;
    niivue.scene.crosshairPos = niivue.mm2frac([...ras, 1], 0, true);
    niivue.createOnLocationChange();
    niivue.drawScene();
  }

  /** The cursor's place. */
  get cursor() {
    const mm = this.niivue.frac2mm(this.niivue.scene.crosshairPos, 0, true);
    return [mm[0], mm[1], mm[2]];
  }

  async #put(role, image) {
    this.#overlays.set(role, image);
    this.#redraw();
  }

  /** Draw the overlays anew. NiiVue's own way redraws the CT too, with gradients that only its 3D view needs. */
  #redraw() {
    const { niivue } = this;
    const overlays = OVERLAYS.filter((role) => this.#overlays.has(role)).map((role) => this.#overlays.get(role));
    niivue.volumes = [this.#ct, ...overlays];
    niivue.overlays = overlays;
    overlays.forEach((image, index) => niivue.refreshLayers(image, index + 1));
    niivue.drawScene();
  }

  #key(event) {
    const moves = {
      ArrowLeft: [-1, 0, 0],
      ArrowRight: [1, 0, 0],
      ArrowUp: [0, 1, 0],
      ArrowDown: [0, -1, 0],
      PageUp: [0, 0, 1],
      PageDown: [0, 0, -1],
    };
    event.stopPropagation(); // NiiVue's own keys would change modes that this page does not show
    const move = moves[event.key];
    if (!move || !this.#ct) return;
    event.preventDefault();
    const [x, y, z] = move.map((step) => step * (event.shiftKey ? 10 : 1));
    this.niivue.moveCrosshairInVox(-x, y, z); // the patient's right is on the left of the screen
  }
}

function limits(preset) {
  if (!(preset in WINDOWS)) return [NaN, NaN];
  const [level, width] = WINDOWS[preset];
  return [level - width / 2, level + width / 2];
}

function paint(image) {
  const { segments } = image;
  image.setColormapLabel({
    R: [0, ...segments.map(({ color }) => color[0])],
    G: [0, ...segments.map(({ color }) => color[1])],
    B: [0, ...segments.map(({ color }) => color[2])],
    A: [0, ...segments.map(({ shown }) => (shown ? 255 : 0))],
    I: [0, ...segments.map(({ label }) => label)],
    labels: ["", ...segments.map(({ name }) => name)],
  });
}
