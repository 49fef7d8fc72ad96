// @ts-check
// Keeps the share of skipped steps when the number of steps is changed, and says it beside the name.

import { app } from "../../scripts/app.js";

const linked = (/** @type {any} */ node, /** @type {string} */ name) =>
  node.isInputConnected(node.inputs.findIndex((/** @type {any} */ input) => input.widget?.name === name));

/** Calls `then` after what a hook of an object does already. */
function after(/** @type {any} */ owner, /** @type {string} */ hook, /** @type {() => void} */ then) {
  const before = owner[hook];
  owner[hook] = function (/** @type {any[]} */ ...given) {
    const result = before?.apply(this, given);
    then();
    return result;
  };
}

function follow(/** @type {any} */ node) {
  const find = (/** @type {string} */ name) => node.widgets.find((/** @type {any} */ widget) => widget.name === name);
  const steps = find("steps");
  const skip = find("skip_steps");
  const plain = skip.label;
  const name = plain ?? skip.name;
  let share = 0;

  const read = () => {
    share = skip.value / steps.value;
    say();
  };
  const say = () => {
    const label = skip.label ?? name;
    if (label !== name && !(label.startsWith(`${name} (`) && label.endsWith(" %)"))) return; // somebody else's
    const known = !linked(node, "steps") && !linked(node, "skip_steps");
    skip.label = known ? `${name} (${Math.round((100 * skip.value) / steps.value)} %)` : plain;
  };
  after(steps, "callback", () => {
    if (linked(node, "steps") || linked(node, "skip_steps")) return;
    skip.value = Math.min(Math.round(share * steps.value), Math.max(steps.value - 1, 0));
    say();
  });
  after(skip, "callback", read);
  after(node, "onConfigure", read);
  after(node, "onConnectionsChange", read);
  read();
}

app.registerExtension({
  name: "Imprint.SkipShare",
  nodeCreated(/** @type {any} */ node) {
    if (node.comfyClass === "ImprintEFDDPMInvert") follow(node);
  },
});
