import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { testContext } from '../../test/conformance/sink.ts'
import type { Finding } from '../core/component.ts'
import { elasticsearchSink } from './elasticsearch.ts'
import { elasticsearchConfig } from './elasticsearch-config.ts'

/** What is told of a cluster that gives these answers, by path; 403 to all else. */
async function examined(answers: Readonly<Record<string, unknown>>, index = 'logs'): Promise<string[]> {
  const methods = new Set<string>()
  const server = createServer((request, response) => {
    methods.add(request.method ?? '')
    const path = (request.url ?? '').split('?')[0] as string
    response.statusCode = path in answers ? 200 : 403
    response.end(JSON.stringify(answers[path] ?? { error: 'no privilege' }))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  try {
    const config = elasticsearchConfig.parse({ type: 'elasticsearch', endpoints: [`http://127.0.0.1:${port}`], index })
    await using sink = await elasticsearchSink.create(config, testContext())
    const findings: Finding[] = []
    for await (const finding of sink.examine({ signal: new AbortController().signal })) findings.push(finding)
    assert.deepEqual([...methods].toSorted(), ['GET', 'HEAD'])
    return findings.map(({ level, text, advice }) => `${level}: ${text}${advice === undefined ? '' : ` → ${advice}`}`)
  } finally {
    server.closeAllConnections()
    server.close()
  }
}

const told = (lines: readonly string[], words: RegExp) =>
  assert.ok(
    lines.some((line) => words.test(line)),
    lines.join('\n'),
  )

const version = { '/': { version: { number: '8.17.0' } } }

test('an index that became read-only on a full disk is a problem, with what to do', async () => {
  const lines = await examined({
    ...version,
    '/logs': { logs: { aliases: {} } },
    '/logs/_settings': { logs: { settings: { 'index.blocks.read_only_allow_delete': 'true' } } },
    '/_cluster/health': { status: 'red' },
    '/_cat/allocation': [
      { node: 'a', 'disk.percent': '40' },
      { node: 'b', 'disk.percent': '96' },
      { node: 'UNASSIGNED', 'disk.percent': null },
    ],
  })
  told(lines, /^ok: .*Elasticsearch 8\.17\.0/)
  told(lines, /^problem: index logs takes no records: index\.blocks\.read_only_allow_delete is set → .*make room/)
  told(lines, /^warning: the cluster is red/)
  told(lines, /^problem: the disk of node b is 96 % full/)
})

test('a healthy cluster has no problem, and a warning only where a disk fills', async () => {
  const lines = await examined({
    ...version,
    '/logs': { logs: {} },
    '/logs/_settings': {},
    '/_cluster/health': { status: 'green' },
    '/_cat/allocation': [{ node: 'a', 'disk.percent': 86 }],
  })
  told(lines, /^ok: index logs is there/)
  told(lines, /^ok: the cluster is green/)
  told(lines, /^warning: the disk of node a is 86 % full/)
  assert.ok(!lines.some((line) => line.startsWith('problem')))
})

test('what we may not ask is said to be unknown, and is no problem', async () => {
  const lines = await examined(version)
  told(lines, /^note: .*does not tell blocks of the index, the health of the cluster, the disks of the nodes/)
  assert.ok(!lines.some((line) => line.startsWith('problem')), lines.join('\n'))
})
