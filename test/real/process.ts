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

const readyWithinMs = 20_000

/** Resolves when `url` gives any answer. Throws with the server's own words if it ends before that or takes too long. */
export async function startProcess(
  command: string,
  args: readonly string[],
  url: string,
  env: NodeJS.ProcessEnv = {},
): Promise<ChildProcess> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } })
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
  for (const end = Date.now() + readyWithinMs; ; ) {
    if (broken) throw fails(`${broken.message} (run test/real/setup)`)
    if (child.exitCode !== null || child.signalCode !== null) {
      throw fails(`it ended with ${child.exitCode ?? child.signalCode}`)
    }
    try {
      const { body } = await request(url, { headersTimeout: 1000 })
      await body.dump()
      return child
    } catch (error) {
      if (Date.now() > end) {
        await stopProcess(child, 'SIGKILL')
        throw fails(`no answer at ${url} within ${readyWithinMs / 1000} s (${error})`)
      }
    }
    await sleep(20)
  }
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
