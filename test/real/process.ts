/** Starts a real server on a free port and waits until it answers; ends it by its process id. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { request } from 'undici'

/** A port of 127.0.0.1 that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

const usualMs = 20_000

// A test file that takes too long is sent SIGTERM, which by itself would leave its servers running.
process.once('SIGTERM', () => process.exit(143))

/**
 * Resolves when `ready`, a URL, gives any answer, or does not throw. Throws with the server's own words if it ends before that or
 * takes too long.
 */
export async function startProcess(
  command: string,
  args: readonly string[],
  ready: string | (() => Promise<unknown>),
  env: NodeJS.ProcessEnv = {},
  withinMs = usualMs,
): Promise<ChildProcess> {
  const isReady = typeof ready === 'string' ? () => answer(ready) : ready
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } })
  const kill = () => child.kill('SIGKILL')
  process.once('exit', kill)
  child.once('exit', () => process.off('exit', kill))
  let said = ''
  const listen = (chunk: Buffer) => {
    said = (said + chunk.toString()).slice(-4000)
  }
  child.stdout.on('data', listen)
  child.stderr.on('data', listen)
  const fails = (why: string) => new Error(`cannot start ${command}: ${why}${said === '' ? '' : `:\n${said.trim()}`}`)
  let broken: Error | undefined
  child.once('error', (error) => {
    broken = error
  })
  for (const end = Date.now() + withinMs; ; ) {
    if (broken) throw fails(`${broken.message} (run test/real/setup)`)
    if (child.exitCode !== null || child.signalCode !== null) {
      throw fails(`it ended with ${child.exitCode ?? child.signalCode}`)
    }
    try {
      await isReady()
      return child
    } catch (error) {
      if (Date.now() > end) {
        await stopProcess(child, 'SIGKILL')
        throw fails(`it is not ready within ${withinMs / 1000} s (${error})`)
      }
    }
    await sleep(20)
  }
}

/** Throws unless the URL gives an answer, whatever its status. */
export async function answer(url: string): Promise<void> {
  const { body } = await request(url, { headersTimeout: 1000 })
  await body.dump()
}

/** Asks it to end, and after 5 s makes it. */
export async function stopProcess(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = once(child, 'exit')
  child.kill(signal)
  const late = setTimeout(() => child.kill('SIGKILL'), 5000)
  await ended
  clearTimeout(late)
}
