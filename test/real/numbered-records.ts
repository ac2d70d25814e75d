/** Records that carry their number, so that what arrives can be counted and compared byte by byte. */

const digits = 7
const head = '{"n":"'

/** About 300 bytes of JSON, as `JSON.stringify` writes it; every tenth has characters that need care on the way. */
export function recordText(number: number): string {
  const odd = number % 10 === 7 ? 'Grüße "quoted" \\ back\tslash\u0001 € 😀' : 'plain words of a log message'
  return JSON.stringify({
    n: String(number).padStart(digits, '0'),
    time: new Date(1_760_305_292_000 + number * 7).toISOString(),
    action: number % 9 === 0 ? 'Blocked' : 'Allowed',
    client: { ip: `10.${number % 200}.${number % 251}.${number % 13}`, port: 1024 + (number % 60_000) },
    bytes: (number * 7919) % 1_000_003,
    url: `https://host${number % 97}.example.com/${(number * 2_654_435_761) % 4_294_967_296}`,
    message: `${odd} ${'x'.repeat(number % 60)}`,
  })
}

/** The number of a record that is whole, or undefined. */
export function numberOf(record: string): number | undefined {
  const number = Number.parseInt(record.slice(head.length, head.length + digits), 10)
  return number >= 0 && record === recordText(number) ? number : undefined
}

/** Counts what arrived of the records 0 to `expected` - 1. */
export class RecordCounter {
  readonly #ids: (string | undefined)[]
  #unique = 0
  duplicated = 0
  /** Records that are not ours or not whole. */
  strange = 0
  /** Records that came under another id than before. */
  renamed = 0

  constructor(expected: number) {
    this.#ids = new Array<string | undefined>(expected).fill(undefined)
  }

  add(record: string, id: string): void {
    const number = numberOf(record)
    if (number === undefined || number >= this.#ids.length) {
      this.strange += 1
      return
    }
    const known = this.#ids[number]
    this.#ids[number] = id
    if (known === undefined) this.#unique += 1
    else this.duplicated += 1
    if (known !== undefined && known !== id) this.renamed += 1
  }

  get lost(): number {
    return this.#ids.length - this.#unique
  }

  /** Ids that more than one record has. */
  get shared(): number {
    return this.#unique - new Set(this.#ids.filter((id) => id !== undefined)).size
  }
}
