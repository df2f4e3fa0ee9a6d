// Ways to draw: mouse, touch and pen, or the keyboard.

const STEP = 0.02;
const LONG_STEP = 0.08;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export function drawByPointer(canvas, drawing) {
  let pointer = null;
  let stroke = null;
  const position = (event) => {
    const box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (pointer !== null || event.button !== 0) return;
    pointer = event.pointerId;
    canvas.setPointerCapture(pointer);
    stroke = drawing.begin(...position(event));
  });
  canvas.addEventListener("pointermove", (event) => {
    if (event.pointerId !== pointer) return;
    const passed = event.getCoalescedEvents();
    drawing.extend(stroke, (passed.length ? passed : [event]).map(position));
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, (event) => {
      if (event.pointerId === pointer) pointer = null;
    });
  }
}

export function drawByKeyboard(canvas, mark, drawing) {
  let [x, y] = [0.5, 0.5];
  let stroke = null;
  const show = (shown) => {
    mark.hidden = !shown;
    mark.classList.toggle("down", stroke !== null);
    mark.style.left = `${x * 100}%`;
    mark.style.top = `${y * 100}%`;
  };
  const move = ([right, below], step) => {
    x = Math.min(1, Math.max(0, x + right * step));
    y = Math.min(1, Math.max(0, y + below * step));
    if (stroke) drawing.extend(stroke, [[x, y]]);
  };
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in ARROWS) move(ARROWS[event.key], event.shiftKey ? LONG_STEP : STEP);
    else if (event.key === " ") stroke = stroke ? null : drawing.begin(x, y);
    else return;
    show(true);
    event.preventDefault();
  });
  for (const end of ["blur", "pointerdown"]) {
    canvas.addEventListener(end, () => {
      stroke = null;
      show(false);
    });
  }
}
