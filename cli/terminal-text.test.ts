import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { HarmlessStream, harmless, harmlessLine } from './terminal-text.ts';

const ESC = '\u001b';
const BEL = '\u0007';
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what this is about
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/u;

describe('harmless', () => {
  it.each([
    ['colours are dropped', `[${ESC}[0;32m  OK  ${ESC}[0m] Started`, '[  OK  ] Started'],
    ['a window title is dropped', `a${ESC}]0;owned${BEL}b`, 'ab'],
    ['a clipboard write is dropped', `a${ESC}]52;c;cm0gLXJmIH4=${ESC}\\b`, 'ab'],
    ['a request for an answer is dropped', `a${ESC}[6n${ESC}[cb`, 'ab'],
    ['8-bit CSI is dropped', 'a\u009b31mb', 'ab'],
    ['a hyperlink is dropped, its text stays', `${ESC}]8;;http://x${BEL}text${ESC}]8;;${BEL}`, 'text'],
    ['an unfinished OSC is shown', `a${ESC}]0;never\nnext`, 'a^[]0;never\nnext'],
    ['a lone escape is shown', `a${ESC}`, 'a^['],
    ['nested escapes leave no sequence behind', `${ESC}${ESC}[31m[31mx`, '^[[31mx'],
    ['a bell is shown', `a${BEL}b`, 'a^Gb'],
    ['backspaces cannot rewrite', 'rm\b\bls', 'rm^H^Hls'],
    ['a carriage return cannot overwrite', 'secret\rharmless', 'secret\nharmless'],
    ['line ends of a serial port become newlines', 'a\r\nb\r\r\nc\n\rd', 'a\nb\nc\nd'],
    ['right-to-left overrides are shown', 'a\u202egnp.exe', 'a\\u202egnp.exe'],
    ['DEL and NUL are shown', '\u007f\u0000', '^?^@'],
    ['tabs and other scripts stay', 'a\tüñ漢字🙂', 'a\tüñ漢字🙂'],
  ])('%s', (_, text, expected) => {
    expect(harmless(text)).toBe(expected);
  });

  it('never lets a control character through, whatever is in the text', () => {
    const piece = fc.constantFrom(
      ESC,
      `${ESC}[`,
      `${ESC}]`,
      '\u009b',
      BEL,
      '\r',
      '\n',
      'm',
      '0;',
      `${ESC}\\`,
    );
    fc.assert(
      fc.property(fc.array(fc.oneof(piece, fc.string({ unit: 'binary' })), { maxLength: 40 }), (pieces) => {
        expect(harmless(pieces.join(''))).not.toMatch(CONTROL);
      }),
      { numRuns: 2000 },
    );
  });
});

it('harmlessLine keeps a value on its line', () => {
  expect(harmlessLine('full\nState: Running\r\n  x')).toBe('full State: Running x');
});

describe('HarmlessStream', () => {
  const bytes = (text: string) => new TextEncoder().encode(text);

  it('sees a sequence that comes in two pieces as one', () => {
    const stream = new HarmlessStream();
    expect(stream.push(bytes(`a${ESC}[3`)) + stream.push(bytes('1mb\n'))).toBe('ab\n');
  });

  it('leaves out the lines that are not wanted, judged as they came', () => {
    const stream = new HarmlessStream((line) => !line.startsWith('{'));
    expect(stream.push(bytes(`a\n{"x"}\n${ESC}[0m{b\n`)) + stream.end()).toBe('a\n{b\n');
  });

  it('lets no control character through, wherever the bytes are cut', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.oneof(fc.constantFrom(ESC, `${ESC}[1m`, '\n', '\r\n', 'x'), fc.string({ unit: 'binary' })),
        ),
        fc.array(fc.nat(7), { minLength: 1 }),
        (pieces, cuts) => {
          const all = bytes(pieces.join(''));
          const stream = new HarmlessStream();
          let out = '';
          for (let at = 0, i = 0; at < all.length; i++) {
            const size = 1 + cuts[i % cuts.length]!;
            out += stream.push(all.subarray(at, at + size));
            at += size;
          }
          out += stream.end();
          expect(out).not.toMatch(CONTROL);
        },
      ),
    );
  });

  it('does not hold an endless line', () => {
    const stream = new HarmlessStream();
    expect(stream.push(bytes('x'.repeat(20_000)))).toHaveLength(20_000);
  });
});
