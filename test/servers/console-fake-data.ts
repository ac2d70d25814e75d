/** What the made-up streamer of `console-fake.ts` says. */
import type { ReplayRequest } from '../../src/console/operations.ts'
import type {
  DependencySnapshot,
  ObjectSnapshot,
  PipelineSnapshot,
  QuarantineSnapshot,
  ReloadOutcome,
  ReplaySnapshot,
  RunSnapshot,
  UnderWaySnapshot,
} from '../../src/console/snapshot.ts'

export type Scene = 'empty' | 'busy' | 'trouble' | 'many'

/** Turns the direction of what follows, breaks the line, and is markup: a key that anyone may store. */
export const hostileKey = `web/<img src=x onerror=alert(1)>\u202Egpj.exe\nnext"line'&amp;${'x'.repeat(1000)}/end.gz`

export const hourMs = 3_600_000

export function curve(value: number, seed: number): number[] {
  return Array.from({ length: 360 }, (_, i) => {
    const wave = Math.sin((i + seed * 40) / 23) * 0.18 + Math.sin((i + seed * 7) / 5) * 0.05
    const quiet = i > 140 && i < 152 && seed === 0 ? 0.1 : 1
    return Math.max(0, value * (1 + wave) * quiet)
  })
}

export function pipelinesOf(scene: Scene, begunMs: number, seconds: number): PipelineSnapshot[] {
  if (scene === 'empty') return [idle(begunMs)]
  if (scene === 'many') {
    return Array.from({ length: 100 }, (_, i) => ({
      ...webLogs(begunMs, seconds * (i + 1)),
      name: `tenant-${String(i + 1).padStart(3, '0')}`,
      source: `s3://tenant-${i + 1}-logs/AWSLogs/`,
      lagSeconds: (i * 37) % 600,
    }))
  }
  const busy = [webLogs(begunMs, seconds), transfer(begunMs, seconds)]
  return scene === 'busy' ? busy : busy.map((pipeline, i) => (i === 0 ? inTrouble(pipeline, begunMs) : pipeline))
}

function idle(begunMs: number): PipelineSnapshot {
  return {
    name: 'web-logs',
    source: 's3://my-weblogs/_weblog/',
    sink: 'http, 2 endpoints',
    sends: 'records',
    state: 'running',
    error: undefined,
    startedMs: begunMs - 76 * hourMs,
    counts: { read: 0, delivered: 0, filtered: 0, quarantined: 0, bytes: 0 },
    objects: { done: 0, quarantined: 0, vanished: 0, replaced: 0, failed: 0, stopped: 0 },
    retries: 0,
    rates: { recordsPerSecond: 0, bytesPerSecond: 0, objectsPerSecond: 0 },
    lagSeconds: 0,
    inFlight: { bytes: 0, budgetBytes: 67_108_864, batches: 0 },
    waiting: 0,
    complete: true,
    dependencies: [
      { of: 'source', name: 's3', state: 'up', sinceMs: begunMs - 76 * hourMs, error: undefined },
      unused('http http://localhost:8080', begunMs),
      unused('http http://localhost:8081', begunMs),
    ],
    ledger: { bytes: 61_440, savedMs: undefined, error: undefined, failed: 0, quarantine: 0 },
    underWay: [],
    underWayCount: 0,
    replays: [],
  }
}

function unused(name: string, sinceMs: number): DependencySnapshot {
  return { of: 'sink', name, state: 'unused', sinceMs, error: undefined }
}

function webLogs(begunMs: number, seconds: number): PipelineSnapshot {
  const delivered = 184_220_316 + seconds * 11_842
  const filtered = 2_310_447 + seconds * 148
  const quarantined = 37
  return {
    ...idle(begunMs),
    counts: {
      read: delivered + filtered + quarantined,
      delivered,
      filtered,
      quarantined,
      bytes: 286_000_000_000 + seconds * 18_400_000,
    },
    objects: { done: 28_114, quarantined: 1, vanished: 2, replaced: 0, failed: 4, stopped: 0 },
    retries: 312,
    rates: { recordsPerSecond: 11_990, bytesPerSecond: 18_400_000, objectsPerSecond: 1.8 },
    lagSeconds: 42,
    inFlight: { bytes: 21_400_000, budgetBytes: 67_108_864, batches: 11 },
    waiting: 164,
    dependencies: [
      { of: 'source', name: 's3', state: 'up', sinceMs: begunMs - 76 * hourMs, error: undefined },
      { of: 'sink', name: 'http http://localhost:8080', state: 'up', sinceMs: begunMs - 5 * hourMs, error: undefined },
      { of: 'sink', name: 'http http://localhost:8081', state: 'up', sinceMs: begunMs - 76 * hourMs, error: undefined },
    ],
    ledger: {
      bytes: 18_300_000,
      savedMs: begunMs + seconds * 1000 - (seconds % 5) * 1000,
      error: undefined,
      failed: 0,
      quarantine: 0,
    },
    underWay: Array.from({ length: 12 }, (_, i) => underWay(i, begunMs)),
    underWayCount: 12,
  }
}

function underWay(i: number, begunMs: number): UnderWaySnapshot {
  const name = `_weblog/feedname=Threat Team - Web/year=2026/month=11/day=21/NSSWeb_2026-11-21T18-${String(i).padStart(2, '0')}-00Z_0001.gz`
  return {
    id: `object-${i}`,
    key: i === 3 ? hostileKey : name,
    startedMs: begunMs - i * 700 - 900,
    timeMs: begunMs - 60_000,
    size: 1_100_000,
    records: 120 + i * 480,
    bytes: 180_000 + i * 720_000,
    totalBytes: undefined,
    isReplay: i === 5,
  }
}

function transfer(begunMs: number, seconds: number): PipelineSnapshot {
  return {
    ...idle(begunMs),
    name: 'sftp-archive',
    source: 'sftp://files.example.com:22/out',
    sink: 's3://archive/incoming/',
    sends: 'objects',
    counts: { read: 0, delivered: 0, filtered: 0, quarantined: 0, bytes: 912_000_000_000 + seconds * 88_000_000 },
    objects: { done: 4_402, quarantined: 0, vanished: 3, replaced: 0, failed: 0, stopped: 0 },
    retries: 6,
    rates: { recordsPerSecond: 0, bytesPerSecond: 88_000_000, objectsPerSecond: 0.3 },
    lagSeconds: 318,
    inFlight: { bytes: 50_331_648, budgetBytes: 67_108_864, batches: 0 },
    waiting: 12,
    complete: false,
    dependencies: [
      {
        of: 'source',
        name: 'sftp files.example.com:22',
        state: 'up',
        sinceMs: begunMs - 12 * hourMs,
        error: undefined,
      },
      { of: 'sink', name: 's3 archive', state: 'up', sinceMs: begunMs - 12 * hourMs, error: undefined },
    ],
    ledger: { bytes: 1_200_000, savedMs: begunMs, error: undefined, failed: 0, quarantine: 0 },
    underWay: [0, 1, 2].map((i) => ({
      ...underWay(i, begunMs),
      key: `out/batch-${i + 1}/export.parquet`,
      records: undefined,
      bytes: 310_000_000 + i * 900_000_000,
      totalBytes: 4_000_000_000,
      isReplay: false,
    })),
    underWayCount: 3,
  }
}

function inTrouble(pipeline: PipelineSnapshot, begunMs: number): PipelineSnapshot {
  const refused =
    'cannot send 1,000 records to http://localhost:8080: connect ECONNREFUSED 127.0.0.1:8080 (is Edge Delta running there?)'
  return {
    ...pipeline,
    rates: { recordsPerSecond: 0, bytesPerSecond: 0, objectsPerSecond: 0 },
    lagSeconds: 5_160,
    retries: 4_418,
    inFlight: { bytes: 67_000_000, budgetBytes: 67_108_864, batches: 20 },
    waiting: 18_204,
    dependencies: [
      { of: 'source', name: 's3', state: 'up', sinceMs: begunMs - 76 * hourMs, error: undefined },
      {
        of: 'sink',
        name: 'http http://localhost:8080',
        state: 'failing',
        sinceMs: begunMs - 4_700_000,
        error: refused,
      },
      {
        of: 'sink',
        name: 'http http://localhost:8081',
        state: 'paused',
        sinceMs: begunMs - 95_000,
        error: '429 Too Many Requests, asked to wait 2 min',
      },
    ],
    ledger: {
      ...pipeline.ledger,
      error: 'cannot save state to /var/lib/s3-streamer/web-logs.db: disk is full (free some space)',
      failed: 9,
    },
  }
}

export function quarantineOf(scene: Scene, begunMs: number): QuarantineSnapshot[] {
  return Array.from({ length: scene === 'many' ? 1000 : 12 }, (_, i) => ({
    pipeline: scene === 'many' ? `tenant-${String((i % 7) + 1).padStart(3, '0')}` : 'web-logs',
    id: i + 1,
    kind: i % 5 === 4 ? 'object' : 'records',
    bucket: 'my-weblogs',
    key:
      i === 1
        ? hostileKey
        : `_weblog/feedname=Threat Team - Web/NSSWeb_2026-11-21T17-${String(i % 60).padStart(2, '0')}-00Z.gz`,
    reason:
      i % 5 === 4
        ? 'cannot inflate: the data is corrupt after 1,048,576 bytes (the object was damaged before it was stored)'
        : 'refused by http://localhost:8080: 400 Bad Request: timestamp out of range',
    firstRecord: i * 1000,
    records: i % 5 === 4 ? 0 : ((i * 13) % 40) + 1,
    createdMs: begunMs - i * 340_000,
    requeued: i === 3,
  }))
}

export function refusal(begunMs: number): ReloadOutcome {
  const problems = ['config.yaml:14:5 http.batch_bytes: must be a size like "1MiB" (got "1 Mega")']
  return { atMs: begunMs - 600_000, ok: false, problems, started: [], stopped: [], restarted: [], kept: [] }
}

export function replayOf(begunMs: number): ReplaySnapshot {
  return {
    id: 1,
    fromMs: begunMs - 30 * hourMs,
    toMs: begunMs - 26 * hourMs,
    prefix: '_weblog/feedname=Threat Team - Web/',
    bytesPerSecond: 10_000_000,
    state: 'running',
    createdMs: begunMs - 300_000,
    updatedMs: begunMs,
    planned: { objects: 1204, bytes: 9_400_000_000 },
    done: { objects: 388, bytes: 2_990_000_000, failed: 0 },
    error: undefined,
  }
}

export function started(request: ReplayRequest, id: number, nowMs: number): ReplaySnapshot {
  const { fromMs, toMs, prefix, bytesPerSecond } = request
  const planned = { objects: 1204, bytes: 9_400_000_000 }
  const done = { objects: 0, bytes: 0, failed: 0 }
  return {
    id,
    fromMs,
    toMs,
    prefix,
    bytesPerSecond,
    state: 'waiting',
    createdMs: nowMs,
    updatedMs: nowMs,
    planned,
    done,
    error: undefined,
  }
}

export function runsOf(pipeline: string, begunMs: number): RunSnapshot[] {
  const outcomes = ['running', 'killed', 'stopped', 'failed', 'done'] as const
  return outcomes.map((outcome, i) => ({
    pipeline,
    id: 5 - i,
    startedMs: begunMs - (i + 1) * 76 * hourMs,
    updatedMs: begunMs - i * 76 * hourMs - 60_000,
    mode: i === 4 ? 'once' : 'daemon',
    outcome,
    objects: { done: 28_114 - i * 4000, failed: i === 3 ? 12 : 0 },
    counts: { read: 1_000_020 - i, delivered: 1_000_000 - i, filtered: 15, quarantined: 5, bytes: 1_840_000_000 },
    figures: {},
    error: outcome === 'failed' ? 'cannot list s3://my-weblogs: AccessDenied (s3:ListBucket is needed)' : undefined,
  }))
}

export function objectsOf(pipeline: string, begunMs: number): ObjectSnapshot[] {
  const states = ['active', 'done', 'done', 'failed', 'quarantined', 'done', 'requeued', 'vanished'] as const
  return states.map((state, i) => ({
    pipeline,
    bucket: 'my-weblogs',
    key: i === 2 ? hostileKey : `_weblog/feedname=Threat Team - Web/NSSWeb_2026-11-21T18-0${i}-00Z.gz`,
    state,
    size: 1_100_000 + i * 31_000,
    timeMs: begunMs - i * 60_000,
    attempts: state === 'failed' ? 3 : 1,
    read: state === 'vanished' ? 0 : 6554,
    delivered: state === 'vanished' ? 0 : 6500,
    filtered: state === 'vanished' ? 0 : 54,
    quarantined: 0,
    bytes: 10_000_000,
    error:
      state === 'failed' ? 'cannot read s3://my-weblogs/…: connection reset (tried again at the next scan)' : undefined,
    startedMs: begunMs - i * 61_000,
    updatedMs: begunMs - i * 59_000,
  }))
}

export const configText = `# In force, with every default. Secrets are hidden.
pipelines:
  web-logs:
    source:
      type: s3_scan
      bucket: my-weblogs
      prefix: "_weblog/"
      region: us-east-1
    sink:
      type: http
      endpoints:
        - http://localhost:8080
        - http://localhost:8081
      headers:
        X-Api-Key: "[redacted]"
console:
  token: "[redacted]"
`
