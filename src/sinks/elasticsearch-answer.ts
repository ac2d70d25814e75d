/**
 * What a `_bulk` answer says of each record. The answer as a whole is 200 whatever became of the records:
 *
 *   2xx              stored
 *   409              was there already: stored by an earlier try
 *   401 403 404      the operator must act: tried again, as are refusals that are known to be about settings
 *   408 425 429 5xx  the server is busy or ill: tried again
 *   other 4xx        refused for good
 *
 * https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-bulk
 */
import { type ErrorCode, StreamError } from '../core/errors.ts'

/**
 * Keeps answers small. The status is in every item, so every item is in the answer: with errors alone, the items that
 * went well would be left out of the list, and the others would lose their place.
 */
export const answerFields = [
  'errors',
  'items.*.status',
  'items.*.error.type',
  'items.*.error.reason',
  'items.*.error.caused_by.reason',
]

const allStored = Buffer.from('{"errors":false')
const statusKey = Buffer.from('"status":')
/** Characters of the server's reason that are kept. */
const reasonLength = 600

/** What became of the records of a batch so far; the next write of the batch sends only the others. */
export class BulkProgress {
  /** 1 for each record that is stored or refused. */
  readonly settled: Uint8Array
  readonly refused = new Map<number, StreamError>()
  /** Records that are not settled. */
  left: number

  constructor(count: number) {
    this.settled = new Uint8Array(count)
    this.left = count
  }
}

export interface ItemCounts {
  /** Items that were stored by an earlier try. */
  existing: number
  refused: number
  /** The error that stands for the items that must be sent again; undefined if all are settled. */
  failure: StreamError | undefined
}

/**
 * Settles the records that the request had, those that were not settled before, in order. `target` names where they
 * went, for messages. Throws sink.unavailable if the answer is none of `_bulk`.
 */
export function settleItems(answer: Buffer, progress: BulkProgress, target: string): ItemCounts {
  const counts: ItemCounts = { existing: 0, refused: 0, failure: undefined }
  if (answer.subarray(0, allStored.length).equals(allStored) && statusesIn(answer) === progress.left) {
    progress.settled.fill(1)
    progress.left = 0
    return counts
  }
  const items = itemsOf(answer, progress.left, target)
  const { length } = progress.settled
  let worst: { status: number; code: ErrorCode; words: string } | undefined
  let at = -1
  for (const item of items) {
    at = progress.settled.indexOf(0, at + 1)
    const { status, error } = item
    const words = error === undefined ? '' : wordsOf(error)
    const code = codeOf(status, error)
    if (code !== undefined && code !== 'sink.rejected') {
      if (!worst || (code === 'sink.access' && worst.code !== 'sink.access')) worst = { status, code, words }
      continue
    }
    progress.settled[at] = 1
    progress.left -= 1
    if (status === 409) counts.existing += 1
    if (code === undefined) continue
    counts.refused += 1
    const message = `${target} refused the record: ${status} ${words}`
    progress.refused.set(at, new StreamError(code, message, { data: { status, type: error?.type } }))
  }
  if (worst) {
    const { status, code, words } = worst
    const hint = hintFor(words, status === 404 ? missingHint : statusHints[status])
    const message = `cannot index ${progress.left} of ${length} records in ${target}: ${status} ${words}${hint}`
    counts.failure = new StreamError(code, message, { data: { status, records: progress.left } })
  }
  return counts
}

/** A request that was refused as a whole: every record it had is refused. */
export function refuseRest(progress: BulkProgress, error: StreamError): ItemCounts {
  const refused = progress.left
  for (let at = progress.settled.indexOf(0); at >= 0; at = progress.settled.indexOf(0, at + 1)) {
    progress.settled[at] = 1
    progress.refused.set(at, error)
  }
  progress.left = 0
  return { existing: 0, refused, failure: undefined }
}

/** Items of an answer without errors: counting is much cheaper than parsing. */
function statusesIn(answer: Buffer): number {
  let count = 0
  for (let at = answer.indexOf(statusKey); at >= 0; at = answer.indexOf(statusKey, at + 1)) count += 1
  return count
}

interface ItemError {
  readonly type?: string
  readonly reason?: string
  readonly caused_by?: { readonly reason?: string }
}
interface Item {
  readonly status: number
  readonly error?: ItemError
}

function itemsOf(answer: Buffer, count: number, target: string): Item[] {
  const strange = (why: string) =>
    new StreamError(
      'sink.unavailable',
      `${target} gave no answer of _bulk: ${why} (is it Elasticsearch or OpenSearch?)`,
    )
  let parsed: unknown
  try {
    parsed = JSON.parse(answer.toString())
  } catch (error) {
    throw new StreamError('sink.unavailable', `${target} answered _bulk with something that is no JSON`, {
      cause: error,
    })
  }
  const items: unknown = (parsed as { items?: unknown } | null)?.items
  if (!Array.isArray(items)) throw strange('it has no items')
  if (items.length !== count) throw strange(`${items.length} items for ${count} records`)
  return items.map((item: unknown) => {
    const [outcome] = typeof item === 'object' && item !== null ? Object.values(item as object) : []
    const { status } = (outcome ?? {}) as Partial<Item>
    if (typeof status !== 'number') throw strange('an item has no status')
    return outcome as Item
  })
}

/** Refusals of these types are about the state of the index or the cluster, not about the record. */
const operatorTypes = new Set([
  'cluster_block_exception',
  'index_closed_exception',
  'index_not_found_exception',
  'security_exception',
  'validation_exception',
])

/** What only an operator can mend, by the server's words where the type says nothing -> what to do. */
const operatorHints: ReadonlyArray<readonly [RegExp, string]> = [
  [/pipeline with id \[/, 'create the ingest pipeline, or correct `pipeline`'],
  [/Document ID is not supported/, 'set `document_id: none`: this kind of collection makes up its own ids'],
  [
    /explicit index in bulk is not allowed/,
    'use an `index` without dates, or allow rest.action.multi.allow_explicit_index',
  ],
  [/no write index is defined for alias/, 'give the alias a write index'],
  [/no matching index template found for data stream/, 'create an index template with `data_stream` for it'],
  [/index_closed_exception/, 'open the index'],
  [/cluster_block_exception/, 'the index is blocked: free disk space on the nodes, or lift the block'],
  [
    /(Validation Failed: 1: )?this action would add .*shards open/,
    'raise cluster.max_shards_per_node, or use fewer indices',
  ],
]

/** What the operator can do about the server's words, in brackets, or nothing; `otherwise` where the words say nothing. */
export function hintFor(words: string, otherwise: string | undefined): string {
  const hint = operatorHints.find(([pattern]) => pattern.test(words))?.[1] ?? otherwise
  return hint === undefined ? '' : ` (${hint})`
}

/** True if a reason begins with words about settings. Further on a reason quotes the record, and records may hold such words too. */
function isAboutSettings(reason: string): boolean {
  return operatorHints.some(([pattern]) => reason.search(pattern) === 0)
}

/** True if the words of a refusal are about settings, not about what was sent. */
export function isOperatorMatter(words: string): boolean {
  return operatorHints.some(([pattern]) => pattern.test(words))
}

const missingHint = 'create the index, or let the cluster create it: action.auto_create_index'
/** Statuses that mean the same of a whole request and of an item. */
export const statusHints: Readonly<Record<number, string>> = {
  401: 'check `auth`',
  403: 'the user, key or role needs the privileges that the reference page of this sink lists',
  429: 'the cluster is busy: records wait here until it takes them',
}

/** undefined: stored. */
function codeOf(status: number, error: ItemError | undefined): ErrorCode | undefined {
  if ((status >= 200 && status < 300) || status === 409) return undefined
  if (status === 429) return 'sink.throttled'
  if (status >= 500 || status < 400 || status === 408 || status === 425) return 'sink.unavailable'
  if (status === 401 || status === 403 || status === 404 || operatorTypes.has(error?.type ?? '')) return 'sink.access'
  return isAboutSettings(error?.reason ?? '') ? 'sink.access' : 'sink.rejected'
}

function wordsOf({ type, reason, caused_by }: ItemError): string {
  const words = [type, reason, caused_by?.reason].filter((text) => text !== undefined && text !== '')
  return words
    .join(': ')
    .replaceAll(/[\p{Cc}\s]+/gu, ' ')
    .slice(0, reasonLength)
}
