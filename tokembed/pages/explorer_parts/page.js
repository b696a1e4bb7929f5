/* The page: what is selected, sums of words, the address that carries all of it, and the beginning. */

const map = new TokenMap(element("map"), data.points, (row) => choose(subjectOfRow(row)));
const film = data.film && new Film(shownFilm(), data.film, showOnMap);
const MAX_ADDRESS_TEXT = 2000; // characters; longer text is no part of the address
const ADDRESS_PAUSE = 200; // milliseconds: browsers refuse to change the address more often
let selected = subjectOfRow(data.start);
let isChosen = false; // by the reader, who then finds it in the address
let addressing;

/** Return the film's frame, its section shown, so that it has a size. */
function shownFilm() {
  element("film-section").hidden = false;
  return element("film");
}

/** Tell whether fragments are hidden. */
function wordsOnly() {
  return element("words-only").checked;
}

/** Select what the reader chose: the address names it from now on. */
function choose(subject, how) {
  isChosen = true;
  select(subject, how);
}

/** Select a token or a word: its facts and neighbours beside the map, marks on it, its name in the address. */
function select(subject, { centred = false } = {}) {
  selected = subject;
  const near = neighbours(subject.rows, wordsOnly());
  say("search-message");
  element("selected-token").textContent = subject.name;
  element("selected-facts").textContent = factsOf(subject);
  showAnswers(element("neighbours"), near, follow);
  announce(`${subject.name}, nearest: ${near.slice(0, 5).map(([other]) => names[other]).join(", ")}`);
  if (centred) {
    map.centre(subject.rows);
  }
  map.mark(subject.rows, near.map(([row]) => row));
  updateAddress();
}

/** Select a token from a list, and bring it into view if it is not; the list is gone, so focus goes to the heading. */
function follow(row) {
  choose(subjectOfRow(row), { centred: !isWithin(around(map.pixelOf(row), 20), [map.width, map.height]) });
  element("selected-token").focus({ preventScroll: true });
}

/** Return what there is to say of a token or a word in a line. */
function factsOf({ name, rows: [row, ...others] }) {
  if (name !== names[row]) {
    const wordId = idOfWord(name);
    const list = listOf([row, ...others].map((part) => names[part]));
    const what = wordId === undefined ? "No token of its own" : `Token ${wordId}, but too rare in the text to be trained`;
    return `${what}: this is the mean of the vectors of its parts, ${list} (the stars on the map).`;
  }
  const id = tokenizer.tokenToId.get(tokens[row]);
  return [
    counts && `Occurs ${grouped(counts[row])} times`,
    isWord[row] ? "whole word" : "fragment or mark",
    id !== undefined && `id\u00a0${id}`,
    data.clusters.length > 1 && `cluster ${data.clusters[clusters[row]]}`,
  ].filter(Boolean).join(" · ");
}

/** Fill a list with tokens and their cosines; each is a button that calls `onChoose`. */
function showAnswers(list, answers, onChoose) {
  list.replaceChildren(...answers.map(([row, cosine]) => {
    const button = make("button", { type: "button", text: names[row] });
    button.addEventListener("click", () => onChoose(row));
    const bar = make("span", { class: "bar", "aria-hidden": "true" });
    bar.style.setProperty("--share", `${100 * Math.max(cosine, 0)}%`);
    return make("li", { children: [button, bar, make("span", { class: "cosine", text: cosine.toFixed(3) })] });
  }));
}

/** Say why there is nothing to show of what was searched for. */
function onNotFound(text) {
  say("search-message", whyNone(text) || "Type a word to look for.");
}

/** Show or hide fragments, on the map and in the lists. */
function onWordsOnly() {
  map.filter({ showsFragments: !wordsOnly() });
  select(selected);
  if (!element("answers-heading").hidden) {
    showSum();
  }
}

const sumFields = ["analogy-a", "analogy-b", "analogy-c"].map(element);

/** Answer a - b + c of the form. */
function showSum() {
  const typed = sumFields.map((field) => field.value);
  const subjects = typed.map(subjectOf);
  const isComplete = subjects.every(Boolean);
  element("answers-heading").hidden = !isComplete;
  element("answers").replaceChildren();
  if (!isComplete) {
    const flaws = typed.filter((word, place) => !subjects[place]).map(whyNone);
    say("analogy-message", flaws.every(Boolean) ? flaws.join(" ") : "Type a word into each of the three fields.");
    return;
  }
  say("analogy-message");
  const [a, b, c] = subjects.map(({ name }) => name);
  element("answers-heading").textContent = `${a} − ${b} + ${c} ≈`;
  const answers = analogy(...subjects.map(({ rows }) => rows), wordsOnly());
  showAnswers(element("answers"), answers, showOnMap);
  announce(`${a} minus ${b} plus ${c}: ${answers.map(([row]) => names[row]).join(", ")}`);
}

/** Select a token from another panel, and scroll to the map. */
function showOnMap(row) {
  follow(row);
  const isStill = matchMedia("(prefers-reduced-motion: reduce)").matches;
  element("map-heading").scrollIntoView({ behavior: isStill ? "auto" : "smooth" });
}

/** Offer the sums that these vectors answer rightly. */
function offerPresets() {
  element("presets").hidden = data.presets.length === 0;
  element("preset-list").append(...data.presets.map(([a, b, c]) => {
    const button = make("button", { type: "button", text: `${a} − ${b} + ${c}` });
    button.addEventListener("click", () => fillSum([a, b, c]));
    return make("li", { children: [button] });
  }));
}

/** Fill the form and answer it. */
function fillSum(words) {
  sumFields.forEach((field, place) => { field.value = words[place]; });
  showSum();
}

// ---------------------------------------------------------------- clusters

/** List the clusters; a click shows one alone, another click all. */
function listClusters() {
  element("clusters").hidden = data.clusters.length < 2;
  element("clusters").append(...data.clusters.map((name, cluster) => {
    const button = make("button", { type: "button", "aria-pressed": "false", children: [
      make("span", { class: `dot cluster-${cluster}`, "aria-hidden": "true" }), name] });
    button.addEventListener("click", () => {
      map.highlight(map.highlighted === cluster ? undefined : cluster);
      for (const [place, other] of [...element("clusters").querySelectorAll("button")].entries()) {
        other.setAttribute("aria-pressed", String(map.highlighted === place));
      }
    });
    return make("li", { children: [button] });
  }));
}

// ---------------------------------------------------------------- address and picture

/** Return an address of this page: its text and merges where they are not those that it begins with, and the word. */
function addressOf({ text = element("text").value, merges = numMerges, word = isChosen ? selected.name : "" } = {}) {
  const parts = new URLSearchParams();
  if (text !== data.samples[0].text && text.length <= MAX_ADDRESS_TEXT) {
    parts.set("text", text);
  }
  if (merges !== tokenizer.numMerges) {
    parts.set("merges", merges);
  }
  if (word) {
    parts.set("word", word);
  }
  return `#${parts}`;
}

/** Bring the address up to date, in a moment. */
function updateAddress() {
  clearTimeout(addressing);
  addressing = setTimeout(() => {
    const address = addressOf();
    if (address !== (location.hash || "#")) {
      history.replaceState(null, "", address);
    }
  }, ADDRESS_PAUSE);
}

/** Return the text, merges and word that the address names, each undefined if it does not; a word may stand alone. */
function readAddress() {
  const fragment = location.hash.slice(1);
  if (fragment.includes("=")) {
    const parts = new URLSearchParams(fragment);
    const merges = parts.get("merges");
    return {
      text: parts.get("text") ?? undefined,
      merges: /^\d{1,9}$/.test(merges) ? Number(merges) : undefined,
      word: parts.get("word") ?? undefined,
    };
  }
  try {
    return { word: decodeURIComponent(fragment) || undefined };
  } catch {
    return {}; // a stray percent sign
  }
}

/** Show what the address names. */
function followAddress() {
  const { text, merges, word } = readAddress();
  numMerges = Math.min(merges ?? tokenizer.numMerges, tokenizer.numMerges);
  setText(text ?? data.samples[0].text);
  const subject = word === undefined ? undefined : subjectOf(word);
  isChosen = subject !== undefined;
  select(subject ?? selected, { centred: isChosen });
}

/** Show what an address names that someone has typed or followed. */
function onAddress() {
  if (location.hash !== addressOf()) {
    stopPlaying();
    followAddress();
  }
}

/** Copy the address of what is shown. */
async function copyLink() {
  history.replaceState(null, "", addressOf({ word: selected.name }));
  try {
    await navigator.clipboard.writeText(location.href);
    element("share-message").textContent = "Copied: text, slider and word come with it.";
  } catch {
    element("share-message").textContent = "The browser's address is the link: text, slider and word are in it.";
  }
}

/** Offer the map as a file. */
async function savePicture() {
  const caption = `${selected.name} among ${grouped(tokens.length)} tokens of ${data.corpus} · ${data.projection} · tokembed`;
  const address = URL.createObjectURL(await map.picture(caption));
  make("a", { href: address, download: `tokembed-map-${data.corpus.replace(/[^\p{L}\p{N}_-]+/gu, "-")}.png` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
  element("share-message").textContent = "Saved.";
}

/** Connect the page and show what it begins with. */
function begin() {
  beginPlayground();
  listClusters();
  addSuggestions(element("search"), (subject) => choose(subject, { centred: true }), onNotFound);
  sumFields.forEach((field) => addSuggestions(field, () => {}));
  followAddress();
  element("words-only").addEventListener("change", onWordsOnly);
  element("zoom-in").addEventListener("click", () => map.zoom(0.7));
  element("zoom-out").addEventListener("click", () => map.zoom(1 / 0.7));
  element("show-all").addEventListener("click", () => map.showAll());
  element("copy-link").addEventListener("click", copyLink);
  element("save-picture").addEventListener("click", savePicture);
  element("analogy").addEventListener("submit", (event) => {
    event.preventDefault();
    showSum();
  });
  offerPresets();
  addEventListener("hashchange", onAddress);
  isDark.addEventListener("change", () => {
    map.repaint();
    film?.draw();
  });
}

begin();

// For the console, and for tests: what the page computes with.
window.tokembed = { tokenizer, educations, pieces, neighbours, analogy, rowOf, subjectOf, names, map, film };
