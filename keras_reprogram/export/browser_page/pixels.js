// Pictures as the model was trained on them: framed, resized bilinearly with antialiasing, rounded to 8 bits.

// ITU-R 601 in 1/65536.
const [RED, GREEN, BLUE] = [19595, 38470, 7471];
const board = new OffscreenCanvas(1, 1);

// Codes (h * w * c) of 0 to 255 of a bitmap or a video's frame.
export function targetCodes(picture, width, height, { target_shape: [rows, columns, channels], fit }) {
  const image = channels === 1 ? grey(colours(picture, width, height)) : colours(picture, width, height);
  return resized(framed(image, rows, columns, fit), rows, columns);
}

export function drawCodes(canvas, codes, [rows, columns, channels]) {
  const image = new ImageData(columns, rows);
  for (let pixel = 0; pixel < rows * columns; pixel++) {
    for (let channel = 0; channel < 3; channel++) {
      image.data[4 * pixel + channel] = codes[channels * pixel + (channels === 1 ? 0 : channel)];
    }
    image.data[4 * pixel + 3] = 255;
  }
  canvas.width = columns;
  canvas.height = rows;
  canvas.classList.toggle("small", Math.max(rows, columns) < 100);
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function colours(picture, width, height) {
  board.width = width;
  board.height = height;
  const context = board.getContext("2d", { willReadFrequently: true });
  context.drawImage(picture, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  const codes = new Float32Array(3 * width * height);
  for (let pixel = 0; pixel < width * height; pixel++) {
    for (let channel = 0; channel < 3; channel++) codes[3 * pixel + channel] = data[4 * pixel + channel];
  }
  return { codes, width, height, channels: 3 };
}

function grey({ codes, width, height }) {
  const weighed = new Float32Array(width * height);
  for (let pixel = 0; pixel < weighed.length; pixel++) {
    const [red, green, blue] = [codes[3 * pixel], codes[3 * pixel + 1], codes[3 * pixel + 2]];
    weighed[pixel] = (RED * red + GREEN * green + BLUE * blue + 32768) >> 16;
  }
  return { codes: weighed, width, height, channels: 1 };
}

// Cropped or padded with black to the aspect ratio of the target.
function framed(image, rows, columns, fit) {
  if (fit === "stretch") return image;
  const asHigh = Math.max(1, Math.floor((2 * image.width * rows + columns) / (2 * columns)));
  const asWide = Math.max(1, Math.floor((2 * image.height * columns + rows) / (2 * rows)));
  const choose = fit === "crop" ? Math.min : Math.max;
  const [height, width] = [choose(image.height, asHigh), choose(image.width, asWide)];
  const top = Math.trunc((image.height - height) / 2);
  const left = Math.trunc((image.width - width) / 2);
  const codes = new Float32Array(width * height * image.channels);
  for (let row = Math.max(0, -top); row < Math.min(height, image.height - top); row++) {
    const [first, end] = [Math.max(0, left), Math.min(image.width, left + width)];
    const start = (row + top) * image.width;
    const kept = image.codes.subarray((start + first) * image.channels, (start + end) * image.channels);
    codes.set(kept, (row * width + first - left) * image.channels);
  }
  return { codes, width, height, channels: image.channels };
}

function resized({ codes, width, height, channels }, rows, columns) {
  if (height === rows && width === columns) return codes;
  const high = new Float32Array(rows * width * channels);
  triangles(height, rows).forEach(({ first, weights }, row) => {
    weights.forEach((weight, place) => {
      const [from, to] = [(first + place) * width * channels, row * width * channels];
      for (let number = 0; number < width * channels; number++) high[to + number] += weight * codes[from + number];
    });
  });
  const values = new Float32Array(rows * columns * channels);
  triangles(width, columns).forEach(({ first, weights }, column) => {
    for (let row = 0; row < rows; row++) {
      for (let channel = 0; channel < channels; channel++) {
        let sum = 0;
        weights.forEach((weight, place) => {
          sum += weight * high[(row * width + first + place) * channels + channel];
        });
        values[(row * columns + column) * channels + channel] = halfToEven(Math.min(255, sum));
      }
    }
  });
  return values;
}

// For each output pixel the input pixels that it reads, over half-pixel centres, widened by the shrink factor.
function triangles(inputSize, outputSize) {
  const scale = inputSize / outputSize;
  const radius = Math.max(scale, 1);
  return Array.from({ length: outputSize }, (_, output) => {
    const centre = (output + 0.5) * scale;
    const first = Math.max(0, Math.ceil(centre - radius - 0.5));
    const last = Math.min(inputSize - 1, Math.floor(centre + radius - 0.5));
    const weights = Array.from({ length: last - first + 1 }, (_, place) =>
      Math.max(0, 1 - Math.abs(first + place + 0.5 - centre) / radius)
    );
    const sum = weights.reduce((total, weight) => total + weight, 0);
    return { first, weights: weights.map((weight) => weight / sum) };
  });
}

function halfToEven(value) {
  const rounded = Math.round(value);
  return rounded - value === 0.5 && rounded % 2 === 1 ? rounded - 1 : rounded;
}
