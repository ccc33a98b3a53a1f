/**
 * Character data of XML 1.0, escaped. What XML cannot say at all (most control characters, lone surrogates) becomes
 * U+FFFD: a stored value, which may have come from a foreign xattr, never makes a document malformed.
 */

export const XML_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'

const UNSAFE_TEXT = /[&<>\0-\x08\x0b-\x1f\ufffe\uffff\ud800-\udfff]/u
const UNSAFE_ATTRIBUTE = /[&<>"\0-\x1f\ufffe\uffff\ud800-\udfff]/u
const EACH_UNSAFE_TEXT = new RegExp(UNSAFE_TEXT, 'gu')
const EACH_UNSAFE_ATTRIBUTE = new RegExp(UNSAFE_ATTRIBUTE, 'gu')

/** For between tags. A carriage return is written as a reference, or readers would make a line feed of it. */
export function escapeText(value: string): string {
  return UNSAFE_TEXT.test(value) ? value.replace(EACH_UNSAFE_TEXT, reference) : value
}

/** For between double quotes. Tab and line ends are written as references, or readers would make blanks of them. */
export function escapeAttribute(value: string): string {
  return UNSAFE_ATTRIBUTE.test(value) ? value.replace(EACH_UNSAFE_ATTRIBUTE, reference) : value
}

const REFERENCES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;', // so that `]]>` never stands in text
  '"': '&quot;',
  '\t': '&#9;',
  '\n': '&#10;',
  '\r': '&#13;',
}

function reference(character: string): string {
  return REFERENCES[character] ?? '\ufffd'
}

/** `<name attributes>text</name>`, or `<name attributes/>` without text; attributes as from `attribute`. */
export function textElement(name: string, text: string, attributes = ''): string {
  return text === '' ? `<${name}${attributes}/>` : `<${name}${attributes}>${escapeText(text)}</${name}>`
}

/** ` name="value"`, with the blank in front. */
export function attribute(name: string, value: string): string {
  return ` ${name}="${escapeAttribute(value)}"`
}
