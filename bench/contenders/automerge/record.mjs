/** A record with texts that are replaced as a whole, not edited by letter: the smaller and quicker form for what nobody edits. */
export function asStored({ clock, ...texts }, ImmutableString) {
  return { ...Object.fromEntries(Object.entries(texts).map(([name, text]) => [name, new ImmutableString(text)])), clock };
}
