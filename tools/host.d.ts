// What js/ imports from the host, by the host's published types; the checker finds no such files.

declare module "*/scripts/app.js" {
  import type { ComfyApp } from "@comfyorg/comfyui-frontend-types";
  export const app: ComfyApp;
}

declare module "*/scripts/api.js" {
  import type { ComfyApi } from "@comfyorg/comfyui-frontend-types";
  /** The host passes on what a pack's nodes send under names of their own. */
  type OwnEvents = {
    addEventListener(type: `imprint.${string}`, callback: (event: CustomEvent) => void): void;
  };
  export const api: ComfyApi & OwnEvents;
}

/** The page's; the published types name its class and do not export it. */
declare const LiteGraph: any;
