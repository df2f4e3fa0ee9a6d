// What stands on the canvas: an image file perhaps, strokes over it, and whether all is inverted.

const WHITE = "#ffffff";
const BLACK = "#000000";

export class Drawing extends EventTarget {
  #canvas;
  #strokes = [];
  #picture = null;
  #paper;

  // Dispatches "change" whenever the canvas shows something else.
  constructor(canvas, { width, height, channels }) {
    super();
    this.#canvas = canvas;
    canvas.width = width;
    canvas.height = height;
    this.#paper = channels === 1 ? BLACK : WHITE;
    this.colour = channels === 1 ? WHITE : BLACK;
    this.brush = 0.1;
    this.inverted = false;
    this.#render();
  }

  get isEmpty() {
    return this.#strokes.length === 0 && this.#picture === null;
  }

  // Positions are shares of the canvas's width and height, the brush is one of its shorter side.
  begin(x, y) {
    // What is shown is inverted at the end, so that it takes the opposite to show a chosen colour.
    const chosen = this.#paper === WHITE && this.inverted ? opposite(this.colour) : this.colour;
    const stroke = { points: [[x, y]], brush: this.brush, colour: chosen };
    this.#strokes.push(stroke);
    this.#changed();
    return stroke;
  }

  // A stroke may be undone while it is drawn.
  extend(stroke, points) {
    if (!this.#strokes.includes(stroke)) return;
    stroke.points.push(...points);
    this.#changed();
  }

  // Strokes as lists of points, in place of what is there.
  replace(strokes) {
    this.#picture = null;
    this.#strokes = strokes.map((points) => ({ points, brush: this.brush, colour: this.colour }));
    this.#changed();
  }

  showPicture(bitmap, file) {
    this.#strokes = [];
    this.#picture = { bitmap, file };
    this.#changed();
  }

  undo() {
    if (this.#strokes.pop() === undefined) this.#picture = null;
    this.#changed();
  }

  clear() {
    this.#strokes = [];
    this.#picture = null;
    this.#changed();
  }

  invert(inverted) {
    this.inverted = inverted;
    this.#changed();
  }

  // The file itself as long as nothing was drawn on it, so that not a pixel of it changes.
  async file() {
    if (this.#picture && this.#strokes.length === 0 && !this.inverted) return this.#picture.file;
    return new Promise((resolve) => this.#canvas.toBlob(resolve, "image/png"));
  }

  #changed() {
    this.#render();
    this.dispatchEvent(new Event("change"));
  }

  #render() {
    const { width, height } = this.#canvas;
    const context = this.#canvas.getContext("2d");
    context.globalCompositeOperation = "source-over";
    context.fillStyle = this.#paper;
    context.fillRect(0, 0, width, height);
    // Stretched, since the model's images are not cropped either.
    if (this.#picture) context.drawImage(this.#picture.bitmap, 0, 0, width, height);
    for (const stroke of this.#strokes) drawStroke(context, stroke, width, height);
    if (this.inverted) {
      context.globalCompositeOperation = "difference";
      context.fillStyle = WHITE;
      context.fillRect(0, 0, width, height);
    }
  }
}

export function drawStroke(context, { points, brush, colour }, width, height) {
  context.strokeStyle = colour;
  context.lineWidth = brush * Math.min(width, height);
  context.lineCap = context.lineJoin = "round";
  context.beginPath();
  context.moveTo(points[0][0] * width, points[0][1] * height);
  for (const [x, y] of points) context.lineTo(x * width, y * height);
  context.stroke();
}

function opposite(colour) {
  const code = 0xffffff - Number.parseInt(colour.slice(1), 16);
  return `#${code.toString(16).padStart(6, "0")}`;
}
