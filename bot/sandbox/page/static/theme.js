// Light, dark, or as the system has it.

import { $, kept } from "./dom.js";

const CHOICES = ["system", "light", "dark"];
const WORDS = { system: ["◐", "Colours: as the system"], light: ["☀", "Colours: light"], dark: ["☾", "Colours: dark"] };

function show(choice) {
  if (choice === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = choice;
  const [sign, words] = WORDS[choice];
  $("theme").textContent = sign;
  $("theme").setAttribute("aria-label", words);
  $("theme").title = words;
}

export function prepareTheme() {
  let choice = CHOICES.includes(kept.get("theme")) ? kept.get("theme") : "system";
  show(choice);
  $("theme").addEventListener("click", () => {
    choice = CHOICES[(CHOICES.indexOf(choice) + 1) % CHOICES.length];
    kept.set("theme", choice);
    show(choice);
  });
}
