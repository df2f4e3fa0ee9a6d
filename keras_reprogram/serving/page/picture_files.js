// Image files: chosen, dropped on the page, or pasted.

const SENT_AS_THEY_ARE = ["image/png", "image/jpeg"];

export function watchForFiles(input, dropSign, take) {
  input.addEventListener("change", () => {
    if (input.files.length) take(input.files[0]);
    // Else choosing the same file again would change nothing.
    input.value = "";
  });
  document.addEventListener("paste", (event) => {
    const file = event.clipboardData?.files[0];
    if (file) take(file);
  });
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
    const file = event.dataTransfer.files[0];
    if (file) take(file);
  });
}

// The bitmap to show, and the file to send: the server reads PNG and JPEG, the browser more.
export async function readPicture(file) {
  let bitmap;
  try {
    // As the model sees it: the server turns photographs as their EXIF data say.
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    throw new Error(`Your browser cannot read ${file.name || "this file"} as an image. Choose a PNG or JPEG.`);
  }
  return { bitmap, file: SENT_AS_THEY_ARE.includes(file.type) ? file : await asPng(bitmap) };
}

function asPng(bitmap) {
  const canvas = document.createElement("canvas");
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}
