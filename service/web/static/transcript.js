// What was said: characters with their pinyin above.

import { element } from "./dom.js";

/** The four tones' marks, to be combined with a vowel; the neutral tone has none. */
const MARKS = ["\u0304", "\u0301", "\u030c", "\u0300"];
/** What stands for a syllable that no word has. */
const BARE = /^[a-zêü]+[1-5]$/;
/** A syllable lies in a word if it does so but for rounding, in seconds. */
const ALMOST = 0.002;

/** Return a syllable such as `zhong1` as it is written: `zhōng`. */
export function marked(syllable) {
  const letters = syllable.slice(0, -1).replace("v", "ü"), mark = MARKS[Number(syllable.at(-1)) - 1] ?? "";
  // The mark stands on a, e or o; else on the last vowel; in what has none, such as `ng`, on its first letter.
  const place = [/[aeê]/, /o/, /[iuü](?![iuü])/, /^./].map((one) => letters.search(one)).find((found) => found >= 0);
  return (letters.slice(0, place + 1) + mark + letters.slice(place + 1)).normalize("NFC");
}

/** Return the words, each {text, begin, end, pinyin}: a pinyin for each character, or one for all of them.
 *
 * A syllable that is written by no character is its own text, and without a pinyin; of a model without words, all are. */
export function spelled({ words, syllables }) {
  const all = words.length ? words : syllables.map(({ syllable, ...times }) => ({ text: syllable, ...times }));
  return all.map(({ text, begin, end }) => {
    if (BARE.test(text)) return { text: marked(text), begin, end, pinyin: [] };
    const within = syllables.filter((one) => one.begin >= begin - ALMOST && one.end <= end + ALMOST);
    const pinyin = within.map(({ syllable }) => marked(syllable));
    return { text, begin, end, pinyin: pinyin.length === [...text].length ? pinyin : [pinyin.join(" ")] };
  });
}

/** Return the elements that show words. */
export function written(words) {
  return words.map(({ text, pinyin }) => {
    const parts = pinyin.length > 1 ? [...text] : [text];
    if (!pinyin.length) return element("span", { class: "pinyin", lang: "zh-Latn" }, `${text} `);
    return element("ruby", { lang: "zh-Hans" }, parts.map((part, n) => [part, element("rt", { lang: "zh-Latn" }, pinyin[n])]));
  });
}
