/** Arguments in, exit code out: the only file that knows the process. */
import { closeSync, openSync } from 'node:fs'
import { program } from './cli/program.ts'

const soft = new AbortController()
const hard = new AbortController()
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.on(signal, () => {
    if (soft.signal.aborted) {
      hard.abort(new Error(`second signal (${signal})`))
      // Whatever still hangs: nothing is lost, the ledger has what is settled.
      setTimeout(() => process.exit(1), 500).unref()
    } else soft.abort(new Error(signal))
  })
}
// Started by bin/launch.mjs in another Node: its death must be ours, or two of us would share a ledger.
if (process.env.S3_STREAMER_LAUNCHED === '1' && process.channel) {
  process.channel.unref()
  process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'))
}
// `s3-streamer … | head` ends our output; whether it ends the work too, the command knows.
const unread = new AbortController()
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
    if (stream === process.stdout) unread.abort(error)
  })
}

/** https://no-color.org */
const hasColor = (process.env.NO_COLOR ?? '') === '' && process.env.TERM !== 'dumb'

process.exitCode = await program(process.argv.slice(2), {
  stdout: (text) => void process.stdout.write(text),
  stderr: (text) => void process.stderr.write(text),
  env: process.env,
  terminal: process.stderr.isTTY === true && process.env.TERM !== 'dumb',
  color: {
    stdout: process.stdout.isTTY === true && hasColor,
    stderr: process.stderr.isTTY === true && hasColor,
  },
  screen: () =>
    process.stdout.isTTY === true ? { columns: process.stdout.columns, rows: process.stdout.rows } : undefined,
  ask: process.stdin.isTTY === true ? ask : undefined,
  unread: unread.signal,
  soft: soft.signal,
  hard: hard.signal,
  onHangup,
})

function onHangup(listener: () => void): Disposable {
  const hadTerminal = hasTerminal()
  // When its terminal is closed, nobody wants a process to go on unseen: then the signal means what it always means.
  const heard = () => (hadTerminal && !hasTerminal() ? soft.abort(new Error('the terminal was closed')) : listener())
  process.on('SIGHUP', heard)
  return { [Symbol.dispose]: () => void process.off('SIGHUP', heard) }
}

function hasTerminal(): boolean {
  try {
    closeSync(openSync('/dev/tty', 'r'))
    return true
  } catch {
    return false
  }
}

async function ask(question: string): Promise<string> {
  const { createInterface } = await import('node:readline')
  const prompt = createInterface({ input: process.stdin, output: process.stderr })
  return new Promise((resolve) => {
    // Ctrl-C and the end of the input are no answer.
    prompt.once('SIGINT', () => prompt.close())
    prompt.once('close', () => resolve(''))
    prompt.question(question, (answer) => {
      resolve(answer)
      prompt.close()
    })
  })
}
