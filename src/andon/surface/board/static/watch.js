// Dragging across a chart of time zooms: the form that the chart names gets both ends and is sent. Without it the form's
// own fields do the same.

/** UTC as the form's fields have it. */
function typed(us) {
  return new Date(us / 1000).toISOString().slice(0, 16);
}

function ends(plot) {
  const [form, since, until] = plot.dataset.zoom.split(" ");
  return { form: document.getElementById(form), since: Number(since), until: Number(until) };
}

document.addEventListener("pointerdown", (event) => {
  const plot = event.target.closest && event.target.closest("[data-zoom]");
  if (!plot || event.button !== 0 || event.pointerType === "touch") return;
  const { form, since, until } = ends(plot);
  const frame = plot.querySelector("svg.chart").getBoundingClientRect();
  if (!form || !(until > since) || event.clientX < frame.left || event.clientX > frame.right) return;
  event.preventDefault();
  const box = plot.getBoundingClientRect();
  const brush = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  brush.setAttribute("class", "brush");
  brush.setAttribute("height", String(frame.height));
  plot.append(brush);
  const inside = (x) => Math.min(frame.right, Math.max(frame.left, x));
  const start = inside(event.clientX);
  const move = (now) => {
    const x = inside(now.clientX);
    brush.setAttribute("width", String(Math.abs(x - start)));
    brush.style.left = `${Math.min(x, start) - box.left}px`;
  };
  const drop = (now) => {
    removeEventListener("pointermove", move);
    removeEventListener("pointerup", drop);
    removeEventListener("pointercancel", drop);
    brush.remove();
    const [low, high] = [start, inside(now.clientX)].sort((a, b) => a - b);
    if (now.type === "pointercancel" || high - low < 6) return;
    const at = (x) => since + ((x - frame.left) / frame.width) * (until - since);
    form.elements.since.value = typed(at(low));
    form.elements.until.value = typed(at(high));
    form.requestSubmit();
  };
  addEventListener("pointermove", move);
  addEventListener("pointerup", drop);
  addEventListener("pointercancel", drop);
});
