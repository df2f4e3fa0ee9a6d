// Sentences about the model that is served.

const MOST_CHARACTERS = 70;
const byId = (id) => document.getElementById(id);

export function showHead({ model_name: name, version, problem }) {
  document.title = name;
  byId("model-name").textContent = name;
  byId("version").textContent = `version ${version}`;
  byId("version").hidden = false;
  byId("problem").textContent = problem ?? "";
  byId("problem").hidden = problem === undefined;
}

export function showTexts(facts) {
  const classes = number(facts.class_names.length);
  const labels = number(facts.source_labels.length);
  const views = counted(facts.num_views, "source image");
  const [what, others] = facts.scores === "features" ? ["features", "features"] : ["labels", "other labels"];
  byId("summary").textContent =
    `A frozen source of ${labels} ${others} tells ${classes} classes apart: ${listed(facts.class_names)}`;
  byId("target-size").textContent = `${pixels(facts.target_shape)}, ${colours(facts.target_shape)}`;
  byId("views-text").textContent =
    `The program turns it into ${views} of ${pixels(facts.source_shape)} pixels. Under each stand the source's own ` +
    `highest ${what}; all ${labels} of them are read as one of your classes.`;
  byId("classes-note").textContent = `The best 10 of ${classes} classes.`;
  byId("classes-note").hidden = facts.class_names.length <= 10;
  byId("price").textContent =
    `Each question costs ${counted(facts.num_views, "image query", "image queries")} of the source, so nothing is asked while you draw.`;
}

function listed(names) {
  let length = 0;
  const some = names.filter((name) => (length += name.length + 2) <= MOST_CHARACTERS);
  return some.length < names.length ? `${some.join(", ")} …` : some.join(", ");
}

function number(count) {
  return count.toLocaleString("en");
}

function counted(count, one, many = `${one}s`) {
  return `${number(count)} ${count === 1 ? one : many}`;
}

function pixels([height, width]) {
  return `${width} × ${height}`;
}

function colours([, , channels]) {
  return channels === 1 ? "grey" : "colour";
}
