// The camera, whose frames are handed over one after the other while it is on.

const REST_MILLISECONDS = 100;

export class Camera {
  constructor(video, { frame, change, failure }) {
    Object.assign(this, { video, frame, change, failure, stream: null, asking: false });
  }

  async toggle() {
    if (this.stream) this.stop();
    else if (!this.asking) await this.start();
  }

  async start() {
    this.asking = true;
    try {
      // A phone's back camera, where there are two.
      const stream = await cameras().getUserMedia({ video: { facingMode: "environment" } });
      this.stream = stream;
      this.video.srcObject = stream;
      for (const track of stream.getTracks()) track.addEventListener("ended", () => this.stop());
      this.change(true);
      await this.video.play();
      this.handOver(stream);
    } catch (error) {
      this.stop();
      this.failure(new Error(whyNot(error)));
    } finally {
      this.asking = false;
    }
  }

  stop() {
    if (!this.stream) return;
    for (const track of this.stream.getTracks()) track.stop();
    this.stream = this.video.srcObject = null;
    this.change(false);
  }

  async handOver(stream) {
    while (this.stream === stream) {
      try {
        if (this.video.videoWidth) await this.frame(this.video);
      } catch (error) {
        this.stop();
        this.failure(error);
      }
      await new Promise((resolve) => setTimeout(resolve, REST_MILLISECONDS));
      // A page that nobody sees waits here.
      await new Promise((resolve) => requestAnimationFrame(resolve));
    }
  }
}

function cameras() {
  if (!navigator.mediaDevices) {
    throw new Error("browsers give it only to pages from https or from this machine (localhost, 127.0.0.1)");
  }
  return navigator.mediaDevices;
}

function whyNot(error) {
  const known = {
    NotAllowedError: "it was not allowed. Allow it in the browser's settings of this page",
    NotFoundError: "none was found",
    NotReadableError: "another program uses it",
  };
  return `The camera cannot be opened: ${known[error.name] ?? error.message}. Image files work without it.`;
}
