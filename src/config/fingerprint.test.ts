import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { Secret } from './fields.ts'
import { fingerprint } from './fingerprint.ts'

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
