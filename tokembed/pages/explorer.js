"use strict";

/* The explorer page, in four rooms: the tokenizer (text to ids), the vectors (cosines), the playground that shows tokens, and
   the map with its neighbours and sums. Data comes from explorer.py; text from data becomes text nodes, never markup. */

const END_OF_WORD = "</w>";
const data = JSON.parse(document.getElementById("data").textContent);
const element = (id) => document.getElementById(id);

// ---------------------------------------------------------------- tokenizer

/* The splitting rule of pretokenizer.py: a run of word characters, or one mark. JavaScript's \w is ASCII and its \s is not
   Python's (which has U+001C to U+001F and U+0085, and does not have U+FEFF), so both are spelled out. */
const PIECES = /[\p{L}\p{N}_]+|[^\p{L}\p{N}_\x09-\x0d\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/gu;
const LONE_SURROGATE = /\p{Surrogate}/u; // in a u-pattern, halves of a pair are no surrogates
const MAX_CACHED_WORDS = 50_000;
const MAX_CACHED_LENGTH = 1000;
const MERGED_AWAY = -1;

const tokenizer = makeTokenizer(data.tokenizer);

/** Return the tables of a tokenizer: id to token, character to id, and pair to rank. */
function makeTokenizer({ alphabet, merges, lowercase, byteFallback }) {
  const idToToken = [...alphabet];
  const pairRanks = new Map();
  for (const [rank, [left, right]] of merges.entries()) {
    idToToken.push(idToToken[left] + idToToken[right]); // the merge of rank r makes id alphabet.length + r
    pairRanks.set(pairKey(left, right), rank);
  }
  const specialBase = idToToken.length; // bytes, or <unk>, follow the last merge
  if (byteFallback) {
    for (let byte = 0; byte < 256; byte++) {
      idToToken.push(`<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`);
    }
  } else {
    idToToken.push("<unk>");
  }
  const characterIds = new Map(alphabet.map((character, id) => [character, id]));
  const tokenToId = new Map(idToToken.map((token, id) => [token, id]));
  const endOfWordId = alphabet.length - 1;
  return {
    idToToken, tokenToId, characterIds, pairRanks, endOfWordId, specialBase, lowercase, byteFallback,
    firstMergeId: alphabet.length, cache: new Map(),
  };
}

/** Return one number for a pair of ids: both are below 2^21, so it is below 2^53 and exact. */
function pairKey(left, right) {
  return left * 0x200000 + right;
}

/** Return the rank of the merge of two symbols, or undefined; unknown characters (negative symbols) never merge. */
function rankOf(left, right) {
  return left < 0 || right < 0 ? undefined : tokenizer.pairRanks.get(pairKey(left, right));
}

/** Return the pieces of a text, as typed. */
function pieces(text) {
  return text.match(PIECES) ?? [];
}

/** Lower each character by itself, so that it never depends on its neighbours (a final sigma would). */
function lower(piece) {
  return tokenizer.lowercase ? Array.from(piece, (character) => character.toLowerCase()).join("") : piece;
}

/** Return the token ids of a text, as `BPETokenizerLoader.encode` does; throw a RangeError at a lone surrogate. */
function encode(text) {
  const surrogate = LONE_SURROGATE.exec(text);
  if (surrogate) {
    const position = Array.from(text.slice(0, surrogate.index)).length;
    const place = `character ${position + 1} is half of a pair (a lone surrogate)`;
    throw new RangeError(`${place}: it is not valid Unicode, so no token can stand for it`);
  }
  const ids = [];
  for (const piece of pieces(text)) {
    for (const id of encodeWord(piece)) {
      ids.push(id);
    }
  }
  return ids;
}

/** Return the ids of one piece, remembered unless it is long. */
function encodeWord(piece) {
  const remembered = tokenizer.cache.get(piece);
  if (remembered) {
    return remembered;
  }
  const symbols = Array.from(lower(piece), (character) => tokenizer.characterIds.get(character) ?? unknown(character));
  symbols.push(tokenizer.endOfWordId);
  const ids = mergeSymbols(symbols).flatMap((symbol) => (symbol < 0 ? fallbackIds(symbol) : symbol));
  if (piece.length <= MAX_CACHED_LENGTH) {
    if (tokenizer.cache.size >= MAX_CACHED_WORDS) {
      tokenizer.cache.clear();
    }
    tokenizer.cache.set(piece, ids);
  }
  return ids;
}

/** Return the symbol of a character outside the alphabet: a negative number that keeps its code point. */
function unknown(character) {
  return MERGED_AWAY - 1 - character.codePointAt(0);
}

/** Return what stands for a character outside the alphabet: its UTF-8 bytes' tokens, or <unk>. */
function fallbackIds(symbol) {
  if (!tokenizer.byteFallback) {
    return [tokenizer.specialBase];
  }
  const character = String.fromCodePoint(MERGED_AWAY - 1 - symbol);
  return Array.from(new TextEncoder().encode(character), (byte) => tokenizer.specialBase + byte);
}

/** Merge the pair of lowest rank, the leftmost first, until none is left: a heap of pairs over linked symbols, O(L log L). */
function mergeSymbols(symbols) {
  const following = symbols.map((_, place) => (place + 1 < symbols.length ? place + 1 : -1));
  const previous = symbols.map((_, place) => place - 1);
  const heap = [];
  const offer = (position) => {
    const rank = following[position] < 0 ? undefined : rankOf(symbols[position], symbols[following[position]]);
    if (rank !== undefined) {
      push(heap, rank * 2 ** 32 + position); // one number in the order (rank, position)
    }
  };
  symbols.forEach((_, position) => offer(position));
  while (heap.length > 0) {
    const entry = pop(heap);
    const rank = Math.floor(entry / 2 ** 32);
    const position = entry % 2 ** 32;
    const partner = following[position];
    // An entry is stale when either half has been merged since: then the pair there has another rank, or none.
    if (partner < 0 || rankOf(symbols[position], symbols[partner]) !== rank) {
      continue;
    }
    symbols[position] = tokenizer.firstMergeId + rank;
    symbols[partner] = MERGED_AWAY;
    following[position] = following[partner];
    if (following[position] >= 0) {
      previous[following[position]] = position;
      offer(position);
    }
    if (previous[position] >= 0) {
      offer(previous[position]);
    }
  }
  return symbols.filter((symbol) => symbol !== MERGED_AWAY);
}

/** Put a number on a binary heap whose least is first. */
function push(heap, number) {
  let place = heap.length;
  while (place > 0) {
    const parent = (place - 1) >> 1;
    if (heap[parent] <= number) {
      break;
    }
    heap[place] = heap[parent];
    place = parent;
  }
  heap[place] = number;
}

/** Take the least number off a binary heap. */
function pop(heap) {
  const least = heap[0];
  const number = heap.pop();
  let place = 0;
  while (heap.length > 0) {
    let child = 2 * place + 1;
    if (child + 1 < heap.length && heap[child + 1] < heap[child]) {
      child += 1;
    }
    if (child >= heap.length || heap[child] >= number) {
      heap[place] = number;
      break;
    }
    heap[place] = heap[child];
    place = child;
  }
  return least;
}

// ---------------------------------------------------------------- vectors

const { tokens, counts, isWord, lengths, dimension } = data.vectors; // rows in order of frequency, the most frequent first
const unitVectors = decodeVectors(data.vectors);
const names = tokens.map(nameOf);
const rowOfName = new Map(names.map((name, row) => [name, row]));
const rowOfToken = new Map(tokens.map((token, row) => [token, row]));
const omitted = new Set(data.vectors.omitted); // trained, but beyond the page's limit
const NUM_NEIGHBOURS = 10;

/** Return the unit vectors, row after row, from fixed point of 16 bits (little end first). */
function decodeVectors({ fixedPoint, scale }) {
  const bytes = Uint8Array.from(atob(fixedPoint), (character) => character.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length / 2 }, (_, place) => view.getInt16(2 * place, true) * scale);
}

/** Return a token as people read it: a word without its end, a piece whose word continues with a hyphen. No two have one name. */
function nameOf(token) {
  const isEnded = token.endsWith(END_OF_WORD) && token !== END_OF_WORD;
  return token === END_OF_WORD ? token : printable(isEnded ? token.slice(0, -END_OF_WORD.length) : `${token}-`);
}

/** Return text whose control and other invisible characters show as their numbers. */
function printable(text) {
  return text.replace(/\p{C}|^[\p{Mn}\p{Me}]/gu, (character) => `\\u{${character.codePointAt(0).toString(16)}}`);
}

/** Return the row of what someone typed, or undefined: a word, or a piece with or without its hyphen. */
function rowOf(text) {
  const typed = text.trim();
  if (!typed) {
    return undefined;
  }
  const forms = [typed, lower(typed)].flatMap((form) => [form, form.replace(/<\/w>$/, ""), `${form}-`]);
  return forms.map((form) => rowOfName.get(form)).find((row) => row !== undefined);
}

/** Return a row's unit vector; a view, not a copy. */
function unitVector(row) {
  return unitVectors.subarray(row * dimension, (row + 1) * dimension);
}

/* What one can ask about has a name and rows: one for a token; those of its parts for a word that is no token, whose vector is
   their mean. */

/** Return a row as what one can ask about. */
function subjectOfRow(row) {
  return { name: names[row], rows: [row] };
}

/** Return what someone typed as what one can ask about, or undefined if it has no vector here. */
function subjectOf(text) {
  const row = rowOf(text);
  return row === undefined ? composed(text) : subjectOfRow(row);
}

/** Return a word that is no token with a vector, as `Embeddings.vector` composes it; or undefined if there is nothing to. */
function composed(text) {
  let parts;
  try {
    parts = partsOf(text);
  } catch {
    return undefined; // half a character
  }
  const rows = parts.map((token) => rowOfToken.get(token)).filter((row) => row !== undefined);
  // </w> alone says that a word ends here, nothing of which.
  const hasMeaning = rows.some((row) => tokens[row] !== END_OF_WORD) && !parts.some((token) => omitted.has(token));
  return hasMeaning ? { name: printable(lower(text.trim())), rows } : undefined;
}

/** Return the tokens of a text, those never trained split into the tokens they were merged from, as far as that goes. */
function partsOf(text) {
  const { idToToken, firstMergeId, specialBase } = tokenizer;
  const pending = encode(text).reverse();
  const parts = [];
  while (pending.length > 0) {
    const id = pending.pop();
    const isKnown = rowOfToken.has(idToToken[id]) || omitted.has(idToToken[id]);
    if (isKnown || id < firstMergeId || id >= specialBase) {
      parts.push(idToToken[id]);
    } else {
      const [left, right] = data.tokenizer.merges[id - firstMergeId];
      pending.push(right, left);
    }
  }
  return parts;
}

/** Return the id of the token that a whole word is, or undefined. */
function idOfWord(text) {
  return tokenizer.tokenToId.get(lower(text.trim()) + END_OF_WORD);
}

/** Return why what someone typed has no vector here. */
function whyNone(text) {
  const typed = printable(text.trim());
  let parts;
  try {
    parts = partsOf(text);
  } catch (error) {
    return `This is no word: ${error.message}.`;
  }
  const limit = `this page keeps the vectors of the ${grouped(tokens.length)} most frequent tokens only`;
  const missing = parts.find((token) => omitted.has(token));
  if (missing !== undefined) {
    return parts.length === 1
      ? `“${typed}” is a token, but ${limit}.`
      : `“${typed}” is no token of its own, and one of its parts, ${nameOf(missing)}, has no vector here: ${limit}.`;
  }
  const list = listOf(parts.filter((token) => token !== END_OF_WORD).map(nameOf));
  return list ? `“${typed}” has no vector: what it is made of, ${list}, was too rare in the text to be trained.` : "";
}

const MAX_LISTED = 12;

/** Return names in a line, the first of many. */
function listOf(parts) {
  const more = parts.length > MAX_LISTED ? ` + ${grouped(parts.length - MAX_LISTED)} more` : "";
  return parts.slice(0, MAX_LISTED).join(" + ") + more;
}

/** Return the unit vector of one row, or that of the mean of several rows' vectors, which differ in length. */
function vectorOf(rows) {
  if (rows.length === 1) {
    return unitVector(rows[0]);
  }
  const sum = new Float64Array(dimension);
  for (const row of rows) {
    unitVector(row).forEach((number, place) => { sum[place] += number * lengths[row]; });
  }
  const norm = Math.hypot(...sum) || 1;
  return sum.map((number) => number / norm);
}

/** Return [row, cosine] of the rows whose vectors point most nearly along `query`, best first. */
function nearest(query, excluded, topn) {
  const norm = Math.hypot(...query) || 1;
  const isExcluded = new Set(excluded);
  const found = [];
  for (let row = 0; row < tokens.length; row++) {
    if (isExcluded.has(row) || (element("words-only").checked && !isWord[row])) {
      continue;
    }
    let product = 0;
    for (let place = 0, start = row * dimension; place < dimension; place++) {
      product += query[place] * unitVectors[start + place];
    }
    const cosine = product / norm;
    if (found.length < topn || cosine > found[found.length - 1][1]) {
      let place = found.length;
      while (place > 0 && found[place - 1][1] < cosine) {
        place -= 1;
      }
      found.splice(place, 0, [row, cosine]);
      found.length = Math.min(found.length, topn);
    }
  }
  return found;
}

/** Return the nearest neighbours of rows' mean, those rows left out, as `Embeddings.most_similar` does. */
function neighbours(rows, topn = NUM_NEIGHBOURS) {
  return nearest(vectorOf(rows), rows, topn);
}

/** Return the rows nearest to a - b + c, the rows of the three themselves left out. */
function analogy(a, b, c, topn = 5) {
  const [first, second, third] = [a, b, c].map(vectorOf);
  return nearest(first.map((number, place) => number - second[place] + third[place]), [...a, ...b, ...c], topn);
}

// ---------------------------------------------------------------- small things for the page

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

const grouped = (number) => number.toLocaleString("en");

// ---------------------------------------------------------------- playground

const MAX_CHIPS = 2000;
const NUM_CHIP_COLOURS = 5;
const LONG_TEXT = 5000; // from here on, wait for a pause in typing
let encoding;
let lastDuration = 0; // of encoding, in milliseconds

/** Encode what is typed: at once, or, for long text, after a pause as long as it took the last time. */
function onType() {
  clearTimeout(encoding);
  const pause = element("text").value.length < LONG_TEXT ? 0 : Math.min(100 + 2 * lastDuration, 1000);
  encoding = setTimeout(showTokens, pause);
}

/** Show the tokens of the text and their counts, or why there are none. */
function showTokens() {
  const text = element("text").value;
  const start = performance.now();
  let ids = [];
  let message = "";
  try {
    ids = encode(text);
  } catch (error) {
    message = `This text cannot be encoded: ${error.message}.`;
  }
  say("text-message", message);
  showCounts(text, ids);
  element("chips").replaceChildren(...ids.slice(0, MAX_CHIPS).map(chip));
  element("more-tokens").textContent = `and ${grouped(ids.length - MAX_CHIPS)} tokens more, counted but not shown`;
  element("more-tokens").hidden = ids.length <= MAX_CHIPS;
  lastDuration = performance.now() - start;
}

/** Show how many characters, words and tokens there are. */
function showCounts(text, ids) {
  const numCharacters = Array.from(text).length;
  const numWords = pieces(text).length;
  element("num-characters").textContent = grouped(numCharacters);
  element("num-words").textContent = grouped(numWords);
  element("num-tokens").textContent = grouped(ids.length);
  element("characters-per-token").textContent = ids.length ? (numCharacters / ids.length).toFixed(2) : "–";
  if (ids.length) {
    announce(`${grouped(numWords)} words, ${grouped(ids.length)} tokens`);
  }
}

/** Return a token as a chip with its id; colours by turns only tell neighbours apart. */
function chip(id, place) {
  const token = tokenizer.idToToken[id];
  const isEnd = token.endsWith(END_OF_WORD);
  const shown = make("span", { class: "token", text: printable(isEnd ? token.slice(0, -END_OF_WORD.length) : token) });
  if (isEnd) {
    shown.append(make("span", { class: "mark", text: END_OF_WORD }));
  }
  const number = make("span", { class: "id", text: id });
  return make("li", { class: `chip-${place % NUM_CHIP_COLOURS}${isEnd ? " ends-word" : ""}`, children: [shown, number] });
}

// ---------------------------------------------------------------- fields with suggestions

const MAX_SUGGESTIONS = 8;

/** Return the most frequent tokens whose names begin with what is typed, an equal name first; a word that is none, last. */
function suggestions(text) {
  const typed = text.trim();
  const start = lower(typed);
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

// ---------------------------------------------------------------- map

const points = data.points; // [x, y] of each row
const map = element("map");
const FITTED = 1.08; // the whole map, and a little room around it
const PIXELS_A_LABEL = 10_000; // of the map, beside the labels of the selected token and its neighbours
const LABEL_FONT = 12;
const LABEL_FAMILY = "system-ui, sans-serif";
const [WORDS, FRAGMENTS, LINKS, RINGS, STAR, LABELS] = [0, 1, 2, 3, 4, 5]; // traces
const rowsOfTrace = [isWord.flatMap((word, row) => (word ? [row] : [])), isWord.flatMap((word, row) => (word ? [] : [row]))];
// Frequent words name a region, if they are no grammar ("that", "which"): the most frequent 200 tokens come last.
const longWords = rowsOfTrace[WORDS].filter((row) => names[row].length > 3);
const labelledFirst = [...longWords.filter((row) => row >= 200), ...longWords.filter((row) => row < 200)];
let selected = subjectOfRow(data.start);
let near = []; // [row, cosine] of the selected word's neighbours

/** Tell whether the browser draws by WebGL; ten thousand points as SVG are slow, but they are there. */
function hasWebGL() {
  const canvas = document.createElement("canvas");
  return Boolean(window.WebGLRenderingContext && (canvas.getContext("webgl") || canvas.getContext("experimental-webgl")));
}

/** Return a colour of the style sheet, which follows the light or dark scheme. */
function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/** Return text as plotly shows it unchanged: it would read some tags. */
function plotlyText(text) {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

/** Return a trace of tokens as points, the larger the more frequent. */
function pointTrace(rows, symbol, opacity) {
  const most = Math.log((counts?.[0] ?? 1) + 1);
  const shrink = Math.min(1, Math.sqrt(map.clientWidth / 700)); // a small map has small points
  const sizeOf = (row) => shrink * (counts ? 3 + 11 * (Math.log(counts[row] + 1) / most) ** 2 : 5);
  return {
    type: hasWebGL() ? "scattergl" : "scatter",
    mode: "markers",
    x: rows.map((row) => points[row][0]),
    y: rows.map((row) => points[row][1]),
    customdata: rows,
    hovertext: rows.map((row) => plotlyText(names[row]) + (counts ? `<br>${grouped(counts[row])}×` : "")),
    hoverinfo: "text",
    marker: { symbol, opacity, line: { width: 0 }, size: rows.map(sizeOf) },
  };
}

/** Draw the map for the first time. */
function drawMap() {
  const still = { hoverinfo: "skip", x: [], y: [] };
  const traces = [
    pointTrace(rowsOfTrace[WORDS], "circle", 0.6),
    pointTrace(rowsOfTrace[FRAGMENTS], "diamond", 0.55),
    { ...still, type: "scatter", mode: "lines", line: { width: 1.5 }, opacity: 0.6 },
    { ...still, type: "scatter", mode: "markers", marker: { symbol: "circle-open", size: 12, line: { width: 2 } } },
    { ...still, type: "scatter", mode: "markers", marker: { symbol: "star", size: 17, line: { width: 1.5 } } },
    { ...still, type: "scatter", mode: "text", text: [], textfont: { family: LABEL_FAMILY, size: LABEL_FONT } },
  ];
  const axis = { visible: false, autorange: false };
  const whole = ranges(0, 0, wholeSpan());
  const layout = {
    width: map.clientWidth, height: map.clientHeight, margin: { l: 0, r: 0, t: 0, b: 0 }, showlegend: false, dragmode: "pan",
    hovermode: "closest", xaxis: { ...axis, ...whole.x }, yaxis: { ...axis, ...whole.y },
  };
  paint(traces, layout);
  Plotly.newPlot(map, traces, layout, { displayModeBar: false, scrollZoom: true, doubleClick: false });
  map.firstElementChild.setAttribute("aria-hidden", "true"); // thousands of points: the lists say what is to be heard
  map.on("plotly_click", (event) => select(subjectOfRow(event.points[0].customdata)));
  map.on("plotly_doubleclick", showAll);
  map.on("plotly_relayout", drawOverlay);
  // A page that one scrolls through must not be caught by the map: the wheel zooms with Ctrl or ⌘, and so
  // does a touch pad's pinch, which comes as a wheel with Ctrl.
  const keepScrolling = (event) => event.ctrlKey || event.metaKey || event.stopPropagation();
  map.addEventListener("wheel", keepScrolling, { capture: true, passive: true });
  new ResizeObserver(resize).observe(map);
}

/** Set the colours of the scheme in traces and layout. */
function paint(traces, layout) {
  const [ink, paper, card, line] = ["ink", "paper", "card", "line"].map(colour);
  traces[WORDS].marker.color = colour("word");
  traces[FRAGMENTS].marker.color = colour("fragment");
  traces[LINKS].line.color = colour("neighbour");
  traces[RINGS].marker.color = colour("neighbour");
  traces[STAR].marker.color = colour("selected");
  traces[STAR].marker.line.color = paper;
  traces[LABELS].textfont.color = ink;
  layout.paper_bgcolor = layout.plot_bgcolor = "rgba(0,0,0,0)";
  layout.hoverlabel = { bgcolor: card, bordercolor: line, font: { color: ink, family: LABEL_FAMILY, size: 14 } };
}

/** Draw the map in the colours of a scheme that has just changed. */
function repaint() {
  paint(map.data, map.layout);
  Plotly.redraw(map).then(drawOverlay);
}

// The view is a centre and a width; the height follows from the map's shape, so that both axes have one scale.

/** Return the width at which everything is in view. */
function wholeSpan() {
  const [width, height] = [0, 1].map((side) => {
    const places = points.map((point) => point[side]);
    return Math.max(...places) - Math.min(...places) || 1;
  });
  return FITTED * Math.max(width, (height * map.clientWidth) / map.clientHeight);
}

/** Return both axes' ranges around a centre. */
function ranges(x, y, span) {
  const half = [span / 2, (span * map.clientHeight) / map.clientWidth / 2];
  return { x: { range: [x - half[0], x + half[0]] }, y: { range: [y - half[1], y + half[1]] } };
}

/** Return the centre and width in view. */
function view() {
  const [[left, right], [bottom, top]] = [map.layout.xaxis.range, map.layout.yaxis.range];
  return { x: (left + right) / 2, y: (bottom + top) / 2, span: right - left };
}

/** Look at a part of the map. */
function setView(x, y, span) {
  const { x: xaxis, y: yaxis } = ranges(x, y, span);
  Plotly.relayout(map, { "xaxis.range": xaxis.range, "yaxis.range": yaxis.range });
}

/** Zoom by a factor below 1, or out by one above, around the centre. */
function zoom(factor) {
  const { x, y, span } = view();
  setView(x, y, Math.min(span * factor, 2 * wholeSpan()));
}

/** Move by a share of the width. */
function move(right, up) {
  const { x, y, span } = view();
  setView(x + right * span, y + up * span, span);
}

/** Look at everything. */
function showAll() {
  setView(0, 0, wholeSpan());
}

/** Look at a row from near enough to read its neighbourhood; at everything, for the parts of a word may lie anywhere. */
function centre(rows) {
  if (rows.length > 1) {
    showAll();
  } else {
    setView(...points[rows[0]], Math.min(view().span, wholeSpan() / 4));
  }
}

/** Fit the map to the room it has now. */
function resize() {
  if (map.clientWidth > 0 && (map.clientWidth !== map.layout.width || map.clientHeight !== map.layout.height)) {
    const { x, y, span } = view();
    const wasWhole = map.layout.width / span;
    const fitted = ranges(x, y, Math.max(span, Math.min(wholeSpan(), map.clientWidth / wasWhole)));
    Plotly.relayout(map, {
      width: map.clientWidth, height: map.clientHeight, "xaxis.range": fitted.x.range, "yaxis.range": fitted.y.range,
    });
  }
}

/** Return a row's place in pixels, from the map's left and top. */
function pixelOf(row) {
  const [[left, right], [bottom, top]] = [map.layout.xaxis.range, map.layout.yaxis.range];
  const [x, y] = points[row];
  return [((x - left) / (right - left)) * map.clientWidth, ((top - y) / (top - bottom)) * map.clientHeight];
}

/** Return the place on the map of a pixel: the inverse of `pixelOf`. */
function placeOf([x, y]) {
  const [[left, right], [bottom, top]] = [map.layout.xaxis.range, map.layout.yaxis.range];
  return [left + (x / map.clientWidth) * (right - left), top - (y / map.clientHeight) * (top - bottom)];
}

/** Mark the selected token (or the parts of a word) and the neighbours, and name what can be named without words on words. */
function drawOverlay() {
  const rows = near.map(([row]) => row);
  const stars = [...new Set(selected.rows)];
  const links = stars.length > 1 ? [] : rows.flatMap((row) => [points[stars[0]], points[row], [null, null]]);
  const labels = placeLabels(stars, rows);
  const pointsOf = (of) => of.map((row) => points[row]);
  const places = [links, pointsOf(rows), pointsOf(stars), labels.map(({ pixel }) => placeOf(pixel))];
  const marked = new Set([...stars, ...rows]);
  const forLabels = (values) => [null, null, null, values];
  Plotly.restyle(map, {
    x: places.map((pairs) => pairs.map(([x]) => x)),
    y: places.map((pairs) => pairs.map(([, y]) => y)),
    text: forLabels(labels.map(({ row }) => plotlyText(names[row]))),
    "textfont.color": forLabels(labels.map(({ row }) => colour(marked.has(row) ? "selected" : "ink"))),
    "textfont.size": forLabels(labels.map(({ row }) => fontSize(row))),
  }, [LINKS, RINGS, STAR, LABELS]);
}

/** Choose labels: the selected token, its neighbours, then frequent words in view, each where nothing stands yet. */
function placeLabels(stars, neighbourRows) {
  const taken = stars.map((row) => around(pixelOf(row), 8));
  const placed = [];
  const place = (row, distances) => {
    const label = freePlace(row, taken, distances);
    if (label) {
      placed.push(label);
      taken.push(label.box);
    }
  };
  stars.forEach((row) => place(row, [8, 16]));
  taken.push(...neighbourRows.map((row) => around(pixelOf(row), 6)));
  neighbourRows.forEach((row) => place(row, [7, 18]));
  const most = placed.length + (map.clientWidth * map.clientHeight) / PIXELS_A_LABEL;
  const isMarked = new Set([...stars, ...neighbourRows]);
  for (const row of labelledFirst) {
    if (placed.length >= most) {
      break;
    }
    if (!isMarked.has(row) && isInside(around(pixelOf(row), 0))) {
      place(row, [3]);
    }
  }
  return placed;
}

/** Return a label at the first free place around its point, or undefined; what is tried lies at these distances from it. */
function freePlace(row, taken, distances) {
  const [x, y] = pixelOf(row);
  const half = [textWidth(names[row], fontSize(row)) / 2, fontSize(row) / 2 + 1];
  for (const distance of distances) {
    for (const [right, down] of [[0, -1], [0, 1], [1, 0], [-1, 0], [1, -1], [-1, -1], [1, 1], [-1, 1]]) {
      const pixel = [x + right * (half[0] + distance), y + down * (half[1] + distance)];
      const box = [pixel[0] - half[0], pixel[1] - half[1], pixel[0] + half[0], pixel[1] + half[1]];
      if (isInside(box) && !taken.some((other) => overlaps(box, other))) {
        return { row, pixel, box };
      }
    }
  }
  return undefined;
}

const canvas = document.createElement("canvas").getContext("2d");
const fontSize = (row) => (selected.rows.includes(row) ? LABEL_FONT + 3 : LABEL_FONT);

/** Return how many pixels wide text is. */
function textWidth(text, size) {
  canvas.font = `${size}px ${LABEL_FAMILY}`;
  return canvas.measureText(text).width;
}

const around = ([x, y], size) => [x - size, y - size, x + size, y + size];
const overlaps = (a, b) => a[0] < b[2] + 5 && b[0] < a[2] + 5 && a[1] < b[3] + 2 && b[1] < a[3] + 2;
const isInside = ([left, top, right, bottom]) =>
  left >= 0 && top >= 0 && right <= map.clientWidth && bottom <= map.clientHeight;

/** Move and zoom the map by keys. */
function onMapKey(event) {
  const STEP = 0.15;
  const actions = {
    ArrowLeft: () => move(-STEP, 0), ArrowRight: () => move(STEP, 0),
    ArrowUp: () => move(0, STEP), ArrowDown: () => move(0, -STEP),
    "+": () => zoom(0.7), "=": () => zoom(0.7), "-": () => zoom(1 / 0.7), 0: showAll,
  };
  if (actions[event.key] && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    actions[event.key]();
  }
}

// ---------------------------------------------------------------- selected token, sums

/** Select a token or a word: its facts and neighbours beside the map, marks on it, its name in the address. */
function select(subject, { centred = false } = {}) {
  selected = subject;
  near = neighbours(subject.rows);
  say("search-message");
  element("selected-token").textContent = subject.name;
  element("selected-facts").textContent = factsOf(subject);
  showAnswers(element("neighbours"), near, follow);
  announce(`${subject.name}, nearest: ${near.slice(0, 5).map(([other]) => names[other]).join(", ")}`);
  history.replaceState(null, "", `#${encodeURIComponent(subject.name)}`);
  if (centred) {
    centre(subject.rows);
  } else {
    drawOverlay();
  }
}

/** Select a token from a list, and bring it into view if it is not; the list is gone, so focus goes to the heading. */
function follow(row) {
  select(subjectOfRow(row), { centred: !isInside(around(pixelOf(row), 20)) });
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
  Plotly.restyle(map, { visible: !element("words-only").checked }, [FRAGMENTS]).then(() => select(selected));
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
  const answers = analogy(...subjects.map(({ rows }) => rows));
  showAnswers(element("answers"), answers, showOnMap);
  announce(`${a} minus ${b} plus ${c}: ${answers.map(([row]) => names[row]).join(", ")}`);
}

/** Select a token from below the map, and scroll up to it. */
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

/** Return what the address names, or undefined. */
function subjectOfAddress() {
  try {
    return subjectOf(decodeURIComponent(location.hash.slice(1)));
  } catch {
    return undefined; // a stray percent sign
  }
}

/** Select what the address names, where it names something. */
function onAddress() {
  const subject = subjectOfAddress();
  if (subject && subject.name !== selected.name) {
    select(subject, { centred: true });
  }
}

/** Connect the page and show what it begins with. */
function begin() {
  element("text").addEventListener("input", onType);
  showTokens();
  const start = subjectOfAddress();
  drawMap();
  select(start ?? selected, { centred: start !== undefined });
  addSuggestions(element("search"), (subject) => select(subject, { centred: true }), onNotFound);
  sumFields.forEach((field) => addSuggestions(field, () => {}));
  element("words-only").addEventListener("change", onWordsOnly);
  element("zoom-in").addEventListener("click", () => zoom(0.7));
  element("zoom-out").addEventListener("click", () => zoom(1 / 0.7));
  element("show-all").addEventListener("click", showAll);
  map.addEventListener("keydown", onMapKey);
  element("analogy").addEventListener("submit", (event) => {
    event.preventDefault();
    showSum();
  });
  offerPresets();
  addEventListener("hashchange", onAddress);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
}

begin();

// For the console, and for tests: what the page computes with.
window.tokembed = { encode, pieces, neighbours, analogy, rowOf, subjectOf, pixelOf, names };
