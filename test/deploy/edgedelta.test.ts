import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { parse } from 'yaml'
import { defaultAddress, portOf } from '../../src/console/config.ts'
import { knownMetrics } from './metric-names.ts'

interface Node {
  readonly name: string
  readonly type: string
  readonly port?: number
  readonly protocol?: string
  readonly processors?: ReadonlyArray<{
    readonly type: string
    readonly metadata: string
    readonly data_types: readonly string[]
    readonly statements: string
  }>
}
interface Pipeline {
  readonly version: string
  readonly settings: { readonly tag: string }
  readonly links: ReadonlyArray<{ readonly from: string; readonly to: string }>
  readonly nodes: readonly Node[]
}

const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')
const text = read('deploy/edgedelta/pipeline.yaml')
const { version, settings, links, nodes } = parse(text) as Pipeline
const ofType = (type: string): readonly Node[] => nodes.filter((node) => node.type === type)

test('A14: links lead from node to node, and what comes in by any input gets out', () => {
  assert.equal(version, 'v3')
  const names = nodes.map(({ name }) => name)
  assert.equal(new Set(names).size, names.length)
  for (const { from, to } of links) assert.ok(names.includes(from) && names.includes(to), `${from} -> ${to}`)
  for (const name of names)
    assert.ok(
      links.some(({ from, to }) => from === name || to === name),
      `${name} is linked`,
    )
  const reaches = (name: string, left = nodes.length): boolean =>
    ofType('ed_output').some((output) => output.name === name) ||
    (left > 0 && links.some(({ from, to }) => from === name && reaches(to, left - 1)))
  const inputs = nodes.filter(({ type }) => type.endsWith('_input'))
  assert.equal(inputs.length, 4)
  for (const { name } of inputs) assert.ok(reaches(name), `${name} reaches Edge Delta`)
})

test('A14: the ports are those that examples/seed.yaml sends to, and none of them is the port of the streamer', () => {
  const seed = parse(read('examples/seed.yaml')) as {
    readonly http: { readonly endpoints: readonly string[] }
    readonly otlp: { readonly endpoint: string }
    readonly health: { readonly address: string }
  }
  const ports = ofType('http_input').map(({ port }) => port)
  assert.deepEqual(
    ports,
    seed.http.endpoints.map((url) => Number(new URL(url).port)),
  )
  const [telemetry] = ofType('otlp_input')
  assert.equal(telemetry?.port, portOf(seed.otlp.endpoint))
  assert.equal(telemetry?.protocol, 'grpc')
  for (const address of [seed.health.address, defaultAddress])
    assert.ok(![...ports, telemetry?.port].includes(portOf(address)), address)
})

test('A14: each HTTP input has a sequence that parses records which are JSON objects, and names what it does', () => {
  for (const { name } of ofType('http_input')) {
    const next = links.find(({ from }) => from === name)?.to
    const [step] = nodes.find((node) => node.name === next)?.processors ?? []
    assert.equal(step?.type, 'ottl_transform')
    assert.deepEqual(step?.data_types, ['log'])
    assert.ok((JSON.parse(step?.metadata ?? '') as { readonly name: string }).name.length > 3)
    const statements = (step?.statements ?? '').split('\n')
    assert.match(statements[0] ?? '', /Decode\(body, "utf-8"\)/)
    for (const statement of statements.slice(1))
      assert.match(
        statement,
        /ParseJSON\(cache\["record"\]\).* where .*IsMatch\(cache\["record"\], "\^\\\\s\*\\\\\{"\)$/,
      )
  }
})

test('the file has no character that the API of Edge Delta refuses', () => {
  assert.deepEqual(text.match(/\P{ASCII}/gu), null)
})

test('header and README name metrics that exist, the tag of the pipeline, and files that are there', () => {
  const header = read('deploy/edgedelta/dashboard-header.md')
  const readme = read('deploy/README.md')
  const named = [
    ...[...header.matchAll(/`([a-z0-9]+(?:_[a-z0-9]+)+)`/g)].map(([, name]) => name as string),
    ...[...readme.matchAll(/`(?:sum|max):(\w+)\{ed\.tag:"/g)].map(([, name]) => name as string),
  ]
  assert.ok(named.length > 12)
  assert.deepEqual(
    named.filter((name) => !knownMetrics.has(name)),
    [],
  )
  const tags = new Set([...readme.matchAll(/ed\.tag:"([^"]+)"/g)].map(([, tag]) => tag))
  assert.deepEqual([...tags], [settings.tag])
  const linked = [...readme.matchAll(/\]\(([^)#]+)\)/g)].map(([, path]) => path as string)
  for (const path of linked) assert.ok(existsSync(new URL(`../../deploy/${path}`, import.meta.url)), path)
})
