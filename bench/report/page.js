// Two comforts; the page is whole without them.
(() => {
  // Claims by verdict.
  const form = document.getElementById("claim-filter");
  if (form) {
    const rows = [...document.querySelectorAll("#claim-list tbody tr")];
    const filters = [...form.querySelectorAll("select")];
    const update = () => {
      let shown = 0;
      for (const row of rows) {
        const keep = filters.every((f) => !f.value || row.dataset[f.name] === f.value);
        row.hidden = !keep;
        shown += keep;
      }
      form.querySelector("output").value = `${shown} of ${rows.length} claims`;
    };
    form.addEventListener("change", update);
    form.hidden = false;
    update();
  }
  // A link to a folded table unfolds it.
  const reveal = () => {
    const target = document.getElementById(location.hash.slice(1));
    if (target && target.tagName === "DETAILS") {
      target.open = true;
      target.scrollIntoView();
    }
  };
  addEventListener("hashchange", reveal);
  reveal();
})();
