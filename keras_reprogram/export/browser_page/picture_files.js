// Image files: chosen, dropped on the page, or pasted.

const PNG_START = [0x89, 0x50, 0x4e, 0x47];
const PNG_DEPTH = 24;

export function watchForFiles(input, dropSign, take) {
  input.addEventListener("change", () => {
    if (input.files.length) take(input.files[0]);
    // Else choosing the same file again would change nothing.
    input.value = "";
  });
  document.addEventListener("paste", (event) => takeFirst(event.clipboardData));
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    dropSign.hidden = !event.dataTransfer.types.includes("Files");
  });
  document.addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) dropSign.hidden = true;
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    dropSign.hidden = true;
    takeFirst(event.dataTransfer);
  });
  function takeFirst(data) {
    if (data?.files.length) take(data.files[0]);
  }
}

// As in training: turned as EXIF data say, colour profiles left aside, transparency dropped.
export async function readPicture(file) {
  const name = file.name || "this file";
  const head = new Uint8Array(await file.slice(0, PNG_DEPTH + 1).arrayBuffer());
  if (PNG_START.every((octet, place) => head[place] === octet) && head[PNG_DEPTH] === 16) {
    throw new Error(`${name} has 16 bits a channel, of which a browser reads 8. Save it with 8 bits.`);
  }
  try {
    return await createImageBitmap(file, {
      imageOrientation: "from-image",
      colorSpaceConversion: "none",
      premultiplyAlpha: "none",
    });
  } catch {
    throw new Error(`Your browser cannot read ${name} as an image. Choose a PNG or JPEG.`);
  }
}
