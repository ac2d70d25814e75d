/** `doctor`: everything that could keep it from working, in plain words. Looks only, and may be used while the streamer runs. */
import { existsSync } from 'node:fs'
import type { PipelineConfig } from '../config/pipeline.ts'
import type { Component, Finding, Signal } from '../core/component.ts'
import { StreamError } from '../core/errors.ts'
import { problemOf } from '../core/findings.ts'
import { databasePath } from '../ledger/database.ts'
import { MemoryMeter } from '../telemetry/meter.ts'
import { type Assembled, assemble, ledgerOf } from './assemble.ts'
import { openConfig } from './config-file.ts'
import { examineConfig } from './doctor-config.ts'
import { examineKeys } from './doctor-formats.ts'
import { examineMachine } from './doctor-machine.ts'
import { DoctorReport, type Part } from './doctor-report.ts'
import type { ExitCode, Io } from './io.ts'
import { placeOf } from './place.ts'
import { createCommandLog } from './run-log.ts'
import { findStreamer } from './running-streamer.ts'
import { refuseUnwritableFiles, withoutState } from './state-access.ts'

/** Longest time for one source or sink. */
const partMs = 90_000

export async function doctor(
  flags: { readonly config: string; readonly pipeline?: string; readonly json: boolean },
  io: Io,
): Promise<ExitCode> {
  const loaded = openConfig(flags, io)
  if (!loaded) return 2
  const report = new DoctorReport(io, flags)
  const signal = AbortSignal.any([io.soft, io.unread])
  try {
    const running = (await findStreamer(loaded, io, { signal }))?.streamer.url
    await tellAll(report, { part: 'machine', title: 'this machine' }, examineMachine(loaded, running), { signal })
    await tellAll(report, { part: 'configuration', title: flags.config }, examineConfig(loaded, flags.config, io), {
      signal,
    })
    for (const config of loaded.pipelines) await examinePipeline(config, report, io, { signal })
  } catch (error) {
    if (!signal.aborted) throw error
    if (io.unread.aborted) return 0
    io.stderr('interrupted: not everything was looked at\n')
    return 1
  }
  report.end()
  return report.problems > 0 ? 3 : 0
}

async function examinePipeline(config: PipelineConfig, report: DoctorReport, io: Io, o: Signal): Promise<void> {
  const { name: pipeline, source, sink, state } = config
  const log = silentButErrors(io)
  const place = { part: 'state', title: `pipeline ${pipeline}: state ${state.file_path}`, pipeline } as const
  const before = report.problems
  await tellAll(report, place, examineState(config, io), o)
  let parts: Assembled
  try {
    parts = await assemble(report.problems > before ? withoutState(config) : config, {
      mode: 'readonly',
      log,
      meter: new MemoryMeter(),
    })
  } catch (error) {
    if (!(error instanceof StreamError)) throw error
    const part = { part: 'source', title: `pipeline ${pipeline}: source and sink`, pipeline } as const
    report.begin(part)
    report.tell(part, problemOf(error, o))
    return
  }
  await using all = parts
  const from = { part: 'source', title: `pipeline ${pipeline}: source ${placeOf(source)}`, pipeline } as const
  await tellAll(
    report,
    from,
    examine(all.source, (keys, at) => examineKeys(all, keys, at), o),
    o,
  )
  const to = { part: 'sink', title: `pipeline ${pipeline}: sink ${placeOf(sink)}`, pipeline } as const
  await tellAll(
    report,
    to,
    examine(all.sink, () => [], o),
    o,
  )
}

/** What a component tells of itself, and what is learnt from the keys that it names; ends when it takes too long. */
async function* examine(
  component: Component,
  ofKeys: (keys: readonly string[], o: Signal) => AsyncIterable<Finding> | Iterable<Finding>,
  { signal }: Signal,
): AsyncGenerator<Finding> {
  const limit = AbortSignal.timeout(partMs)
  const within = { signal: AbortSignal.any([signal, limit]) }
  try {
    for await (const finding of component.examine(within)) {
      yield finding
      if (finding.keys) yield* ofKeys(finding.keys, within)
    }
  } catch (error) {
    if (signal.aborted || !limit.aborted) throw error
    const advice = 'something does not answer; what was told before says how far it got'
    yield { level: 'problem', text: `stopped looking after ${partMs / 1000} s`, advice }
  }
}

async function* examineState(config: PipelineConfig, io: Io): AsyncGenerator<Finding> {
  const { name, state } = config
  if (![state.file_path, databasePath(state.file_path)].some((file) => existsSync(file))) {
    yield { level: 'ok', text: 'there is none yet' }
    return
  }
  try {
    refuseUnwritableFiles(state.file_path)
    await using ledger = ledgerOf(config, 'readonly', createCommandLog(io))
    const { quarantine, failed, error } = ledger.health
    yield { level: 'ok', text: 'the state can be read' }
    if (error !== undefined) {
      const advice = 'see docs/troubleshooting.md: until it is saved again, a crash costs repeated records'
      yield { level: 'warning', text: `the last save failed: ${error}`, advice }
    }
    if (failed > 0) {
      const text = `${failed} objects failed and are tried again`
      yield {
        level: 'warning',
        text,
        advice: `see why: s3-streamer history --objects --outcome failed --pipeline ${name}`,
      }
    }
    if (quarantine > 0) {
      const text = `${quarantine} entries are in quarantine`
      yield { level: 'warning', text, advice: `see why: s3-streamer quarantine list --pipeline ${name}` }
    }
  } catch (error) {
    if (!(error instanceof StreamError)) throw error
    yield problemOf(error, { signal: io.soft })
  }
}

async function tellAll(report: DoctorReport, part: Part, findings: AsyncIterable<Finding>, o: Signal): Promise<void> {
  report.begin(part)
  for await (const finding of findings) {
    o.signal.throwIfAborted()
    report.tell(part, finding)
  }
}

/** What components warn of, they tell as findings here. */
function silentButErrors(io: Io) {
  const log = createCommandLog(io)
  const silent = () => undefined
  return { debug: silent, info: silent, warn: silent, error: log.error.bind(log) as typeof log.error }
}
