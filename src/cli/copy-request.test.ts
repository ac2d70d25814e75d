import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { Secret } from '../config/fields.ts'
import { type CopyFlags, copyRequest } from './copy-request.ts'

const home = mkdtempSync(join(tmpdir(), 's3-streamer-home-'))
after(() => rmSync(home, { recursive: true }))
const env = { HOME: home, SFTP_USER: 'acme' }
const request = (source: string, destination: string, flags: Partial<CopyFlags> = {}, more: object = {}) =>
  copyRequest(source, destination, { recursive: true, ...flags }, { ...env, SFTP_PASSWORD: 'p', ...more })
const source = (text: string, flags: Partial<CopyFlags> = {}, more: object = {}) =>
  request(text, 's3://b/', flags, more).config.source

test('an address says user, password, host, port and path; the path is taken as it is', () => {
  const { host, port, username, password, path } = source('sftp://a%40b:p%3Aq%2F@host:2222/in/50%25 off*.csv')
  assert.deepEqual([host, port, username, path], ['host', 2222, 'a@b', '/in/50%25 off*.csv'])
  assert.ok(password instanceof Secret && password.reveal() === 'p:q/')
  assert.deepEqual(
    [source('sftp://[::1]/x').host, source('sftp://h/~/in').path, source('sftp://h').path],
    ['::1', 'in', '.'],
  )
  assert.deepEqual([source('sftp://h/x').username, source('sftp://h/x').port], ['acme', 22])
})

test('nothing to log in with is told with what to give', () => {
  const empty = { HOME: join(home, 'none'), SFTP_PASSWORD: undefined }
  assert.throws(
    () => source('sftp://h/x', {}, empty),
    /nothing to log in with at h: give -i KEYFILE, set SFTP_PASSWORD/,
  )
})

test('without a password the agent and the usual keys of ssh are tried, with one they are not', () => {
  mkdirSync(join(home, '.ssh'), { recursive: true })
  writeFileSync(join(home, '.ssh', 'id_ecdsa'), 'key')
  const none = { SFTP_PASSWORD: undefined }
  const keyed = source('sftp://h/x', {}, { ...none, SSH_AUTH_SOCK: '/agent' })
  assert.deepEqual([keyed.private_key_file, keyed.agent], [join(home, '.ssh', 'id_ecdsa'), true])
  const word = source('sftp://h/x', {}, { SSH_AUTH_SOCK: '/agent' })
  assert.deepEqual([word.private_key_file, word.agent], [undefined, false])
  assert.equal(source('sftp://h/x', { identity: '/k' }, none).private_key_file, '/k')
})

test('host keys: known hosts as ssh has them, unless a fingerprint is named', () => {
  assert.equal(source('sftp://h/x').known_hosts_file, join(home, '.ssh', 'known_hosts'))
  assert.equal(source('sftp://h/x', { knownHosts: '/kh' }).known_hosts_file, '/kh')
  const print = `SHA256:${'A'.repeat(43)}`
  const pinned = source('sftp://h/x', { hostKey: [print], knownHosts: '/kh' })
  assert.deepEqual([pinned.host_key_fingerprint, pinned.known_hosts_file], [[print], undefined])
})

test('DEST is a folder, or the name of one object', () => {
  const to = (text: string, dest: string) => {
    const { config, only } = request(text, dest)
    return [config.sink.bucket, config.sink.key, only]
  }
  assert.deepEqual(to('sftp://h/in', 's3://b'), ['b', '{path}', undefined])
  assert.deepEqual(to('sftp://h/in/', 's3://b/x/{date}/'), ['b', 'x/{date}/{path}', undefined])
  assert.deepEqual(to('sftp://h/in/a', 's3://b/x'), ['b', 'x', { file: 'a' }])
  assert.deepEqual(to('s3://c/k', 's3://b/'), ['b', '{path}', { key: 'k' }])
  assert.deepEqual(to('s3://c/k/', 's3://b/'), ['b', '{path}', undefined])
})

test('S3_ENDPOINT_URL is the server of both buckets', () => {
  const { config } = request('s3://c/k/', 's3://b/', {}, { S3_ENDPOINT_URL: 'http://localhost:9000' })
  assert.deepEqual([config.source.endpoint, config.sink.endpoint], ['http://localhost:9000', 'http://localhost:9000'])
})

test('the state is found again by the same command, and by no other', () => {
  const path = (text: string, dest: string, flags: Partial<CopyFlags> = {}) =>
    request(text, dest, flags).config.state.file_path
  const first = path('sftp://h/in/', 's3://b/x/')
  assert.ok(first.startsWith(join(home, '.local', 'state', 's3-streamer')))
  assert.equal(path('sftp://acme:other@h:22/in/', 's3://b/x/', { partSize: '16MiB' }), first)
  const others = [
    path('sftp://h/in/', 's3://b/y/'),
    path('sftp://h/in/a/', 's3://b/x/'),
    path('sftp://g/in/', 's3://b/x/'),
    path('sftp://h/in/', 's3://b/x/', { include: ['*.csv'] }),
  ]
  assert.equal(new Set([first, ...others]).size, 5)
  assert.equal(path('sftp://h/in/', 's3://b/x/', { state: '/s.json' }), '/s.json')
})

test('files that are skipped and removed all the same are not asked for', () => {
  assert.throws(() => request('sftp://h/in/', 's3://b/', { ifExists: 'skip', after: 'delete' }), /--if-exists skip/)
})
