/** The text at the start of an object, as far as telling formats apart needs it. */
export interface Head {
  readonly text: string
  /** The first lines, blank ones too; CR and LF cut off. The last may be a part of a line. */
  readonly lines: readonly string[]
  /** True if it starts like a JSON object, or like an array of them. */
  readonly json: boolean
}

const maxBytes = 32 * 1024
const maxLines = 200

export function headOf(sample: Buffer): Head {
  const text = sample.toString('utf8', 0, Math.min(sample.length, maxBytes)).replace(/^\uFEFF/, '')
  return { text, lines: text.split(/\r?\n/, maxLines), json: /^\s*(?:\[\s*)?\{\s*["}]/.test(text) }
}

/** The first lines that are not blank, without the first `skip` lines. */
export function recordLines(head: Head, skip: number, most: number): string[] {
  const records: string[] = []
  for (let i = skip; i < head.lines.length && records.length < most; i++) {
    const line = head.lines[i] as string
    if (line.trim() !== '') records.push(line)
  }
  return records
}

/** How much the start of an object speaks for a format. */
export type Likeness = 'none' | 'weak' | 'strong'

/** `strong` if the object is no JSON and one of its first lines has this shape. */
export function linesLike(head: Head, shape: RegExp): Likeness {
  return !head.json && recordLines(head, 0, 5).some((line) => shape.test(line)) ? 'strong' : 'none'
}
