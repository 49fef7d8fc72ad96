// Unpacks Chromium into the folder chromium/ beside this file, and its libraries, which it does on one system only.
process.env.TMPDIR = new URL("chromium", import.meta.url).pathname;
process.env.AWS_EXECUTION_ENV = "AWS_Lambda_nodejs24.x";
const { default: chromium } = await import("@sparticuz/chromium");
await chromium.executablePath();
