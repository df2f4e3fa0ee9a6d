// Examples that the page draws itself: strokes as lists of points in the unit square.

const arc = (x, y, width, height, from, to) =>
  Array.from({ length: 25 }, (_, step) => {
    const angle = ((from + ((to - from) * step) / 24) * Math.PI) / 180;
    return [x + width * Math.cos(angle), y + height * Math.sin(angle)];
  });

const DIGITS = [
  [arc(0.5, 0.5, 0.22, 0.36, -90, 270)],
  [[[0.34, 0.28], [0.54, 0.14], [0.54, 0.86]]],
  [[...arc(0.49, 0.33, 0.2, 0.19, -170, 35), [0.3, 0.86], [0.72, 0.86]]],
  [[...arc(0.47, 0.31, 0.19, 0.17, -160, 90), ...arc(0.47, 0.67, 0.22, 0.19, -90, 155)]],
  [[[0.5, 0.14], [0.25, 0.62], [0.76, 0.62]], [[0.6, 0.4], [0.6, 0.86]]],
  [[[0.7, 0.14], [0.36, 0.14], [0.32, 0.47], ...arc(0.48, 0.64, 0.22, 0.22, -120, 140)]],
  [[[0.62, 0.14], [0.4, 0.36], ...arc(0.5, 0.66, 0.2, 0.2, 180, 540)]],
  [[[0.28, 0.14], [0.73, 0.14], [0.44, 0.86]]],
  [[...arc(0.5, 0.31, 0.17, 0.17, 90, 450), ...arc(0.5, 0.67, 0.21, 0.19, -90, 270)]],
  [[...arc(0.49, 0.34, 0.19, 0.2, 0, 360), [0.66, 0.86]]],
];
const SHAPES = {
  circle: [arc(0.5, 0.5, 0.34, 0.34, 0, 360)],
  square: [[[0.2, 0.2], [0.8, 0.2], [0.8, 0.8], [0.2, 0.8], [0.2, 0.2]]],
  triangle: [[[0.5, 0.17], [0.84, 0.78], [0.16, 0.78], [0.5, 0.17]]],
  cross: [[[0.22, 0.22], [0.78, 0.78]], [[0.78, 0.22], [0.22, 0.78]]],
  wave: [arc(0.3, 0.5, 0.18, 0.18, -180, 0), arc(0.66, 0.5, 0.18, 0.18, 180, 0)],
};

const SMALL = 16;
const ENLARGED = 1.18;

// Digits for classes that are called so, e.g. "7" or "digit 7", shapes for all others.
export function examplesFor(classNames, [height, width]) {
  const digits = new Set(classNames.map((name) => name.match(/^\D*(\d)$/)?.[1]));
  if (classNames.length === 10 && digits.size === 10 && !digits.has(undefined)) {
    // Data sets of very small images have no room for margins.
    const scale = Math.max(height, width) < SMALL ? ENLARGED : 1;
    return DIGITS.map((strokes, digit) => ({ name: `digit ${digit}`, strokes: scaled(strokes, scale) }));
  }
  return Object.entries(SHAPES).map(([name, strokes]) => ({ name, strokes }));
}

function scaled(strokes, scale) {
  const aboutTheMiddle = (share) => 0.5 + (share - 0.5) * scale;
  return strokes.map((points) => points.map((point) => point.map(aboutTheMiddle)));
}
