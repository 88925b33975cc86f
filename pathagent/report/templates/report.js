"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const wide = matchMedia("(min-width: 901px)");
  const picked = document.getElementById("picked");
  const large = document.getElementById("large");
  const cites = (claim, id) => claim.dataset.cites.split(" ").includes(id);

  const light = (ids, on) => all(".pin[data-e]").forEach((pin) => {
    if (ids.includes(pin.dataset.e)) pin.classList.toggle("lit", on);
  });

  const pick = (id) => {
    all("[data-e]").forEach((node) => node.classList.toggle("on", node.dataset.e === id));
    all(".card").forEach((card) => card.classList.toggle("on", card.id === id));
    all(".claim").forEach((claim) => claim.classList.toggle("cited", cites(claim, id)));
    const copy = document.getElementById(id).cloneNode(true);
    copy.removeAttribute("id");
    picked.replaceChildren(copy);
    picked.hidden = false;
  };

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-e]");
    const zoom = event.target.closest(".zoom");
    if (link) {
      pick(link.dataset.e);
      if (!wide.matches || !link.closest(".bench, .hero")) return;
      event.preventDefault();
      picked.scrollIntoView({ block: "nearest" });
      const claim = all(".claim.cited")[0];
      if (claim && link.matches(".pin")) claim.scrollIntoView({ block: "nearest" });
    } else if (zoom) {
      large.querySelector("div").replaceChildren(zoom.querySelector("svg").cloneNode(true));
      large.showModal();
    } else if (event.target === large) {
      large.close();
    }
  });

  all(".claim").forEach((claim) => {
    const ids = claim.dataset.cites.split(" ");
    claim.addEventListener("mouseenter", () => light(ids, true));
    claim.addEventListener("mouseleave", () => light(ids, false));
  });
})();
