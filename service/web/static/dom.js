// Makes elements. Text stays text: nothing that comes from elsewhere becomes markup.

/** Return an element; an attribute that is a function listens to the event of that name, one that is false is left out. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(key, value);
    else if (value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.flat(Infinity));
  return made;
}

/** Return radio buttons in a row; `choose` is told the position of the one that is chosen. The first one is. */
export function choice(label, titles, choose) {
  const name = `choice-${crypto.getRandomValues(new Uint32Array(1))[0]}`;
  const options = titles.map((title, position) =>
    element("label", {},
      element("input", { type: "radio", name, checked: position === 0, change: () => choose(position) }),
      element("span", {}, title)));
  return element("fieldset", { class: "choice", hidden: titles.length < 2 },
    element("legend", { class: "unseen" }, label), options);
}
