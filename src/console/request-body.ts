/** What a request brings: a small JSON value of a shape that is known, or a Refusal that says what is wrong with it. */
import type { IncomingMessage } from 'node:http'
import * as z from 'zod'
import { leastReplayBytesPerSecond } from '../core/replay-plan.ts'
import { Refusal } from './answer.ts'

const mostBytes = 64 * 1024
const mostPassedOver = 1024 * 1024

/** The body of a request, checked. Throws a Refusal. */
export async function readBody<S extends z.ZodType>(request: IncomingMessage, schema: S): Promise<z.output<S>> {
  const type = (request.headers['content-type'] ?? '').split(';')[0]?.trim().toLowerCase()
  const bytes = await readBytes(request)
  // Forms of other sites can be of other types only; the bodiless are stopped by the check of the origin.
  if (type !== 'application/json' && (bytes.length > 0 || type !== ''))
    throw new Refusal(415, 'the body must be JSON, with "content-type: application/json"')
  return checked(parse(bytes), schema, 'the body')
}

/** Parameters of the query. Throws a Refusal. */
export function readQuery<S extends z.ZodType>(query: URLSearchParams, schema: S): z.output<S> {
  return checked(Object.fromEntries(query), schema, 'the query')
}

function checked<S extends z.ZodType>(value: unknown, schema: S, what: string): z.output<S> {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const issues = result.error.issues.map(
    ({ path, message }) => `${path.length === 0 ? '' : `${path.join('.')}: `}${message}`,
  )
  throw new Refusal(400, `${what} is not as it should be: ${issues.slice(0, 5).join('; ')}`)
}

async function readBytes(request: IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = []
  let bytes = 0
  // The request is not destroyed with the loop: the answer goes over the same connection.
  for await (const piece of request.iterator({ destroyOnReturn: false })) {
    bytes += (piece as Buffer).length
    if (bytes > mostBytes) pieces.length = 0
    else pieces.push(piece as Buffer)
    // What is sent meanwhile is passed over, for a client that is cut off while it sends does not read the answer; within limits.
    if (bytes > mostPassedOver) break
  }
  if (bytes > mostBytes) throw new Refusal(413, `the body is larger than ${mostBytes} bytes`, { connection: 'close' })
  return Buffer.concat(pieces)
}

function parse(bytes: Buffer): unknown {
  if (bytes.length === 0) return {}
  try {
    return JSON.parse(bytes.toString('utf8'))
  } catch {
    throw new Refusal(400, 'the body is no JSON')
  }
}

const pipeline = z.string().min(1).max(64)
const id = z.int().positive()
const limit = z.coerce.number().pipe(z.int().min(1).max(1000)).default(100)

/** As the query of a list may be. Names that mean nothing here are passed over, as proxies and pages add some. */
export const listQuery = z.object({ pipeline: pipeline.optional(), limit })
export const objectsQuery = z.object({
  pipeline: pipeline.optional(),
  state: z.string().min(1).max(32).optional(),
  limit,
})

export const nothing = z.strictObject({})
export const tokenBody = z.strictObject({ token: z.string().max(1000) })
export const requeueBody = z.strictObject({ pipeline, ids: z.union([z.array(id).min(1), z.literal('all')]) })
export const dropBody = z.strictObject({ pipeline, ids: z.array(id).min(1) })
export const cancelBody = z.strictObject({ pipeline, id })

const timeMs = z.int().min(0)
const replayFields = {
  pipeline,
  fromMs: timeMs,
  toMs: timeMs,
  prefix: z.string().max(2048).default(''),
  bytesPerSecond: z.int().min(leastReplayBytesPerSecond),
}
const isForward = ({ fromMs, toMs }: { fromMs: number; toMs: number }) => fromMs < toMs
const notForward = { path: ['toMs'], message: 'must be after fromMs' }
export const planBody = z.strictObject(replayFields).refine(isForward, notForward)
export const replayBody = z
  .strictObject({ ...replayFields, planned: z.strictObject({ objects: z.int().min(0), bytes: z.int().min(0) }) })
  .refine(isForward, notForward)

/** Entries of the quarantine count from 1. */
export function entryId(text: string): number | undefined {
  const value = /^[1-9]\d{0,15}$/.test(text) ? Number(text) : Number.NaN
  return Number.isSafeInteger(value) ? value : undefined
}
