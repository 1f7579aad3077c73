/** Passes bytes to the person as a file, by download or by the device's share sheet. */

/** Time for the browser to read the file before its URL is revoked. */
const URL_LIFETIME_MS = 60_000;

/** Downloads a file. */
export function download(name: string, bytes: Uint8Array, type: string): void {
  const url = URL.createObjectURL(new Blob([bytes as Uint8Array<ArrayBuffer>], { type }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), URL_LIFETIME_MS);
}

let sharesFiles: boolean | undefined;

/** Whether the device has a share sheet that takes files; checked once. */
export function canShareFiles(): boolean {
  sharesFiles ??=
    typeof navigator.canShare === "function" && navigator.canShare({ files: [probe()] });
  return sharesFiles;
}

function probe(): File {
  return new File([""], "proof.json", { type: "application/json" });
}

/** Offers a file to the share sheet; false if the person or the browser declined. */
export async function shareFile(
  name: string,
  bytes: Uint8Array,
  type: string,
  text: string,
): Promise<boolean> {
  try {
    const file = new File([bytes as Uint8Array<ArrayBuffer>], name, { type });
    await navigator.share({ files: [file], text });
    return true;
  } catch {
    return false;
  }
}
