// LiteRT.js with the model of this folder: codes of an image go in, scores come out.

const PACKAGE = "@litertjs/core";
const BROWSERS = "Use a current Chrome, Edge, Firefox or Safari.";

export async function loadClassifier(facts) {
  if (typeof WebAssembly !== "object") {
    throw new Error(`The model cannot run here: this browser has no WebAssembly, or it is switched off. ${BROWSERS}`);
  }
  const litert = await importRuntime();
  // Only pages that their server isolates (docs: Cross-Origin-Opener-Policy) may use threads.
  const threads = self.crossOriginIsolated && (await litert.supportsFeature("relaxedSimd"));
  try {
    await litert.loadLiteRt(import.meta.resolve(`${PACKAGE}/wasm/`), { threads });
  } catch (error) {
    throw new Error(`LiteRT.js cannot start in this browser (${reason(error)}). ${BROWSERS}`);
  }
  const file = await readFile(facts.model_file);
  try {
    const model = await litert.loadAndCompile(file, { accelerator: "wasm" });
    return new Classifier(litert, model, facts);
  } catch (error) {
    throw new Error(`LiteRT.js cannot run ${facts.model_file} (${reason(error)}). Export the page again.`);
  }
}

class Classifier {
  constructor(litert, model, { target_shape: shape, target_range: [low, high] }) {
    Object.assign(this, { litert, model, shape: [1, ...shape], low, scale: (high - low) / 255 });
  }

  // Codes of 0 to 255, one a channel, fill the range of the model's images.
  async classify(codes) {
    const pixels = Float32Array.from(codes, (code) => code * this.scale + this.low);
    const image = new this.litert.Tensor(pixels, this.shape);
    const start = performance.now();
    const outputs = await this.model.run("serving_default", { image });
    const milliseconds = performance.now() - start;
    const scores = [...outputs.scores.toTypedArray()];
    // WebAssembly's memory is not collected.
    for (const tensor of [image, ...Object.values(outputs)]) tensor.delete();
    return { scores, milliseconds };
  }
}

async function importRuntime() {
  try {
    return await import(PACKAGE);
  } catch (error) {
    throw new Error(
      "LiteRT.js is not in this page's folder. Run `npm ci` in that folder (Node.js has it) and reload the page. " +
      `The browser said: ${reason(error)}.`
    );
  }
}

export async function readFile(name) {
  const response = await fetch(new URL(name, document.baseURI));
  if (!response.ok) {
    throw new Error(`The server of this page has no ${name} (status ${response.status}). Export the page again.`);
  }
  return new Uint8Array(await response.arrayBuffer());
}

function reason(error) {
  return String(error?.message ?? error).replace(/[.\s]+$/, "");
}
