// The slide: deep zoom, scale, evidence boxes, layers, and the rectangle that a reader draws.
// All boxes are level-0 pixels {x, y, width, height}.

import { el, say } from "./elements.js";

const MIN_DRAWN = 8;

export class SlideViewer {
  // root: document or shadow root that holds `stage.html.j2`. tiles(slide): the tile source's own part.
  // heat(slide): a promise of the heat map.
  constructor({ root = document, tiles, heat, onPick, onRegion }) {
    this.$ = (id) => root.getElementById(id);
    this.tiles = tiles;
    this.askHeat = heat;
    this.onPick = onPick;
    this.onRegion = onRegion;
    this.evidence = [];
    this.layers = { boxes: true, visited: false, heat: false };
    this.slide = null;
    this.osd = OpenSeadragon({
      element: this.$("viewer"),
      drawer: "canvas",
      showNavigationControl: false,
      showNavigator: true,
      navigatorPosition: "TOP_RIGHT",
      navigatorSizeRatio: 0.16,
      animationTime: matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 0.6,
      maxZoomPixelRatio: 4,
      visibilityRatio: 0.4,
      gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
      gestureSettingsTouch: { clickToZoom: false },
      crossOriginPolicy: false,
      ajaxWithCredentials: false,
    });
    window.__viewer = this;
    for (const event of ["animation", "open", "resize"]) this.osd.addHandler(event, () => this.showScale());
    this.osd.addHandler("open", () => this.redraw());
    this.bindTools();
  }

  async open(slide) {
    this.slide = slide;
    this.heat = null;
    say(this.$("slide-fault"), slide.problem);
    if (slide.problem) return this.osd.close();
    const top = Math.ceil(Math.log2(Math.max(slide.width, slide.height)));
    await new Promise((resolve) => {
      this.osd.addOnceHandler("open", resolve);
      this.osd.open({
        width: slide.width, height: slide.height, tileSize: 256, tileOverlap: 0, minLevel: Math.min(8, top), maxLevel: top,
        ...this.tiles(slide),
      });
    });
  }

  rectangle(box) {
    return this.osd.viewport.imageToViewportRectangle(box.x, box.y, box.width, box.height);
  }

  show(evidence) {
    this.evidence = evidence;
    this.redraw();
  }

  here() {
    return this.evidence.filter((e) => this.slide && e.region.slide === this.slide.case_id);
  }

  pickedLast() {
    return this.here().sort((a, b) => (a.id === this.picked) - (b.id === this.picked));
  }

  redraw() {
    if (!this.osd.isOpen()) return;
    this.osd.clearOverlays();
    if (this.layers.heat && this.heat) this.canvas((context, scale) => paintHeat(context, scale, this.heat));
    if (this.layers.visited) this.canvas((context, scale) => this.paintVisited(context, scale));
    if (this.layers.boxes) for (const item of this.pickedLast()) this.box(item);
    if (this.drawn) this.osd.addOverlay({ element: el("div", { class: "drawn" }), location: this.rectangle(this.drawn) });
    if (this.looking?.slide === this.slide?.case_id) this.osd.addOverlay({ element: el("div", { class: "looking" }), location: this.rectangle(this.looking) });
  }

  box(item) {
    const node = el("div", { class: `box${item.id === this.picked ? " on" : ""}`, "data-id": item.id, title: `${item.id} ${item.title ?? ""}` }, el("span", {}, item.id));
    this.osd.addOverlay({ element: node, location: this.rectangle(item.region) });
    new OpenSeadragon.MouseTracker({ element: node, clickHandler: (event) => event.quick && this.onPick(item.id) });
  }

  canvas(paint) {
    const scale = Math.min(1, 1600 / Math.max(this.slide.width, this.slide.height));
    const node = el("canvas", { class: "layer", width: Math.round(this.slide.width * scale), height: Math.round(this.slide.height * scale) });
    paint(node.getContext("2d"), scale);
    this.osd.addOverlay({ element: node, location: this.rectangle({ x: 0, y: 0, width: this.slide.width, height: this.slide.height }) });
  }

  paintVisited(context, scale) {
    context.fillStyle = "rgba(18, 28, 48, 0.42)";
    context.fillRect(0, 0, context.canvas.width, context.canvas.height);
    for (const { region } of this.here()) context.clearRect(region.x * scale, region.y * scale, region.width * scale, region.height * scale);
  }

  // Shows a look so that it fills most of the view.
  async pan(item, slides) {
    if (item.region.slide !== this.slide?.case_id) {
      const slide = slides.find((s) => s.case_id === item.region.slide);
      this.$("slide").value = slide.case_id;
      await this.open(slide);
    }
    this.picked = item.id;
    this.redraw();
    const { x, y, width, height } = item.region;
    const margin = 0.12;
    this.osd.viewport.fitBounds(this.rectangle({ x: x - width * margin, y: y - height * margin, width: width * (1 + 2 * margin), height: height * (1 + 2 * margin) }));
  }

  // Where a look is drawn and how much of the view it takes; for tests and for those who script the page.
  where(id) {
    const box = this.here().find((e) => e.id === id)?.region;
    const r = this.osd.viewport.viewportToViewerElementRectangle(this.rectangle(box));
    const size = this.osd.viewport.getContainerSize();
    return { x: r.x + r.width / 2 - size.x / 2, y: r.y + r.height / 2 - size.y / 2, share: (r.width * r.height) / (size.x * size.y) };
  }

  setLooking(region) {
    this.looking = region;
    this.redraw();
  }

  setDrawn(box) {
    this.drawn = box;
    this.redraw();
  }

  showScale() {
    if (!this.osd.isOpen() || !this.slide) return;
    const perPx = this.slide.mpp / this.osd.viewport.viewportToImageZoom(this.osd.viewport.getZoom(true));
    const room = 120 * perPx;
    const power = 10 ** Math.floor(Math.log10(room));
    const um = [5, 2, 1].map((s) => s * power).find((s) => s <= room);
    this.$("bar-line").style.width = `${um / perPx}px`;
    this.$("bar-text").textContent = um >= 1000 ? `${um / 1000} mm` : `${um < 1 ? um.toPrecision(1) : um} µm`;
    const times = 10 / perPx;
    this.$("magnification").textContent = `${times >= 10 ? Math.round(times) : times.toPrecision(2)}×${this.slide.mpp_assumed ? " (resolution assumed)" : ""}`;
  }

  bindTools() {
    this.$("zoom-in").addEventListener("click", () => this.osd.viewport.zoomBy(1.6).applyConstraints());
    this.$("zoom-out").addEventListener("click", () => this.osd.viewport.zoomBy(1 / 1.6).applyConstraints());
    this.$("whole").addEventListener("click", () => this.osd.viewport.goHome());
    for (const layer of ["boxes", "visited", "heat"]) this.$(`layer-${layer}`).addEventListener("click", () => this.toggle(layer));
    this.$("draw").addEventListener("click", () => this.drawing(this.$("drawing").hidden));
    this.$("in-view").addEventListener("click", () => this.regionOfView());
    bindDrawing(this.$("drawing"), (corners) => {
      this.drawing(false);
      const [a, b] = corners.map((c) => this.osd.viewport.viewerElementToImageCoordinates(new OpenSeadragon.Point(c.x, c.y)));
      this.give(Math.min(a.x, b.x), Math.min(a.y, b.y), Math.max(a.x, b.x), Math.max(a.y, b.y));
    });
  }

  async toggle(layer) {
    this.layers[layer] = !this.layers[layer];
    if (layer === "heat" && this.layers.heat && !this.heat) {
      try {
        this.heat = await this.askHeat(this.slide);
      } catch (error) {
        this.layers.heat = false;
        say(this.$("slide-fault"), error.message);
        setTimeout(() => say(this.$("slide-fault"), ""), 5000);
      }
    }
    this.$(`layer-${layer}`).setAttribute("aria-pressed", String(this.layers[layer]));
    this.redraw();
  }

  drawing(on) {
    this.$("drawing").hidden = !on;
    this.$("draw").setAttribute("aria-pressed", String(on));
  }

  regionOfView() {
    const r = this.osd.viewport.viewportToImageRectangle(this.osd.viewport.getBounds(true));
    this.give(r.x, r.y, r.x + r.width, r.y + r.height);
  }

  give(left, top, right, bottom) {
    const x = Math.max(0, Math.round(left)), y = Math.max(0, Math.round(top));
    const width = Math.min(this.slide.width, Math.round(right)) - x, height = Math.min(this.slide.height, Math.round(bottom)) - y;
    if (width < MIN_DRAWN || height < MIN_DRAWN) return;
    this.setDrawn({ x, y, width, height });
    this.onRegion(this.slide, { x, y, width: Math.max(16, width), height: Math.max(16, height) });
  }
}

function paintHeat(context, scale, heat) {
  for (const [x, y, value] of heat.tiles) {
    context.fillStyle = `hsla(${48 - 44 * value}, 95%, ${60 - 12 * value}%, ${0.08 + 0.55 * value})`;
    context.fillRect(x * scale, y * scale, heat.side * scale + 0.5, heat.side * scale + 0.5);
  }
}

function bindDrawing(pane, done) {
  let from = null;
  const mark = el("div", { class: "drawn" });
  const at = (event) => ({ x: event.offsetX, y: event.offsetY });
  pane.addEventListener("pointerdown", (event) => {
    from = at(event);
    pane.setPointerCapture(event.pointerId);
    pane.replaceChildren(mark);
  });
  pane.addEventListener("pointermove", (event) => {
    if (!from) return;
    const to = at(event);
    Object.assign(mark.style, { left: `${Math.min(from.x, to.x)}px`, top: `${Math.min(from.y, to.y)}px`, width: `${Math.abs(to.x - from.x)}px`, height: `${Math.abs(to.y - from.y)}px` });
  });
  pane.addEventListener("pointerup", (event) => {
    if (from) done([from, at(event)]);
    from = null;
    pane.replaceChildren();
  });
}
