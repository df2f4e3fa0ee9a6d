// The page: an image file or the camera's picture is classified, and the answer shown.

import { clearAnswer, showAnswer, showFacts } from "./answers.js";
import { Camera } from "./camera.js";
import { loadClassifier, readFile } from "./classifier.js";
import { readPicture, watchForFiles } from "./picture_files.js";
import { drawCodes, targetCodes } from "./pixels.js";

const LONGEST_SHOWN = 640;
const byId = (id) => document.getElementById(id);

start();

async function start() {
  try {
    const facts = JSON.parse(new TextDecoder().decode(await readFile("model.json")));
    showFacts(facts);
    openPage(await loadClassifier(facts), facts);
    byId("problem").hidden = true;
    byId("main").hidden = false;
  } catch (error) {
    byId("problem").role = "alert";
    byId("problem").textContent = error.message;
  }
}

function openPage(classifier, facts) {
  const classify = async (picture, width, height) => {
    const codes = targetCodes(picture, width, height, facts);
    const { scores, milliseconds } = await classifier.classify(codes);
    drawCodes(byId("target"), codes, facts.target_shape);
    showAnswer(scores, facts, milliseconds);
  };
  const camera = connectCamera(classify);
  const takeFile = async (file) => {
    camera.stop();
    try {
      const picture = await readPicture(file);
      await classify(picture, picture.width, picture.height);
      showPicture(picture);
      showFailure(null);
      picture.close();
    } catch (error) {
      showFailure(error);
    }
  };
  clearAnswer();
  watchForFiles(byId("file"), byId("drop"), takeFile);
}

function connectCamera(classify) {
  const button = byId("camera");
  const camera = new Camera(byId("video"), {
    frame: (video) => classify(video, video.videoWidth, video.videoHeight),
    change: (isOn) => {
      button.textContent = isOn ? "Stop the camera" : "Camera";
      button.ariaPressed = isOn;
      byId("video").hidden = !isOn;
      byId("picture").hidden = true;
      byId("hint").hidden = isOn;
      // Ten answers a second are not to be read out.
      byId("best").ariaLive = isOn ? "off" : "polite";
      if (isOn) showFailure(null);
      else clearAnswer();
    },
    failure: showFailure,
  });
  button.addEventListener("click", () => camera.toggle());
  return camera;
}

function showPicture(picture) {
  const canvas = byId("picture");
  const scale = Math.min(1, LONGEST_SHOWN / Math.max(picture.width, picture.height));
  canvas.width = Math.max(1, Math.round(picture.width * scale));
  canvas.height = Math.max(1, Math.round(picture.height * scale));
  canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
  canvas.classList.toggle("small", Math.max(picture.width, picture.height) < 100);
  canvas.hidden = false;
  byId("hint").hidden = true;
}

function showFailure(error) {
  byId("failure").hidden = error === null;
  byId("failure").textContent = error?.message ?? "";
}
