/** Content-Disposition of a download (RFC 6266): the name a client saves it under. */

/**
 * `inline; filename="name"` exactly for printable ASCII without quote and backslash, which clients compare as a whole. Else such characters
 * become `_` there and the true name follows as `filename*` (RFC 8187): no name can end the header or the quotes.
 */
export function contentDisposition(name: string): string {
  const plain = name.replace(/[^\x20-\x7e]|["\\]/gu, '_')
  const simple = `inline; filename="${plain}"`
  return plain === name ? simple : `${simple}; filename*=UTF-8''${encode(name)}`
}

function encode(name: string): string {
  return encodeURIComponent(name.toWellFormed()).replace(
    /['()*]/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
  )
}
