/** What `doctor` tells of the configuration as a whole: warnings, what comes from elsewhere, pipelines that are in each other's way. */
import { readFileSync, statSync } from 'node:fs'
import { Hidden, secretsOf } from '../config/hidden.ts'
import type { LoadedConfig, PipelineConfig } from '../config/pipeline.ts'
import type { Finding } from '../core/component.ts'
import type { Io } from './io.ts'
import { placeOf } from './place.ts'

/** Not of the configuration: made by the launcher. */
const ownVariables: ReadonlySet<string> = new Set(['S3_STREAMER_LAUNCHED'])

export async function* examineConfig(loaded: LoadedConfig, file: string, io: Pick<Io, 'env'>): AsyncGenerator<Finding> {
  const { pipelines, warnings } = loaded
  const names = pipelines.map(({ name }) => name)
  yield { level: 'ok', text: `it is valid: ${names.length === 1 ? 'pipeline' : 'pipelines'} ${names.join(', ')}` }
  for (const { where, message } of warnings) yield { level: 'warning', text: `${where}: ${message}` }
  const set = Object.keys(io.env).filter((name) => name.startsWith('S3_STREAMER_') && !ownVariables.has(name))
  if (set.length > 0) {
    const text = `set from outside, in the place of the file: ${set.toSorted().join(', ')}`
    yield { level: 'note', text, advice: '`check` shows what is in force' }
  }
  yield* readers(loaded, file)
  yield* clashes(pipelines)
}

function* readers(loaded: LoadedConfig, file: string): Generator<Finding> {
  const secrets = secretsOf(loaded)
  const text = readFileSync(file, 'utf8')
  // Those that come from the environment are not in the file.
  if (!secrets.some((secret) => text.includes(secret)) && new Hidden(secrets).in(text) === text) return
  const { mode } = statSync(file)
  if ((mode & 0o044) === 0) yield { level: 'ok', text: 'it has secrets, and only its owner may read it' }
  else {
    const who = `it has secrets, and ${mode & 0o004 ? 'everyone' : 'its group'} on this machine may read it`
    const advice = `chmod 600 ${file}, or take the secrets from the environment: \${NAME}`
    yield { level: mode & 0o004 ? 'warning' : 'note', text: who, advice }
  }
}

function* clashes(pipelines: readonly PipelineConfig[]): Generator<Finding> {
  for (const [i, one] of pipelines.entries()) {
    for (const other of pipelines.slice(i + 1)) {
      const clash = clashOf(one, other)
      if (clash) yield clash
    }
  }
}

function clashOf(one: PipelineConfig, other: PipelineConfig): Finding | undefined {
  const [a, b] = [one.source, other.source]
  if (a.type !== b.type) return undefined
  const both = `${one.name} and ${other.name} both read ${placeOf(a)}`
  if (a.type === 's3_sqs' && a.queue_url === b.queue_url) {
    const advice = 'each message goes to one of them: give each a queue of its own, fed by an SNS topic'
    return { level: 'warning', text: both, advice }
  }
  if (a.type === 's3_scan' && a.bucket === b.bucket && a.endpoint === b.endpoint) {
    const [first, second] = [String(a.prefix ?? ''), String(b.prefix ?? '')].toSorted()
    if (second?.startsWith(first ?? '')) {
      const text =
        first === second ? both : `${one.name} and ${other.name} both read below s3://${String(a.bucket)}/${second}`
      return { level: 'note', text, advice: 'each reads every object there: right if they send it to different places' }
    }
  }
  const isFiles = a.type === 'directory' || a.type === 'sftp'
  if (isFiles && a.path === b.path && a.host === b.host && (a.after !== 'none' || b.after !== 'none')) {
    const advice = 'what one of them removes the other may not have read: use one pipeline, or after: none'
    return { level: 'warning', text: both, advice }
  }
  return undefined
}
