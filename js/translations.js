// @ts-check
// Translates what the host shows in English in every language: the tooltips of a menu's settings.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { isOurs } from "./nodes.js";

/** @type {Promise<any> | undefined} */
let translations;

app.registerExtension({
  name: "Imprint.Translations",
  async beforeRegisterNodeDef(/** @type {any} */ _, /** @type {any} */ { name, input }) {
    const locale = /** @type {string} */ (app.extensionManager.setting.get("Comfy.Locale"));
    const menus = Object.entries(input?.required ?? {}).filter(([, [type]]) => type === "COMFY_DYNAMICCOMBO_V3");
    if (locale === "en" || !isOurs(name) || !menus.length) return;
    translations ??= api.fetchApi("/i18n").then((response) => response.json());
    const words = (await translations)[locale]?.nodeDefs?.[name]?.inputs ?? {};
    for (const [menu, [, { options }]] of menus) {
      for (const { inputs } of options) {
        for (const [setting, [, extra]] of Object.values(inputs).flatMap((group) => Object.entries(group))) {
          extra.tooltip = words[`${menu}_${setting}`]?.tooltip ?? extra.tooltip;
        }
      }
    }
  },
});
