import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { registry } from '../registry.ts'
import { Secret } from './fields.ts'
import { fingerprint } from './fingerprint.ts'
import { loadConfig, readConfigFile } from './load.ts'

test('the order of keys and keys without a value change nothing; every value does', () => {
  const one = { name: 'a', sink: { endpoints: ['x', 'y'], batch: { records: 1, bytes: undefined } } }
  assert.equal(fingerprint(one), fingerprint({ sink: { batch: { records: 1 }, endpoints: ['x', 'y'] }, name: 'a' }))
  assert.notEqual(fingerprint(one), fingerprint({ ...one, sink: { ...one.sink, endpoints: ['y', 'x'] } }))
  assert.notEqual(fingerprint(one), fingerprint({ ...one, name: 'b' }))
})

test('a secret that changed is a change, and cannot be read from the fingerprint', () => {
  const of = (password: string) => fingerprint({ auth: { password: new Secret(password) } })
  assert.equal(of('one'), of('one'))
  assert.notEqual(of('one'), of('two'))
  assert.ok(!of('correct horse').includes('correct'))
})

test('a certificate that was renewed in its place is a change', () => {
  const folder = mkdtempSync(join(tmpdir(), 's3-streamer-fingerprint-'))
  try {
    const path = join(folder, 'ca.pem')
    const config = { tls: { ca_file: path } }
    const absent = fingerprint(config)
    writeFileSync(path, 'one')
    const first = fingerprint(config)
    assert.notEqual(first, absent)
    assert.equal(fingerprint(config), first)
    utimesSync(path, 1, 1)
    assert.notEqual(fingerprint(config), first)
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('a host key or certificate below the home folder is looked at there', () => {
  const home = process.env.HOME
  const folder = mkdtempSync(join(tmpdir(), 's3-streamer-fingerprint-'))
  try {
    process.env.HOME = folder
    assert.equal(homedir(), folder)
    const config = { known_hosts_file: '~/known_hosts' }
    const absent = fingerprint(config)
    writeFileSync(join(folder, 'known_hosts'), 'one')
    assert.notEqual(fingerprint(config), absent)
  } finally {
    if (home === undefined) delete process.env.HOME
    else process.env.HOME = home
    rmSync(folder, { recursive: true })
  }
})

test('everything that a configuration may hold is told apart: plain values and secrets, nothing that hides what is in it', () => {
  const examples = ['seed', 'pipelines', 'queue', 'files'].map((name) => `examples/${name}.yaml`)
  for (const file of examples) {
    const { pipelines, otlp, health, console, pushgateway, logging } = loadConfig(readConfigFile(file), {
      ...{ file, registry },
      env: new Proxy({}, { get: () => 'x', has: () => true }),
    })
    for (const value of leaves({ pipelines, otlp, health, console, pushgateway, logging }))
      assert.ok(value instanceof Secret || Object(value) !== value, `${file}: ${String(value)}`)
  }
})

function leaves(value: unknown): unknown[] {
  if (Array.isArray(value)) return value.flatMap(leaves)
  const isMap = typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype
  return isMap ? Object.values(value).flatMap(leaves) : [value]
}
