// The page: what is drawn is asked, and what comes back is shown.

import { clearAnswer, showAnswer } from "./answers.js";
import { Drawing, drawStroke } from "./drawing.js";
import { examplesFor } from "./examples.js";
import { drawByKeyboard, drawByPointer } from "./pens.js";
import { readPicture, watchForFiles } from "./picture_files.js";
import { Questions, readFacts } from "./questions.js";
import { showHead, showTexts } from "./texts.js";

const LONG_SIDE = 320;
const DEBOUNCE_MILLISECONDS = 80;
const byId = (id) => document.getElementById(id);

start();

async function start() {
  try {
    const facts = await readFacts();
    showFailure(null);
    showHead(facts);
    if (facts.problem === undefined) openPage(facts);
  } catch (error) {
    showFailure(error, start);
  }
}

function openPage(facts) {
  showTexts(facts);
  clearAnswer(facts);
  byId("main").hidden = false;
  const canvas = byId("canvas");
  const drawing = new Drawing(canvas, canvasSize(facts.target_shape));
  askAbout(drawing, facts);
  connectControls(drawing, facts);
  drawByPointer(canvas, drawing);
  drawByKeyboard(canvas, byId("pen"), drawing);
  showExamples(drawing, facts);
  watchForFiles(byId("file"), byId("drop"), (file) => takeFile(file, drawing));
}

// Answers come while one draws, unless they cost something.
function askAbout(drawing, facts) {
  let [timer, changes, asked] = [0, 0, 0];
  const questions = new Questions({
    answer: async (answer) => {
      showFailure(null);
      if (answer.version !== facts.version) await renewFacts(facts);
      byId("output").classList.toggle("stale", facts.costs_queries && changes !== asked);
      showAnswer(answer, facts);
    },
    failure: (error) => showFailure(error, ask),
    busy: (busy) => {
      byId("output").setAttribute("aria-busy", busy);
      byId("ask").disabled = busy || drawing.isEmpty;
    },
  });
  const ask = () => {
    asked = changes;
    questions.ask(() => drawing.file());
  };
  byId("asking").hidden = !facts.costs_queries;
  byId("ask").addEventListener("click", ask);
  drawing.addEventListener("change", () => {
    changes += 1;
    clearTimeout(timer);
    if (drawing.isEmpty) {
      questions.forget();
      clearAnswer(facts);
    } else if (facts.costs_queries) {
      byId("ask").disabled = byId("output").getAttribute("aria-busy") === "true";
      byId("output").classList.add("stale");
    } else timer = setTimeout(ask, DEBOUNCE_MILLISECONDS);
  });
}

// Another version may have taken over since the page was opened.
async function renewFacts(facts) {
  Object.assign(facts, await readFacts());
  showHead(facts);
  showTexts(facts);
}

function connectControls(drawing, { target_shape: [, , channels] }) {
  const setBrush = () => (drawing.brush = byId("brush").value / 100);
  setBrush();
  byId("brush").addEventListener("input", setBrush);
  if (channels === 3) {
    const setColour = () => (drawing.colour = byId("colour").value);
    setColour();
    byId("colour").addEventListener("input", setColour);
    byId("colour-control").hidden = false;
  }
  byId("invert").addEventListener("change", (event) => drawing.invert(event.target.checked));
  byId("undo").addEventListener("click", () => drawing.undo());
  byId("clear").addEventListener("click", () => drawing.clear());
  document.addEventListener("keydown", (event) => {
    if (event.key === "z" && (event.ctrlKey || event.metaKey)) drawing.undo();
  });
  const showState = () => {
    byId("hint").hidden = !drawing.isEmpty;
    byId("undo").disabled = byId("clear").disabled = drawing.isEmpty;
    if (drawing.isEmpty) byId("ask").disabled = true;
  };
  drawing.addEventListener("change", showState);
  showState();
}

function showExamples(drawing, { class_names: names, target_shape: shape }) {
  const [ink, paper] = shape[2] === 1 ? ["#ffffff", "#000000"] : ["#000000", "#ffffff"];
  for (const { name, strokes } of examplesFor(names, shape)) {
    const picture = document.createElement("canvas");
    picture.width = picture.height = 64;
    const context = picture.getContext("2d");
    context.fillStyle = paper;
    context.fillRect(0, 0, 64, 64);
    for (const points of strokes) drawStroke(context, { points, brush: 0.1, colour: ink }, 64, 64);
    const button = document.createElement("button");
    button.type = "button";
    button.ariaLabel = button.title = name;
    button.append(picture);
    button.addEventListener("click", () => drawing.replace(strokes));
    byId("examples").append(button);
  }
}

async function takeFile(file, drawing) {
  try {
    const picture = await readPicture(file);
    showFailure(null);
    drawing.showPicture(picture.bitmap, picture.file);
  } catch (error) {
    showFailure(error);
  }
}

function canvasSize([height, width, channels]) {
  const scale = Math.max(LONG_SIDE, height, width) / Math.max(height, width);
  return { width: Math.round(width * scale), height: Math.round(height * scale), channels };
}

// again is called where the person asks for it, if it is given at all.
function showFailure(error, again) {
  byId("failure").hidden = error === null;
  byId("failure-text").textContent = error?.message ?? "";
  byId("again").hidden = again === undefined;
  byId("again").onclick = again ?? null;
}
