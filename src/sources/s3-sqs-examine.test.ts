import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type BedOptions, type SqsBed, within } from '../../test/servers/s3-sqs-bed.ts'
import type { Finding } from '../core/component.ts'
import { sendersOf } from './s3-sqs-examine.ts'

const day = '86400'
const bucketMaySend = JSON.stringify({
  Statement: [
    {
      Effect: 'Allow',
      Principal: { Service: 's3.amazonaws.com' },
      Action: 'SQS:SendMessage',
      Condition: { ArnLike: { 'aws:SourceArn': 'arn:aws:s3:::logs' } },
    },
  ],
})

const examined = (
  o: BedOptions,
  act: (findings: Finding[], bed: SqsBed) => void,
  before: (bed: SqsBed) => void = () => undefined,
) =>
  within(o, async (bed) => {
    before(bed)
    const { source } = await bed.consumer()
    const findings: Finding[] = []
    for await (const finding of source.examine({ signal: new AbortController().signal })) findings.push(finding)
    act(findings, bed)
  })
const troubles = (findings: readonly Finding[]) =>
  findings.filter(({ level }) => level !== 'ok').map(({ level, text }) => `${level}: ${text}`)

test('a queue that is right has nothing but good findings, and no message counts a receive', () =>
  examined(
    { attributes: { Policy: bucketMaySend, MessageRetentionPeriod: day }, maxReceiveCount: 5 },
    (findings, bed) => {
      assert.deepEqual(troubles(findings), [])
      const all = findings.map(({ text }) => text).join('\n')
      assert.match(all, /about 1 message waiting, 0 hidden, 0 delayed/)
      assert.match(all, /its policy lets S3 send for logs/)
      assert.match(all, /s3:\/\/logs, which may send, is there/)
      assert.match(all, /after 5 receives SQS moves a message to dead, which is empty/)
      assert.deepEqual(
        bed.messages.map(({ receives, state }) => [receives, state]),
        [[0, 'visible']],
      )
    },
    (bed) => void bed.arrive('a'),
  ))

test('what keeps notifications away, or loses them, is told', () =>
  examined({ attributes: { MaximumMessageSize: '4096', MessageRetentionPeriod: '3600' } }, (findings) => {
    const all = troubles(findings)
    const expected = [
      /^note: the queue is empty/,
      /^problem: the queue refuses messages of more than 4096 bytes/,
      /^warning: messages are kept for 60 min/,
      /^note: there is no dead-letter queue: .* quarantine after 5 receives/,
      /^warning: no statement of its policy lets S3, SNS or EventBridge send/,
    ]
    assert.equal(all.length, expected.length, all.join('\n'))
    for (const [i, pattern] of expected.entries()) assert.match(all[i] ?? '', pattern)
  }))

test('a FIFO queue, a key that S3 cannot use, and a dead-letter queue with messages are told', () =>
  examined(
    {
      queue: 'events.fifo',
      maxReceiveCount: 1,
      attributes: { KmsMasterKeyId: 'alias/aws/sqs', Policy: bucketMaySend },
    },
    (findings) => {
      const all = troubles(findings).join('\n')
      assert.match(all, /^note: it is a FIFO queue/m)
      assert.match(all, /^problem: the queue is encrypted with the key alias\/aws\/sqs/m)
      assert.match(all, /^warning: after 1 receives SQS moves a message to dead\.fifo, where 1 message is waiting/m)
      assert.match(all, /^warning: maxReceiveCount is 1/m)
    },
    (bed) => void bed.sqs.send('dead.fifo', 'x', { groupId: 'g', dedupId: 'd' }),
  ))

test('a queue that is not there is a problem with what to check', () =>
  examined(
    {},
    (findings) => {
      const problem = findings.find(({ level }) => level === 'problem')
      assert.match(problem?.text ?? '', /^cannot ask for the attributes of http/)
      assert.match(problem?.advice ?? '', /credentials need sqs:ReceiveMessage/)
    },
    (bed) => bed.sqs.deny(),
  ))

test('who may send is read from the policy', () => {
  assert.deepEqual(sendersOf(bucketMaySend), { services: ['S3'], buckets: ['logs'], others: 0, isReadable: true })
  assert.deepEqual(sendersOf(undefined).services, [])
  assert.equal(sendersOf('{').isReadable, false)
  const statement = (more: object) => JSON.stringify({ Statement: { Effect: 'Allow', Action: ['sqs:*'], ...more } })
  assert.deepEqual(
    sendersOf(statement({ Principal: { Service: ['sns.amazonaws.com', 'events.amazonaws.com'] } })).services,
    ['SNS', 'EventBridge'],
  )
  assert.equal(sendersOf(statement({ Principal: '*' })).others, 1)
  assert.equal(sendersOf(statement({ Principal: '*', Effect: 'Deny' })).others, 0)
  assert.equal(sendersOf(statement({ Principal: '*', Action: 'sqs:ReceiveMessage' })).others, 0)
})
