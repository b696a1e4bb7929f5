/* Vectors in use: names of tokens, words that are no token, neighbours and sums, as `Embeddings` has them in Python. */

const data = JSON.parse(document.getElementById("data").textContent);
const tokenizer = new Tokenizer(data.tokenizers[0]); // the one of the vectors
const { tokens, counts, isWord, lengths, dimension, clusters } = data.vectors; // rows in order of frequency, the most frequent first
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
  const forms = [typed, tokenizer.lower(typed)].flatMap((form) => [form, form.replace(/<\/w>$/, ""), `${form}-`]);
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
  return hasMeaning ? { name: printable(tokenizer.lower(text.trim())), rows } : undefined;
}

/** Return the tokens of a text, those never trained split into the tokens they were merged from, as far as that goes. */
function partsOf(text) {
  const { idToToken, firstMergeId, specialBase } = tokenizer;
  const pending = tokenizer.encode(text).reverse();
  const parts = [];
  while (pending.length > 0) {
    const id = pending.pop();
    const isKnown = rowOfToken.has(idToToken[id]) || omitted.has(idToToken[id]);
    if (isKnown || id < firstMergeId || id >= specialBase) {
      parts.push(idToToken[id]);
    } else {
      const [left, right] = tokenizer.parts(id - firstMergeId);
      pending.push(right, left);
    }
  }
  return parts;
}

/** Return the id of the token that a whole word is, or undefined. */
function idOfWord(text) {
  return tokenizer.tokenToId.get(tokenizer.lower(text.trim()) + END_OF_WORD);
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
function nearest(query, excluded, topn, wordsOnly) {
  const norm = Math.hypot(...query) || 1;
  const isExcluded = new Set(excluded);
  const found = [];
  for (let row = 0; row < tokens.length; row++) {
    if (isExcluded.has(row) || (wordsOnly && !isWord[row])) {
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
function neighbours(rows, wordsOnly = false, topn = NUM_NEIGHBOURS) {
  return nearest(vectorOf(rows), rows, topn, wordsOnly);
}

/** Return the rows nearest to a - b + c, the rows of the three themselves left out. */
function analogy(a, b, c, wordsOnly = false, topn = 5) {
  const [first, second, third] = [a, b, c].map(vectorOf);
  return nearest(first.map((number, place) => number - second[place] + third[place]), [...a, ...b, ...c], topn, wordsOnly);
}

/** Return a number with its thousands set apart. */
function grouped(number) {
  return number.toLocaleString("en");
}
