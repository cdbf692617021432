// Reads a wasm, section by section.

/** Of imports, exports and symbols. */
export const FUNCTION = 0;

export class Wasm {
  /** Where each section is: those without a name of their own have their number. */
  sections = [];
  /** The place that is read next. */
  at = 8;

  constructor(bytes) {
    this.bytes = bytes;
    while (this.at < bytes.length) {
      const header = this.at;
      const id = this.byte();
      const size = this.number();
      const [start, end] = [this.at, this.at + size];
      this.sections.push({ name: id === 0 ? this.text() : id, header, content: this.at, start, end });
      this.at = end;
    }
  }

  /** How many functions are imported. Nothing else is. */
  importedFunctions() {
    this.enter(2);
    return this.list(() => {
      this.text();
      this.text();
      if (this.byte() !== FUNCTION) throw new Error('the wasm imports something else than functions');
      this.number();
    }).length;
  }

  /** Where each body is. */
  bodies() {
    this.enter(10);
    return this.list(() => {
      const size = this.number();
      const [start, end] = [this.at, this.at + size];
      this.at = end;
      return { start, end };
    });
  }

  /** Goes to what a section holds. */
  enter(name) {
    const section = this.sections.find((other) => other.name === name);
    if (!section) throw new Error(`the wasm has no section ${name}`);
    this.at = section.content;
    return section;
  }

  list(read) {
    return Array.from({ length: this.number() }, (_, place) => read(place));
  }

  byte() {
    return this.bytes[this.at++];
  }

  /** An unsigned number. Of signed ones only the length is read right. */
  number() {
    let [value, weight, byte] = [0, 1, 0];
    do {
      byte = this.byte();
      value += (byte & 0x7f) * weight;
      weight *= 128;
    } while (byte & 0x80);
    return value;
  }

  text() {
    const size = this.number();
    this.at += size;
    return this.bytes.toString('utf8', this.at - size, this.at);
  }
}
