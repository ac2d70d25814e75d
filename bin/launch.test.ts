import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { version } from '../src/telemetry/version.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const bin = join(root, 'bin', 's3-streamer')

/** A checkout in which only `bin` is real; `main.ts` prints how it was started. */
class Checkout {
  readonly folder = mkdtempSync(join(tmpdir(), 's3-streamer-bin-'))
  readonly path = join(this.folder, 'path')

  constructor() {
    cpSync(join(root, 'bin'), join(this.folder, 'bin'), { recursive: true })
    mkdirSync(join(this.folder, 'src'))
    mkdirSync(this.path)
    writeFileSync(
      join(this.folder, 'src', 'main.ts'),
      'console.log(JSON.stringify({ args: process.argv.slice(2), cache: process.env.NODE_COMPILE_CACHE }))',
    )
  }

  /** What sh needs, and nothing else: no node but ours. */
  addTools(): void {
    const tools = ['sh', 'dirname', 'readlink', 'uname']
    const folders = (process.env.PATH ?? '').split(delimiter)
    for (const tool of tools) {
      const found = folders.map((folder) => join(folder, tool)).find(existsSync)
      if (found) symlinkSync(found, join(this.path, tool))
    }
  }

  /** A `node` on the path that says it is of this version, and hands on to the real one. */
  addNode(major: number): void {
    const file = join(this.path, 'node')
    writeFileSync(file, `#!/bin/sh\n[ "$1" = -p ] && { echo ${major}; exit; }\nexec "${process.execPath}" "$@"\n`)
    chmodSync(file, 0o755)
  }

  run(...args: string[]) {
    const { NODE_COMPILE_CACHE: _, ...env } = process.env
    return spawnSync(join(this.folder, 'bin', 's3-streamer'), args, {
      encoding: 'utf8',
      env: { ...env, PATH: this.path },
    })
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true })
  }
}

test('from another folder and through a link, the command finds its checkout', () => {
  const folder = mkdtempSync(join(tmpdir(), 's3-streamer-link-'))
  try {
    symlinkSync(bin, join(folder, 's3s'))
    const { stdout, stderr, status } = spawnSync(join(folder, 's3s'), ['--version'], { cwd: folder, encoding: 'utf8' })
    assert.deepEqual({ stdout, stderr, status }, { stdout: `${version}\n`, stderr: '', status: 0 })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

test('read by Node itself, the command does the same', () => {
  const { stdout, stderr, status } = spawnSync(process.execPath, [bin, '--version'], { encoding: 'utf8' })
  assert.deepEqual({ stdout, stderr, status }, { stdout: `${version}\n`, stderr: '', status: 0 })
})

test('exit codes and output of the program come through', () => {
  const { stdout, stderr, status } = spawnSync(bin, ['check', '-c', '/nonexistent/c.yaml'], { encoding: 'utf8' })
  assert.equal(status, 2)
  assert.equal(stdout, '')
  assert.match(stderr, /^\/nonexistent\/c\.yaml: /)
})

test('without packages it says to run npm ci', () => {
  using checkout = new Checkout()
  checkout.addTools()
  checkout.addNode(24)
  const { stderr, status } = checkout.run('--version')
  assert.equal(status, 1)
  assert.match(stderr, /^s3-streamer: its packages are missing\. Run `npm ci` in .*\.\n$/)
})

test('without the pinned Node and with an old one on the path, it says what is needed', () => {
  using checkout = new Checkout()
  mkdirSync(join(checkout.folder, 'node_modules'))
  checkout.addTools()
  checkout.addNode(20)
  const { stderr, status } = checkout.run('--version')
  assert.equal(status, 1)
  assert.match(
    stderr,
    /^s3-streamer: needs Node 24 or newer \(node on the path is 20\)\. Run `npm ci` in .*, or install it\.\n$/,
  )
})

test('without any Node it says what is needed', () => {
  using checkout = new Checkout()
  mkdirSync(join(checkout.folder, 'node_modules'))
  checkout.addTools()
  const { stderr, status } = checkout.run('--version')
  assert.equal(status, 1)
  assert.match(stderr, /^s3-streamer: needs Node 24 or newer\. Run `npm ci`/)
})

test('without the pinned Node, a new enough one on the path serves, with its arguments as they were', () => {
  using checkout = new Checkout()
  mkdirSync(join(checkout.folder, 'node_modules'))
  checkout.addTools()
  checkout.addNode(24)
  const { stdout, status } = checkout.run('explain', 'a key with spaces', '$HOME', '')
  assert.equal(status, 0)
  assert.deepEqual((JSON.parse(stdout) as { args: string[] }).args, ['explain', 'a key with spaces', '$HOME', ''])
})

test('compiled code is kept inside the checkout, or where NODE_COMPILE_CACHE says', () => {
  using checkout = new Checkout()
  mkdirSync(join(checkout.folder, 'node_modules'))
  checkout.addTools()
  checkout.addNode(24)
  const { cache } = JSON.parse(checkout.run().stdout) as { cache: string }
  assert.equal(dirname(cache), join(checkout.folder, 'node_modules', '.cache'))
  const own = join(checkout.folder, 'own')
  const env = { ...process.env, PATH: checkout.path, NODE_COMPILE_CACHE: own }
  const given = spawnSync(join(checkout.folder, 'bin', 's3-streamer'), [], { encoding: 'utf8', env })
  assert.equal((JSON.parse(given.stdout) as { cache: string }).cache, own)
  assert.deepEqual(
    readdirSync(checkout.folder).sort(),
    existsSync(own) ? ['bin', 'node_modules', 'own', 'path', 'src'] : ['bin', 'node_modules', 'path', 'src'],
  )
})
