// The field for a token, on every page that has one.

import { useToken } from "./api.js";

const access = document.getElementById("access");
const secret = document.getElementById("secret");

/** Call `changed` whenever a person gives another token. */
export function onToken(changed) {
  document.getElementById("token").addEventListener("submit", (event) => {
    event.preventDefault();
    useToken(secret.value.trim());
    changed();
  });
}

/** Bring the field before the person's eyes: without a token, or another one, it goes no further. */
export function askForToken() {
  access.open = true;
  secret.focus();
}
