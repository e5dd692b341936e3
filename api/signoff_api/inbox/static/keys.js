"use strict";
// The keyboard. Which key does what is the server's registry, read from the help dialog; here it is only listened to.
(() => {
  const SWITCH = "signoff.keys";
  const WAIT_MS = 900;
  const actions = new Map();
  let pending = "";
  let timer = 0;

  const scope = () => document.body.dataset.scope || "";
  const on = () => localStorage.getItem(SWITCH) !== "off";
  const typing = (target) =>
    target instanceof HTMLElement && (target.isContentEditable || /^(TEXTAREA|SELECT)$/.test(target.tagName) ||
      (target.tagName === "INPUT" && !/^(checkbox|radio|button|submit)$/.test(target.type)));

  const bindings = () => [...document.querySelectorAll("#keys-help [data-keys]")]
    .map((entry) => ({ keys: entry.dataset.keys, action: entry.dataset.action, scope: entry.dataset.keyScope }))
    .filter((binding) => binding.scope === "everywhere" || binding.scope === scope());

  const pressed = (event) => {
    const name = event.key;
    return (event.ctrlKey || event.metaKey) ? "Control+" + name : name;
  };

  document.addEventListener("keydown", (event) => {
    if (event.isComposing || event.keyCode === 229 || event.altKey) return;
    const press = pressed(event);
    const fromField = typing(event.target);
    // Confirming is meant to work from inside the note; everything else is only a letter there.
    if (fromField && press !== "Control+Enter" && press !== "Escape") return;
    if (!on() && press !== "Control+Enter" && press !== "Escape") return;
    if (document.querySelector("dialog[open]")) return;
    const typed = pending ? pending + " " + press : press;
    const found = bindings().find((binding) => binding.keys === typed);
    window.clearTimeout(timer);
    pending = "";
    if (found) {
      const act = actions.get(found.action);
      if (act && act(event) !== false) event.preventDefault();
      return;
    }
    if (bindings().some((binding) => binding.keys.startsWith(typed + " "))) {
      pending = typed;
      timer = window.setTimeout(() => { pending = ""; }, WAIT_MS);
    }
  });

  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-keys-switch]")) localStorage.setItem(SWITCH, event.target.checked ? "on" : "off");
  });
  document.addEventListener("DOMContentLoaded", () => {
    const box = document.querySelector("[data-keys-switch]");
    if (box) box.checked = on();
  });

  window.signoffKeys = { on: (action, act) => actions.set(action, act) };
})();
