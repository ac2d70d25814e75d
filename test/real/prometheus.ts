/** Prometheus, which reads metrics, keeps them and answers questions about them; and what promtool finds in rules. */
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { request } from 'undici'
import { stringify } from 'yaml'
import { freePort, startProcess, stopProcess } from './process.ts'
import { cached } from './receiver.ts'

const run = promisify(execFile)

export interface ScrapeJob {
  readonly name: string
  /** `host:port` of each. */
  readonly targets: readonly string[]
  /** Labels of the series are kept where the scrape would give others: for a Pushgateway. */
  readonly honorLabels?: boolean
}

export interface Series {
  readonly metric: Readonly<Record<string, string>>
  readonly values: readonly number[]
}

export interface RuleState {
  readonly name: string
  /** `ok`, `err` or `unknown` before the first evaluation. */
  readonly health: string
  readonly lastError?: string
  /** Of an alert: `inactive`, `pending` or `firing`. */
  readonly state: string
  /** One for each series that it tells of. */
  readonly alerts: ReadonlyArray<{ readonly annotations: Readonly<Record<string, string>> }>
}

export interface Prometheus extends AsyncDisposable {
  readonly url: string
  /** Values at this moment. Throws with Prometheus' words if the expression is none. */
  query(expression: string): Promise<readonly Series[]>
  /** Values of each of the last so many seconds. */
  range(expression: string, seconds: number): Promise<readonly Series[]>
  /** Values of a label, of the series that a selector names. */
  labelValues(label: string, selector: string): Promise<readonly string[]>
  rules(): Promise<readonly RuleState[]>
}

/** Scrapes every second, and evaluates the rules of `ruleFiles` as often. Throws if test/real/setup was not run. */
export async function startPrometheus(o: {
  readonly jobs: readonly ScrapeJob[]
  readonly ruleFiles?: readonly string[]
}): Promise<Prometheus> {
  const folder = await mkdtemp(join(tmpdir(), 's3-streamer-prometheus-'))
  const file = join(folder, 'prometheus.yaml')
  const configuration = {
    global: { scrape_interval: '1s', scrape_timeout: '1s', evaluation_interval: '1s' },
    rule_files: o.ruleFiles ?? [],
    scrape_configs: o.jobs.map(({ name, targets, honorLabels = false }) => ({
      job_name: name,
      honor_labels: honorLabels,
      static_configs: [{ targets }],
    })),
  }
  await writeFile(file, stringify(configuration))
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const binary = cached('debian-prometheus', 'usr', 'bin', 'prometheus')
  const args = [
    `--config.file=${file}`,
    `--storage.tsdb.path=${join(folder, 'data')}`,
    `--web.listen-address=127.0.0.1:${port}`,
  ]
  const child = await startProcess(binary, args, () => ask(url, '/-/ready')).catch(async (error: unknown) => {
    await rm(folder, { recursive: true, force: true })
    throw error
  })
  const api = async <T>(path: string, fields: Readonly<Record<string, string>> = {}): Promise<T> => {
    const { data } = JSON.parse(await ask(url, `/api/v1/${path}?${new URLSearchParams(fields)}`)) as {
      readonly data: T
    }
    return data
  }
  return {
    url,
    query: async (query) => {
      const { resultType, result } = await api<Answer>('query', { query })
      if (resultType === 'scalar') return [{ metric: {}, values: [Number((result as Sample)[1])] }]
      return (result as readonly Vector[]).map(({ metric, value }) => ({ metric, values: [Number(value[1])] }))
    },
    range: async (query, seconds) => {
      const end = Date.now() / 1000
      const fields = { query, start: String(end - seconds), end: String(end), step: '1' }
      const { result } = await api<{ readonly result: readonly Matrix[] }>('query_range', fields)
      return result.map(({ metric, values }) => ({ metric, values: values.map(([, value]) => Number(value)) }))
    },
    labelValues: (label, selector) => api<readonly string[]>(`label/${label}/values`, { 'match[]': selector }),
    rules: async () => {
      const { groups } = await api<{ readonly groups: ReadonlyArray<{ readonly rules: readonly RuleState[] }> }>(
        'rules',
      )
      return groups.flatMap(({ rules }) => rules)
    },
    [Symbol.asyncDispose]: async () => {
      await stopProcess(child, 'SIGTERM')
      await rm(folder, { recursive: true, force: true })
    },
  }
}

type Sample = readonly [number, string]
interface Vector {
  readonly metric: Readonly<Record<string, string>>
  readonly value: Sample
}
interface Matrix {
  readonly metric: Readonly<Record<string, string>>
  readonly values: readonly Sample[]
}
interface Answer {
  readonly resultType: string
  readonly result: readonly Vector[] | Sample
}

async function ask(url: string, path: string): Promise<string> {
  const { statusCode, body } = await request(`${url}${path}`)
  const text = await body.text()
  if (statusCode !== 200) throw new Error(`cannot read ${path} of Prometheus: ${statusCode} ${text}`)
  return text
}

/** What promtool says of files; throws with its words if it finds a fault. It reads what they name from their folder. */
export async function promtool(args: readonly string[], file: string): Promise<string> {
  const binary = cached('debian-prometheus', 'usr', 'bin', 'promtool')
  try {
    const { stdout } = await run(binary, [...args, file], { cwd: dirname(file) })
    return stdout
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { readonly stdout?: string; readonly stderr?: string }
    throw new Error(`promtool ${args.join(' ')} ${file}:\n${stdout}${stderr}`, { cause: error })
  }
}
