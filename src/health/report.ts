/** The answer of `/health` and `/ready`, in the shape that monitoring of the first streamer already reads. */
import type { Snapshot } from '../console/snapshot.ts'

/** One thing that was looked at; `error` undefined means that it is well. */
export interface HealthEntry {
  readonly pipeline: string
  readonly name: string
  readonly error: string | undefined
}

export interface HealthReport {
  readonly status: 'healthy' | 'unhealthy'
  /** Name -> `OK` or `ERROR: why`. */
  readonly checks: Readonly<Record<string, string>>
  readonly message?: string
  /** RFC 3339, UTC, in seconds. */
  readonly timestamp: string
}

/** What the pipelines themselves and their ledgers say. */
export function entriesOf({ pipelines }: Pick<Snapshot, 'pipelines'>): HealthEntry[] {
  return pipelines.flatMap(({ name: pipeline, state, error, ledger }) => [
    // One that has stopped did all there was, or was told to: only a failure is trouble.
    { pipeline, name: 'pipeline', error: state === 'failed' ? (error ?? 'it failed') : undefined },
    { pipeline, name: 'state', error: ledger.error },
  ])
}

export function healthReport(entries: readonly HealthEntry[], nowMs: number, notReady?: string): HealthReport {
  const isOne = new Set(entries.map(({ pipeline }) => pipeline)).size < 2
  const checks: Record<string, string> = {}
  for (const { pipeline, name, error } of entries) {
    const plain = isOne ? name : `${pipeline}/${name}`
    // Never one entry in the place of another: then the last endpoint would speak for all.
    let own = plain
    for (let n = 2; Object.hasOwn(checks, own); n += 1) own = `${plain} ${n}`
    checks[own] = error === undefined ? 'OK' : `ERROR: ${shown(error)}`
  }
  const isFailing = entries.some(({ error }) => error !== undefined)
  const message = notReady ?? (isFailing ? 'One or more health checks failed' : undefined)
  return {
    status: message === undefined ? 'healthy' : 'unhealthy',
    checks,
    ...(message === undefined ? {} : { message }),
    timestamp: new Date(nowMs).toISOString().replace(/\.\d+Z$/, 'Z'),
  }
}

const shownLength = 500

/** These answers need no token: whatever a library put into its message, no login of a URL goes out. */
function shown(error: string): string {
  return error.replaceAll(/(:\/\/)[^\s/@]*@/g, '$1').slice(0, shownLength)
}
