import assert from 'node:assert/strict'
import { test } from 'node:test'
import { objectName, shownKey } from './object-name.ts'

test('an object is named by where it is', () => {
  assert.equal(objectName({ bucket: 'logs', key: 'a/b.gz' }), 's3://logs/a/b.gz')
  assert.equal(objectName({ bucket: 'sftp://acme@host:2222', key: 'in/a.csv' }), 'sftp://acme@host:2222/in/a.csv')
  assert.deepEqual(
    [shownKey({ bucket: 'logs', key: 'a' }), shownKey({ bucket: 'file://', key: 'a' })],
    ['a', 'file:///a'],
  )
  assert.equal(objectName({ bucket: 'file://', key: 'var/log/a' }), 'file:///var/log/a')
})
