// Server-sent events, read from text that is cut anywhere.

const LINE_END = /\r\n?|\n/g;
const MOST = 4 * 1024 * 1024;

/** Reads an event stream as the HTML standard describes it. */
export class EventParser {
  #line = []; // the pieces of the line that has not ended yet
  #size = 0; // characters of the event that has not ended yet
  #afterReturn = false;
  #kind = "";
  #data = [];
  #id = "";

  /**
   * The blocks that end in this piece, each as {id, kind, data}. `id` is the last one that the stream named.
   * `data` is null in a block without data, which is not an event and only moves the id.
   */
  feed(piece) {
    const blocks = [];
    let from = this.#afterReturn && piece.startsWith("\n") ? 1 : 0;
    if (piece) this.#afterReturn = piece.endsWith("\r");
    LINE_END.lastIndex = from;
    for (let end = LINE_END.exec(piece); end; end = LINE_END.exec(piece)) {
      this.#line.push(piece.slice(from, end.index));
      from = LINE_END.lastIndex;
      const block = this.#take(this.#line.join(""));
      this.#line = [];
      if (block) blocks.push(block);
    }
    this.#line.push(piece.slice(from));
    this.#size += piece.length;
    if (blocks.length) this.#size = piece.length - from;
    if (this.#size > MOST) throw new RangeError("an event of the stream is too long");
    return blocks;
  }

  #take(line) {
    if (line === "") return this.#end();
    const colon = line.indexOf(":");
    if (colon === 0) return null; // a comment
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (name === "data") this.#data.push(value);
    else if (name === "event") this.#kind = value;
    else if (name === "id" && !value.includes("\0")) this.#id = value;
    return null;
  }

  #end() {
    const data = this.#data.length ? this.#data.join("\n") : null;
    const block = { id: this.#id, kind: this.#kind || "message", data };
    this.#kind = "";
    this.#data = [];
    return block;
  }
}
