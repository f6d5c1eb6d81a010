/**
 * Text that a guest, an image or another person chose, made harmless for a terminal. Outside the console
 * nothing reaches the terminal without it: an escape sequence can retitle the window, write the clipboard,
 * answer questions on the person's keyboard, or hide what was printed before.
 */

/** Longest escape sequence that is taken for one, in characters; a longer one is shown instead. */
const LONGEST_SEQUENCE = 256;

/**
 * Well-formed sequences, dropped whole so that a coloured boot log stays readable: CSI (colours, cursor) and
 * the string sequences OSC, DCS, SOS, PM and APC up to their end. None spans a line: an unfinished one must
 * not swallow what follows.
 */
const SEQUENCE = new RegExp(
  [
    '(?:\\u001b\\[|\\u009b)[0-?]{0,64}[ -/]{0,8}[@-~]',
    `(?:\\u001b[\\]PX^_]|[\\u009d\\u0090\\u0098\\u009e\\u009f])[^\\u0000-\\u001f\\u007f-\\u009f]{0,${LONGEST_SEQUENCE}}(?:\\u0007|\\u001b\\\\|\\u009c)`,
    '\\u001b[()*+][0-9A-Za-z]',
    '\\u001b[78=>McDEHNOZ]',
  ].join('|'),
  'gu',
);

/** Controls (but for newline and tab), and the characters that change the direction in which text reads. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what this is about
const HARMFUL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;

function shown(character: string): string {
  const code = character.codePointAt(0)!;
  if (code < 0x20) return `^${String.fromCharCode(code + 0x40)}`;
  if (code === 0x7f) return '^?';
  return `\\u${code.toString(16).padStart(4, '0')}`;
}

/** A whole text, newlines and tabs kept. */
export function harmless(text: string): string {
  return text
    .replace(/\r+(?=\n)/g, '')
    .replace(SEQUENCE, '')
    .replace(/(^|\n)\r+/g, '$1')
    .replaceAll('\r', '\n')
    .replace(HARMFUL, shown);
}

/** A value for one place of a page: what was said cannot add lines of its own. */
export function harmlessLine(text: string): string {
  return harmless(text).replace(/\s+/g, ' ').trim();
}

/**
 * A stream of bytes, piece by piece. A line is held back until it is complete, so that a sequence cut in
 * two is still seen as one; a line longer than the limit goes out in parts.
 */
export class HarmlessStream {
  readonly #decoder = new TextDecoder();
  readonly #keep: (line: string) => boolean;
  #held = '';

  /** @param keep whether to show a line, asked about the line as it came */
  constructor(keep: (line: string) => boolean = () => true) {
    this.#keep = keep;
  }

  /** What can be shown now. */
  push(bytes: Uint8Array): string {
    this.#held += this.#decoder.decode(bytes, { stream: true });
    const end = this.#held.lastIndexOf('\n') + 1;
    if (end === 0 && this.#held.length <= 16_384) return '';
    const cut = end === 0 ? this.#held.length : end;
    const out = this.#held.slice(0, cut);
    this.#held = this.#held.slice(cut);
    return this.#show(out);
  }

  /** What is left when the stream has ended. */
  end(): string {
    const out = this.#held + this.#decoder.decode();
    this.#held = '';
    return this.#show(out);
  }

  #show(text: string): string {
    const lines = text.match(/[^\n]*\n|[^\n]+$/g) ?? [];
    return harmless(lines.filter(this.#keep).join(''));
  }
}
