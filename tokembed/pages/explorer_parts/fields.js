/* Fields that suggest words while one types, and small things for the page. Text becomes text nodes, never markup. */

/** Make an element with text and children; text is set as text. */
function make(tag, { text, children = [], ...attributes } = {}) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    made.setAttribute(name, value);
  }
  if (text !== undefined) {
    made.textContent = text;
  }
  made.append(...children);
  return made;
}

/** Show a line, or hide it when there is nothing to say. */
function say(id, message = "") {
  element(id).textContent = message;
  element(id).hidden = message === "";
  if (message) {
    announce(message);
  }
}

let announcing;

/** Have a screen reader say a result, once things have been still for a moment. */
function announce(message) {
  clearTimeout(announcing);
  announcing = setTimeout(() => { element("announcement").textContent = message; }, 400);
}

/** Tell people and screen readers whether a button's film is running. */
function showPlaying(id, isPlaying) {
  element(id).textContent = isPlaying ? "Pause" : "Play";
  element(id).setAttribute("aria-pressed", String(isPlaying));
}

const MAX_SUGGESTIONS = 8;

/** Return the most frequent tokens whose names begin with what is typed, an equal name first; a word that is none, last. */
function suggestions(text) {
  const typed = text.trim();
  const start = tokenizer.lower(typed);
  if (!typed) {
    return [];
  }
  const exact = rowOf(typed);
  const ofParts = exact === undefined ? composed(typed) : undefined;
  const found = exact === undefined ? [] : [exact];
  for (let row = 0; row < names.length && found.length + (ofParts ? 1 : 0) < MAX_SUGGESTIONS; row++) {
    if (names[row].startsWith(start) && row !== exact && (isWord[row] || !element("words-only").checked)) {
      found.push(row);
    }
  }
  return [...found.map(subjectOfRow), ...(ofParts ? [ofParts] : [])];
}

/** Give a field a list of what may be meant, by the ARIA combobox pattern; `onChoose` gets it, `onNone` text without it. */
function addSuggestions(input, onChoose, onNone) {
  const list = element(input.getAttribute("aria-controls"));
  let offered = [];
  let active = -1;

  const setActive = (place) => {
    active = place;
    [...list.children].forEach((option, index) => option.setAttribute("aria-selected", index === active));
    input.setAttribute("aria-activedescendant", active < 0 ? "" : list.children[active].id);
  };
  const close = () => {
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
    setActive(-1);
  };
  const open = () => {
    offered = suggestions(input.value);
    list.replaceChildren(...offered.map((subject, place) => suggestion(subject, `${list.id}-${place}`)));
    list.hidden = offered.length === 0;
    input.setAttribute("aria-expanded", String(offered.length > 0));
    setActive(-1);
  };
  const choose = (subject) => {
    input.value = subject.name;
    close();
    onChoose(subject);
  };

  input.addEventListener("input", open);
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (list.hidden) {
        open();
      }
      if (offered.length) {
        const step = event.key === "ArrowDown" ? 1 : -1;
        setActive(active < 0 && step < 0 ? offered.length - 1 : (active + step + offered.length) % offered.length);
      }
    } else if (event.key === "Escape") {
      close();
    } else if (event.key === "Enter" && !(list.hidden && onNone === undefined)) {
      event.preventDefault(); // with the list closed, Enter in a form's field submits the form
      const subject = active >= 0 ? offered[active] : suggestions(input.value)[0];
      if (subject) {
        choose(subject);
      } else {
        onNone?.(input.value.trim());
      }
    }
  });
  list.addEventListener("mousedown", (event) => event.preventDefault()); // or the field loses focus, and the list closes
  list.addEventListener("click", (event) => {
    const place = [...list.children].indexOf(event.target.closest("[role=option]"));
    if (place >= 0) {
      choose(offered[place]);
    }
  });
}

/** Return what may be meant as an option of a list. */
function suggestion({ name, rows }, id) {
  const count = counts ? `${grouped(counts[rows[0]])}×` : "";
  const note = name === names[rows[0]] ? count : "from its parts";
  return make("li", {
    id, role: "option", "aria-selected": "false",
    children: [make("span", { text: name }), make("span", { class: "count", text: note })],
  });
}
