/** Objects of log lines of every kind, and the count of those that arrived at a receiver. */
import { open } from 'node:fs/promises'
import { gzipSync } from 'node:zlib'

/** The same object and number give the same line. */
export class LogLines {
  readonly objects: number
  readonly linesPerObject: number

  constructor(o: { readonly objects: number; readonly linesPerObject: number }) {
    this.objects = o.objects
    this.linesPerObject = o.linesPerObject
  }

  get count(): number {
    return this.objects * this.linesPerObject
  }

  /** Encoded in notifications, and escaped in structured data. */
  key(object: number): string {
    return `2026/11/21/a b+%20 é "x"]\\/${object}.log.gz`
  }

  /** undefined for any other key. */
  objectOf(key: string): number | undefined {
    const object = Number(/(\d+)\.log\.gz$/.exec(key)?.[1])
    return object < this.objects && this.key(object) === key ? object : undefined
  }

  line(object: number, number: number): string {
    const id = `${object}-${number}`
    const kind = kinds[number % kinds.length] as (id: string) => string
    return number % 50 === 49 ? `${id} ${'a long line, '.repeat(300)}${id}` : kind(id)
  }

  body(object: number): Buffer {
    let text = ''
    for (let i = 0; i < this.linesPerObject; i += 1) text += `${this.line(object, i)}\n`
    return gzipSync(text, { level: 1 })
  }
}

const filler =
  'policy=default tenant=corp zone=trusted bypass=no tunnel=ztunnel2 category="Web Search" user=someone@example.com '
const kinds: ReadonlyArray<(id: string) => string> = [
  (id) => `${id} ${filler}${filler}`,
  (id) => `2026-11-21T08:00:00Z ${id} GET /search?q=%20%s%d+x HTTP/1.1 200 ${filler}`,
  (id) => `${id}\tzwölf Boxkämpfer, 真夜中, 🚚 ${filler}${filler}`,
  (id) => `<34>1 2003-10-11T22:14:15.003Z host app - ID47 [x@1 k="v"] ${id} ${filler}`,
  (id) => `${id} "quoted" \\ [brackets] {braces} ' \u0001\u001b[31m\u007f ${filler}${filler}`,
  (id) =>
    `{"time":"2026-11-21T08:00:00.123Z","level":"warn","id":"${id}","text":"{\\"a\\": 1}","note":"${filler.replaceAll('"', "'")}"}`,
]

/** A message as a receiver took it apart. */
export interface Arrived {
  readonly key: string
  readonly record: number
  readonly text: string
}

/** Counts what stands in a file that grows. */
export class Arrivals {
  readonly #lines: LogLines
  readonly #file: string
  readonly #read: (line: string) => Arrived
  readonly #times: Uint8Array
  #offset = 0
  #unique = 0
  #duplicated = 0
  /** The first messages that are not as they were sent, or not ours. */
  readonly strange: string[] = []

  /** `read` takes a line of the file apart, and throws where it cannot. */
  constructor(lines: LogLines, file: string, read: (line: string) => Arrived) {
    this.#lines = lines
    this.#file = file
    this.#read = read
    this.#times = new Uint8Array(lines.count)
  }

  /** Takes what was added. */
  async update(): Promise<this> {
    const file = await open(this.#file).catch(() => undefined)
    if (!file) return this
    try {
      const { size } = await file.stat()
      const { buffer, bytesRead } = await file.read(
        Buffer.alloc(size - this.#offset),
        0,
        size - this.#offset,
        this.#offset,
      )
      const end = buffer.subarray(0, bytesRead).lastIndexOf('\n') + 1
      this.#offset += end
      for (const line of buffer.toString('utf8', 0, end).split('\n')) if (line !== '') this.#take(line)
    } finally {
      await file.close()
    }
    return this
  }

  #take(line: string): void {
    try {
      const { key, record, text } = this.#read(line)
      const object = this.#lines.objectOf(key)
      if (object === undefined || text !== this.#lines.line(object, record)) throw new Error('not what was sent')
      const place = object * this.#lines.linesPerObject + record
      const times = this.#times[place] as number
      if (times === 0) this.#unique += 1
      else this.#duplicated += 1
      this.#times[place] = Math.min(255, times + 1)
    } catch (error) {
      if (this.strange.length < 5)
        this.strange.push(`${error instanceof Error ? error.message : error}: ${line.slice(0, 500)}`)
    }
  }

  get received(): number {
    return this.#unique
  }

  get lost(): number {
    return this.#lines.count - this.#unique
  }

  get duplicated(): number {
    return this.#duplicated
  }

  /** Bytes of the records that did not arrive. */
  get lostBytes(): number {
    let bytes = 0
    for (const [place, times] of this.#times.entries()) {
      const { linesPerObject } = this.#lines
      if (times === 0)
        bytes += Buffer.byteLength(this.#lines.line(Math.floor(place / linesPerObject), place % linesPerObject))
    }
    return bytes
  }
}
