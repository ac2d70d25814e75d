/**
 * Takes the types out of our own files, in a process that ends when it is done: what Node does this with takes 40 MB, and keeps them for
 * as long as the process runs, be it in a thread of its own.
 */
import { fork } from 'node:child_process'
import { stripTypeScriptTypes } from 'node:module'
import { fileURLToPath } from 'node:url'

const longestMs = 10_000

/** In the order of the sources. Done here if there can be no such process. */
export async function withoutTypes(sources: readonly string[]): Promise<readonly string[]> {
  return (await askProcess(sources)) ?? stripAll(sources)
}

function stripAll(sources: readonly string[]): string[] {
  return sources.map((source) => stripTypeScriptTypes(source))
}

function askProcess(sources: readonly string[]): Promise<readonly string[] | undefined> {
  const { promise, resolve } = Promise.withResolvers<readonly string[] | undefined>()
  const child = fork(fileURLToPath(import.meta.url), {
    execArgv: ['--disable-warning=ExperimentalWarning'],
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  })
  // Whichever comes first: it answers, it cannot begin, it ends without an answer.
  child.once('message', (stripped) => resolve(stripped as string[]))
  child.once('error', () => resolve(undefined))
  child.once('exit', () => resolve(undefined))
  child.send(sources, () => undefined)
  const late = setTimeout(() => child.kill('SIGKILL'), longestMs).unref()
  return promise.finally(() => clearTimeout(late))
}

if (import.meta.main) {
  process.once('message', (sources) => {
    process.send?.(stripAll(sources as string[]), () => process.disconnect())
  })
}
