import { RolegateError } from "../error.js";

/** An event of a stream, as the HTML specification dispatches it. */
export interface SseEvent {
  /** `message` if the stream names none. */
  name: string;
  data: string;
  /** The last `id:` of the stream up to this event; empty if there was none. */
  lastId: string;
}

/**
 * Takes `text/event-stream` apart, however it is cut into chunks. Text comes from a `TextDecoder`,
 * which leaves a byte order mark out.
 */
export class SseParser {
  /** Milliseconds of the last `retry:`. */
  retryMs: number | undefined;
  readonly #most: number;
  /** Pieces of the line that has no end yet. */
  #line: string[] = [];
  #name = "";
  #data: string[] = [];
  #lastId = "";
  /** Characters held in `#line`, and in `#data`. */
  #lineChars = 0;
  #dataChars = 0;
  /** The last chunk ended with a carriage return, whose line feed may begin the next. */
  #afterReturn = false;

  /** `most` characters in one event. */
  constructor(most: number) {
    this.#most = most;
  }

  /** The events that this chunk completes. */
  push(chunk: string): SseEvent[] {
    const events: SseEvent[] = [];
    let from = 0;
    if (this.#afterReturn && chunk.startsWith("\n")) from = 1;
    if (chunk !== "") this.#afterReturn = chunk.endsWith("\r");
    const ends = /\r\n|\n|\r/g;
    ends.lastIndex = from;
    for (let end = ends.exec(chunk); end !== null; end = ends.exec(chunk)) {
      this.#line.push(chunk.slice(from, end.index));
      const line = this.#line.join("");
      this.#line = [];
      this.#lineChars = 0;
      from = ends.lastIndex;
      const event = this.#end(line);
      if (event) events.push(event);
    }
    if (from < chunk.length) {
      this.#line.push(chunk.slice(from));
      this.#lineChars += chunk.length - from;
      this.#bound();
    }
    return events;
  }

  #end(line: string): SseEvent | undefined {
    if (line === "") return this.#dispatch();
    const colon = line.indexOf(":");
    if (colon === 0) return undefined;
    const field = colon < 0 ? line : line.slice(0, colon);
    const rest = colon < 0 ? "" : line.slice(colon + 1);
    const value = rest.startsWith(" ") ? rest.slice(1) : rest;
    if (field === "data") {
      this.#data.push(value);
      this.#dataChars += value.length + 1;
      this.#bound();
    } else if (field === "event") this.#name = value;
    else if (field === "id" && !value.includes("\0")) this.#lastId = value;
    else if (field === "retry" && /^[0-9]+$/.test(value)) this.retryMs = Number(value);
    return undefined;
  }

  #dispatch(): SseEvent | undefined {
    const [name, data] = [this.#name, this.#data];
    this.#name = "";
    this.#data = [];
    this.#dataChars = 0;
    if (data.length === 0) return undefined;
    return { name: name || "message", data: data.join("\n"), lastId: this.#lastId };
  }

  #bound(): void {
    if (this.#lineChars + this.#dataChars > this.#most) {
      throw new RolegateError(`An event has more than ${this.#most} characters.`, {
        code: "client_limit",
        hint: "Ask for fewer rows or columns, or raise maxEventChars.",
      });
    }
  }
}
