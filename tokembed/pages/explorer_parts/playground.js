/* The playground: a text, the slider of merges, its tokens as chips, and how other tokenizers cut it. */

const MAX_CHIPS = 2000;
const MAX_SMALL_CHIPS = 300; // of each other tokenizer
const NUM_CHIP_COLOURS = 5;
const LONG_TEXT = 5000; // from here on, wait for a pause in typing
const SOURCE_MARGIN = 40; // characters shown on either side of a token's own
const STEPS = 1000; // of the slider
const PLAY_SECONDS = 6; // from no merge to all
const [LEAST_STEP, MOST_STEP] = [60, 300]; // milliseconds of a merge
let numMerges = tokenizer.numMerges; // applied
let ranks = []; // of the merges that the text's tokens are made of, ascending
let encoding;
let playing;
let lastDuration = 0; // of encoding, in milliseconds

/* Early merges change most, so the slider moves slowly among them: merges grow with the cube of its position. */
const mergesAt = (step) => Math.round(tokenizer.numMerges * (step / STEPS) ** 3);
const stepOf = (merges) => Math.round(STEPS * Math.cbrt(merges / Math.max(tokenizer.numMerges, 1)));

/** Encode what is typed: at once, or, for long text, after a pause as long as it took the last time. */
function onType() {
  clearTimeout(encoding);
  stopPlaying();
  const pause = element("text").value.length < LONG_TEXT ? 0 : Math.min(100 + 2 * lastDuration, 1000);
  encoding = setTimeout(() => {
    showTokens();
    updateAddress();
  }, pause);
}

/** Put a text into the field, and show its tokens. */
function setText(text) {
  element("text").value = text;
  showTokens();
}

/** Apply the first merges only, as many as said. */
function setMerges(number) {
  numMerges = Math.min(Math.max(Math.round(number) || 0, 0), tokenizer.numMerges);
  showTokens();
}

/** Show the tokens of the text and their counts, or why there are none. */
function showTokens() {
  const text = element("text").value;
  const start = performance.now();
  let found = []; // [id, start, end] of each token
  let message = "";
  try {
    found = tokenizer.encodeWithOffsets(text, numMerges);
    ranks = tokenizer.ranksOf(new Set(tokenizer.encode(text)));
  } catch (error) {
    message = `This text cannot be encoded: ${error.message}.`;
    ranks = [];
  }
  say("text-message", message);
  showCounts(text, found.length);
  showMerges();
  element("source").replaceChildren();
  element("chips").replaceChildren(...found.slice(0, MAX_CHIPS).map(chip));
  element("more-tokens").textContent = `and ${grouped(found.length - MAX_CHIPS)} tokens more, counted but not shown`;
  element("more-tokens").hidden = found.length <= MAX_CHIPS;
  showEducations(message ? "" : text);
  lastDuration = performance.now() - start;
}

/** Show how many characters, words and tokens there are. */
function showCounts(text, numTokens) {
  const numWords = pieces(text).length;
  element("num-characters").textContent = grouped(numCharacters(text));
  element("num-words").textContent = grouped(numWords);
  element("num-tokens").textContent = grouped(numTokens);
  element("characters-per-token").textContent = numTokens ? (numCharacters(text) / numTokens).toFixed(2) : "–";
  if (numTokens) {
    announce(`${grouped(numWords)} words, ${grouped(numTokens)} tokens`);
  }
}

// ---------------------------------------------------------------- chips

/** Return a token as people read it, the end of its word as a small mark. */
function tokenText(token) {
  const isEnd = token.endsWith(END_OF_WORD);
  const shown = make("span", { class: "token", text: printable(isEnd ? token.slice(0, -END_OF_WORD.length) : token) });
  shown.classList.toggle("lone", token === END_OF_WORD);
  if (isEnd) {
    shown.append(make("span", { class: "mark", text: END_OF_WORD }));
  }
  return shown;
}

/** Return the class of a chip; colours by turns only tell neighbours apart. */
function chipClass(place, isEnd) {
  return `chip-${place % NUM_CHIP_COLOURS}${isEnd ? " ends-word" : ""}`;
}

/** Return a token as a chip with its id: a link to the map, if it has a vector, that shows its characters. */
function chip([id, start, end], place) {
  const token = tokenizer.idToToken[id];
  const row = rowOfToken.get(token);
  const link = make("a", { children: [tokenText(token), make("span", { class: "id", text: id })] });
  if (row === undefined) {
    link.title = "too rare in the text to have a vector";
  } else {
    link.href = addressOf({ word: names[row] });
    link.addEventListener("click", (event) => {
      if (!(event.ctrlKey || event.metaKey || event.shiftKey)) {
        event.preventDefault();
        showOnMap(row);
      }
    });
  }
  const item = make("li", { class: chipClass(place, token.endsWith(END_OF_WORD)), children: [link] });
  item.addEventListener("pointerenter", () => showSource(start, end));
  link.addEventListener("focus", () => showSource(start, end));
  return item;
}

/** Show the characters of the text from `start` to `end`, with what stands around them. */
function showSource(start, end) {
  const characters = Array.from(element("text").value);
  const part = (from, to) => characters.slice(Math.max(from, 0), to).join("").replace(/\s/gu, " ");
  element("source").replaceChildren(
    make("span", { class: "hint", text: end - start === 1 ? `character ${start + 1}: ` : `characters ${start + 1} to ${end}: ` }),
    (start > SOURCE_MARGIN ? "…" : "") + part(start - SOURCE_MARGIN, start),
    make("mark", { text: part(start, end) }),
    part(end, end + SOURCE_MARGIN) + (end + SOURCE_MARGIN < characters.length ? "…" : ""),
  );
}

// ---------------------------------------------------------------- slider of merges

/** Show how many merges are applied, what the last of them joined in this text, and which comes next. */
function showMerges() {
  const done = ranks.filter((rank) => rank < numMerges);
  const [last, next] = [done.at(-1), ranks[done.length]];
  const described = (rank) => {
    const [left, right] = tokenizer.parts(rank).map((id) => printable(tokenizer.idToToken[id]));
    return `number ${grouped(rank + 1)}, ${left} + ${right}`;
  };
  element("merges").value = stepOf(numMerges);
  element("merges").setAttribute("aria-valuetext", `${grouped(numMerges)} merges`);
  if (document.activeElement !== element("merge-number")) {
    element("merge-number").value = numMerges;
  }
  const sentences = [
    last === undefined ? "No merge yet: every character is a token." : `Last merge in this text: ${described(last)}.`,
    next === undefined ? "No later one changes it." : `Next: ${described(next)}.`,
  ];
  const isEmpty = element("text").value.trim() === "";
  element("merge-message").textContent = isEmpty ? "There is no text to merge." : sentences.join(" ");
  element("previous-merge").disabled = last === undefined;
  element("next-merge").disabled = next === undefined;
}

/** Undo the last merge in this text, or apply the next one. */
function stepMerge(direction) {
  const numDone = ranks.filter((rank) => rank < numMerges).length;
  if (direction > 0 && numDone < ranks.length) {
    setMerges(ranks[numDone] + 1);
  } else if (direction < 0 && numDone > 0) {
    setMerges(ranks[numDone - 1]);
  }
}

/** Apply merge after merge, from here to the last, or from none. */
function playMerges() {
  if (playing !== undefined) {
    stopPlaying();
    return;
  }
  if (!ranks.some((rank) => rank >= numMerges)) {
    setMerges(0);
  }
  playing = setInterval(() => {
    stepMerge(1);
    if (!ranks.some((rank) => rank >= numMerges)) {
      stopPlaying();
      setMerges(tokenizer.numMerges);
      updateAddress();
    }
  }, Math.min(Math.max((1000 * PLAY_SECONDS) / Math.max(ranks.length, 1), LEAST_STEP), MOST_STEP));
  showPlaying("play-merges", true);
}

function stopPlaying() {
  clearInterval(playing);
  playing = undefined;
  showPlaying("play-merges", false);
}

// ---------------------------------------------------------------- educations

/* The first tokenizer is the one of the vectors; the others learned from other texts. Of GPT's vocabularies the page has only
   how they cut the sample sentences: whole, they are a megabyte or more each. */
const educations = [
  { title: data.tokenizers[0].title, tokenizer },
  ...data.tokenizers.slice(1).map((each) => ({ title: each.title, tokenizer: new Tokenizer(each) })),
];

/** Show how each tokenizer cuts the text, the longest bar for the most tokens. */
function showEducations(text) {
  const sample = data.samples.findIndex((each) => each.text === text);
  const rows = educations.map(({ title, tokenizer: educated }) => {
    const ids = educated.encode(text, Math.min(numMerges, educated.numMerges));
    return { title, note: `${grouped(Math.min(numMerges, educated.numMerges))} merges`, tokens: ids.map((id) => educated.idToToken[id]) };
  });
  rows.push(...data.published.map(({ title, note, cuts }) => ({ title, note, tokens: cuts[sample] })));
  const most = Math.max(...rows.map((row) => row.tokens?.length ?? 0), 1);
  element("educations").replaceChildren(...rows.map((row) => education(row, most)));
}

/** Return one tokenizer's row: who it is, how many tokens, which. */
function education({ title, note, tokens: cut }, most) {
  const bar = make("span", { class: "bar", "aria-hidden": "true" });
  bar.style.setProperty("--share", `${(100 * (cut?.length ?? 0)) / most}%`);
  const shown = (cut ?? []).slice(0, MAX_SMALL_CHIPS).map((token, place) =>
    make("li", { class: chipClass(place, token.endsWith(END_OF_WORD)), children: [tokenText(token)] }));
  return make("li", {
    children: [
      make("div", { class: "education-head", children: [
        make("span", { class: "education-title", text: title }),
        make("span", { class: "hint", text: note }),
        bar,
        make("span", { class: "education-count", text: cut ? `${grouped(cut.length)} tokens` : "–" }),
      ] }),
      cut ? make("ol", { class: "chips small", "aria-label": `Tokens of ${title}`, children: shown })
        : make("p", { class: "hint", text: "Known for the sample sentences only." }),
    ],
  });
}

/** Connect the playground. */
function beginPlayground() {
  element("text").addEventListener("input", onType);
  element("num-merges").textContent = grouped(tokenizer.numMerges);
  element("merge-number").max = tokenizer.numMerges;
  const changeMerges = (number) => {
    stopPlaying();
    setMerges(number);
    updateAddress();
  };
  element("merges").addEventListener("input", () => changeMerges(mergesAt(Number(element("merges").value))));
  element("merge-number").addEventListener("input", () => changeMerges(Number(element("merge-number").value)));
  element("merge-number").addEventListener("blur", showMerges);
  element("play-merges").addEventListener("click", playMerges);
  for (const [id, direction] of [["previous-merge", -1], ["next-merge", 1]]) {
    element(id).addEventListener("click", () => {
      stopPlaying();
      stepMerge(direction);
      updateAddress();
    });
  }
  element("samples").append(...data.samples.map(({ title, text }) => {
    const button = make("button", { type: "button", text: title });
    button.addEventListener("click", () => {
      stopPlaying();
      setText(text);
      updateAddress();
    });
    return make("li", { children: [button] });
  }));
  element("educations-note").textContent = data.notes.join(" ");
  element("educations-section").hidden = educations.length + data.published.length < 2;
}
