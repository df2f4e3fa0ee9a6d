// What the server answered, as images, labels and bars. Texts never become markup.

const PIXELATED_BELOW = 100;
const LONG_LABEL = 12;
const byId = (id) => document.getElementById(id);

export function showAnswer(answer, facts) {
  showImage(byId("target-image"), answer.target_image);
  showViews(answer.views, facts);
  showClasses(answer.classes, facts);
  showVerdict(answer.verdict);
}

export function clearAnswer(facts) {
  byId("target-image").hidden = true;
  byId("best-label").textContent = "–";
  byId("best-score").textContent = "";
  byId("verdict").hidden = true;
  rows(byId("classes"), 0, "score-row");
  rows(byId("views"), facts.num_views, "view-card").forEach((card) => {
    card.querySelector("img").hidden = true;
    rows(card.querySelector("ol"), 0, "score-row");
  });
}

function showViews(views, facts) {
  rows(byId("views"), views.length, "view-card").forEach((card, number) => {
    const image = card.querySelector("img");
    image.alt = `Source image ${number + 1} of ${views.length}`;
    showImage(image, views[number].image);
    const answers = views[number].answers;
    // Features have no largest value, probabilities do.
    const full = facts.scores === "features" ? answers[0].score : 1;
    rows(card.querySelector("ol"), answers.length, "score-row").forEach((row, place) => {
      showScore(row, answers[place], full, place === 0);
    });
  });
}

function showClasses(classes, facts) {
  // Of several findings those that count as found are named, of classes the best one.
  const several = facts.thresholds !== null;
  const named = several ? classes.filter((one) => one.found) : classes.slice(0, 1);
  const text = named.map((one) => one.label).join(", ") || "No finding";
  byId("best-label").textContent = text;
  byId("best-label").classList.toggle("long", text.length > LONG_LABEL);
  byId("best-score").textContent = several ? "" : percent(named[0].score);
  // A few classes keep their places while bars move; of many the best come first.
  const all = classes.length === facts.class_names.length;
  const shown = all ? [...classes].sort((one, other) => one.index - other.index) : classes;
  rows(byId("classes"), shown.length, "score-row").forEach((row, place) => {
    showScore(row, shown[place], 1, named.includes(shown[place]));
  });
}

// Only calibrated models say more than scores.
function showVerdict(verdict) {
  byId("verdict").hidden = verdict === undefined;
  if (verdict !== undefined) byId("verdict").textContent = verdictText(verdict);
}

function verdictText({ set, foreign, accepted, coverage }) {
  if (foreign) return "None of these: the image is unlike those that the model was calibrated on.";
  const asked = `at ${percent(coverage)} coverage`;
  if (accepted) return `Accepted: the only class that is possible ${asked}.`;
  if (set.length === 0) return `None of these: no class is possible ${asked}.`;
  return `Not sure: ${asked} it may be ${set.join(", ")}.`;
}

function showScore(row, { label, score }, full, best) {
  const [name, , value] = row.children;
  name.textContent = name.title = label;
  value.textContent = full === 1 ? percent(score) : score.toPrecision(3);
  row.querySelector(".bar").style.width = `${100 * Math.min(1, Math.max(0, score / full))}%`;
  row.classList.toggle("best", best);
}

function showImage(image, url) {
  image.onload = () => image.classList.toggle("small", image.naturalWidth < PIXELATED_BELOW);
  image.src = url;
  image.hidden = false;
}

// Rows are kept where they are, so that bars move instead of jumping.
function rows(list, count, template) {
  while (list.children.length > count) list.lastElementChild.remove();
  while (list.children.length < count) list.append(byId(template).content.cloneNode(true));
  return [...list.children];
}

function percent(share) {
  if (share > 0 && share < 0.001) return "< 0.1 %";
  if (share < 1 && share > 0.999) return "> 99.9 %";
  return `${(100 * share).toFixed(1)} %`;
}
