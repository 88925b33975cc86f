// The viewer of the chat page in a notebook cell: its tiles come from the kernel, its looks from a report.
// Joined behind `elements.js` and `viewer.js` into one module, with OpenSeadragon before them.

function kernelTiles(model) {
  const waiting = new Map();
  model.on("msg:custom", ({ tile, fault }, [bytes]) => {
    const context = waiting.get(tile);
    waiting.delete(tile);
    if (!context) return;
    if (fault) return context.fail(fault, null);
    const image = new Image();
    image.onload = () => { URL.revokeObjectURL(image.src); context.finish(image, null, "image"); };
    image.onerror = () => context.fail("no image", null);
    image.src = URL.createObjectURL(new Blob([bytes], { type: "image/jpeg" }));
  });
  return () => ({
    getTileUrl: (level, x, y) => `${level}/${x}/${y}`,
    downloadTileStart(context) {
      waiting.set(context.src, context);
      model.send({ tile: context.src });
    },
    downloadTileAbort: (context) => waiting.delete(context.src),
  });
}

function render({ model, el: place }) {
  const root = place.attachShadow({ mode: "open" });
  const sheet = el("style", {}, model.get("_style"));
  const page = new DOMParser().parseFromString(model.get("_page"), "text/html");
  root.append(sheet, el("div", { class: "cell" }, ...page.body.children));
  const list = root.getElementById("evidence");

  const viewer = new SlideViewer({
    root,
    tiles: kernelTiles(model),
    onPick: (id) => change({ picked: id }),
    onRegion: (_, box) => change({ region: box }),
  });
  for (const id of ["layer-heat", "in-view"]) root.getElementById(id).hidden = true;
  const change = (values) => {
    for (const [name, value] of Object.entries(values)) model.set(name, value);
    model.save_changes();
  };
  const show = () => {
    viewer.show(model.get("evidence"));
    root.querySelector(".strip").hidden = !model.get("evidence").length;
    list.replaceChildren(...model.get("evidence").map((item) => el("li", {},
      el("button", { type: "button", "aria-pressed": String(item.id === model.get("picked")), title: item.title, onclick: () => change({ picked: item.id }) },
        el("b", {}, item.id), el("span", {}, item.title)))));
  };
  const pan = () => {
    const item = model.get("evidence").find((e) => e.id === model.get("picked"));
    show();
    if (item) viewer.pan(item, []);
  };
  model.on("change:evidence", show);
  model.on("change:picked", pan);
  model.on("change:region", () => viewer.setDrawn(model.get("region")));
  viewer.open(model.get("slide")).then(() => { show(); if (model.get("picked")) pan(); });
  return () => viewer.osd.destroy();
}

export default { render };
