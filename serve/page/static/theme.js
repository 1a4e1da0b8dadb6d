// Light or dark: like the system, until somebody chooses.

import { remember, remembered } from "./storage.js";

const NAME = "lexhound-theme";
const THEMES = { "": "like the system", light: "light", dark: "dark" };

/** Let a button go through the themes, beginning with the one that was chosen last. */
export function offerThemes(button) {
  const last = remembered("localStorage", NAME);
  set(button, last in THEMES ? last : "");
  button.addEventListener("click", () => {
    const names = Object.keys(THEMES);
    const next = names[(names.indexOf(document.documentElement.dataset.theme ?? "") + 1) % names.length];
    remember("localStorage", NAME, next);
    set(button, next);
  });
}

function set(button, theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  const label = `Colours: ${THEMES[theme]}`;
  button.setAttribute("aria-label", label);
  button.title = label;
}
