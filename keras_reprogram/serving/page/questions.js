// Questions to the server: one at a time, and of those that wait only the newest.

export async function readFacts() {
  return reply(() => fetch("ui/facts", { cache: "no-store" }));
}

export class Questions {
  #asking = false;
  #next = null;
  #wanted = 0;
  #tell;

  // tell.answer(answer), tell.failure(error), tell.busy(true or false)
  constructor(tell) {
    this.#tell = tell;
  }

  // readFile is called when its turn comes, so that what is sent is what is shown then.
  async ask(readFile) {
    this.#next = readFile;
    if (this.#asking) return;
    this.#asking = true;
    this.#tell.busy(true);
    while (this.#next !== null) await this.#askNext();
    this.#asking = false;
    this.#tell.busy(false);
  }

  // An answer that is still under way is not wanted any more.
  forget() {
    this.#next = null;
    this.#wanted += 1;
  }

  async #askNext() {
    const wanted = this.#wanted;
    const readFile = this.#next;
    this.#next = null;
    try {
      const answer = await askSteps(await readFile());
      if (wanted === this.#wanted) this.#tell.answer(answer);
    } catch (error) {
      if (wanted === this.#wanted) this.#tell.failure(error);
    }
  }
}

function askSteps(file) {
  const request = { method: "POST", headers: { "Content-Type": "application/octet-stream" }, body: file };
  return reply(() => fetch("ui/steps", request));
}

async function reply(send) {
  let response;
  try {
    response = await send();
  } catch {
    throw new Error("The server does not answer. Is it still running?");
  }
  const content = await response.json().catch(() => ({}));
  if (response.ok) return content;
  throw new Error(content.error ?? `The server answered with status ${response.status}.`);
}
