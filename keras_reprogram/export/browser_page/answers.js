// What the model is, and what it answered. Texts never become markup.

const MOST_ROWS = 10;
const MOST_CHARACTERS = 70;
const LONG_LABEL = 12;
const byId = (id) => document.getElementById(id);

export function showFacts({ class_names: names, target_shape: [height, width, channels] }) {
  byId("summary").textContent = `Tells ${number(names.length)} classes apart: ${listed(names)}`;
  byId("target").dataset.size = `${width} × ${height} pixels, ${channels === 1 ? "grey" : "colour"}`;
  byId("target").width = width;
  byId("target").height = height;
  byId("classes-note").textContent = `The best ${MOST_ROWS} of ${number(names.length)} classes.`;
  byId("classes-note").hidden = names.length <= MOST_ROWS;
}

export function clearAnswer() {
  const target = byId("target");
  target.getContext("2d").clearRect(0, 0, target.width, target.height);
  byId("best-label").textContent = "–";
  byId("best-score").textContent = "";
  byId("seen").textContent = `The model sees ${target.dataset.size}.`;
  byId("classes").replaceChildren();
}

// Of several findings those that reach their thresholds are named, of classes the best one.
export function showAnswer(scores, { class_names: names, thresholds }, milliseconds) {
  const classes = names.map((label, index) => ({
    label,
    index,
    score: scores[index],
    found: thresholds !== null && scores[index] >= thresholds[index],
  }));
  const best = [...classes].sort((one, other) => other.score - one.score);
  const named = thresholds === null ? best.slice(0, 1) : best.filter((one) => one.found);
  const text = named.map((one) => one.label).join(", ") || "No finding";
  byId("best-label").textContent = text;
  byId("best-label").classList.toggle("long", text.length > LONG_LABEL);
  byId("best-score").textContent = thresholds === null ? percent(named[0].score) : "";
  byId("seen").textContent = `${milliseconds.toFixed(1)} ms, for ${byId("target").dataset.size}.`;
  // A few classes keep their places while bars move; of many the best come first.
  showRows(names.length <= MOST_ROWS ? classes : best.slice(0, MOST_ROWS), named);
}

function showRows(classes, named) {
  const list = byId("classes");
  while (list.children.length > classes.length) list.lastElementChild.remove();
  while (list.children.length < classes.length) list.append(byId("score-row").content.cloneNode(true));
  classes.forEach((one, place) => {
    const [name, , value] = list.children[place].children;
    name.textContent = name.title = one.label;
    value.textContent = percent(one.score);
    list.children[place].querySelector(".bar").style.width = `${100 * Math.min(1, Math.max(0, one.score))}%`;
    list.children[place].classList.toggle("best", named.includes(one));
  });
}

function listed(names) {
  let length = 0;
  const some = names.filter((name) => (length += name.length + 2) <= MOST_CHARACTERS);
  return some.length < names.length ? `${some.join(", ")} …` : some.join(", ");
}

function number(count) {
  return count.toLocaleString("en");
}

function percent(share) {
  if (share > 0 && share < 0.001) return "< 0.1 %";
  if (share < 1 && share > 0.999) return "> 99.9 %";
  return `${(100 * share).toFixed(1)} %`;
}
