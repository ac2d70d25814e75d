/** Arguments in, exit code out: the only file that knows the process. */
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
// `s3-streamer … | head` ends our output, not our work.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
  })
}

process.exitCode = await program(process.argv.slice(2), {
  stdout: (text) => void process.stdout.write(text),
  stderr: (text) => void process.stderr.write(text),
  env: process.env,
  terminal: process.stderr.isTTY === true,
  soft: soft.signal,
  hard: hard.signal,
})
