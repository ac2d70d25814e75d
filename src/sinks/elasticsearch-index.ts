/** Names of indices and data streams: which are legal, and how a template becomes the name for the time of an object. */

/** Where each placeholder stands in `2026-11-21T08:30:00.000Z`. */
const dateFields: Readonly<Record<string, readonly [number, number]>> = {
  yyyy: [0, 4],
  MM: [5, 7],
  dd: [8, 10],
  HH: [11, 13],
}
const placeholder = /\{([^{}]*)\}/g

export function hasPlaceholder(template: string): boolean {
  return template.search(placeholder) >= 0
}

/** The name of the index at a time (ms since the epoch, UTC). Placeholders are as `indexProblem` has let them pass. */
export function indexAt(template: string, timeMs: number): string {
  const iso = new Date(timeMs).toISOString()
  return template.replaceAll(placeholder, (text, field: string) => {
    const place = dateFields[field]
    return place === undefined ? text : iso.slice(...place)
  })
}

/** Why no index can have the name that the template gives, or undefined if one can. */
export function indexProblem(template: string): string | undefined {
  for (const [text, field] of template.matchAll(placeholder)) {
    if (dateFields[field as string] === undefined)
      return `${text} is no part of a date: write {yyyy}, {MM}, {dd} or {HH}`
  }
  return nameProblem(template.replaceAll(placeholder, '0'), Buffer.byteLength(indexAt(template, 0)))
}

/**
 * Why no index or data stream can have the name.
 * https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-indices-create
 */
export function nameProblem(name: string, length = Buffer.byteLength(name)): string | undefined {
  if (name === '' || name === '.' || name === '..') return 'must be a name'
  if (name !== name.toLowerCase()) return 'must be in lower case: index names have no capitals'
  const wrong = /[\\/*?"<>| ,#:{}\p{Cc}]/u.exec(name)
  if (wrong) return `must not contain ${JSON.stringify(wrong[0])}`
  if (/^[-_+]/.test(name)) return 'must not start with -, _ or +'
  if (length > 255) return 'must have at most 255 bytes'
  return undefined
}
