import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  ChangeMessageVisibilityBatchCommand,
  ChangeMessageVisibilityCommand,
  DeleteMessageBatchCommand,
  DeleteMessageCommand,
  type Message,
  PurgeQueueCommand,
  SendMessageBatchCommand,
  SendMessageCommand,
  SetQueueAttributesCommand,
} from '@aws-sdk/client-sqs'
import * as fc from 'fast-check'
import { SqsQueue } from './sqs-queue.ts'
import { bodiesOf, handleOf, namedError, startSqsTestbed, waiting } from './sqs-testbed.ts'

test('A message is hidden until its timeout ends, which can be moved', async () => {
  const { sqs, client, QueueUrl, receive, attribute } = await startSqsTestbed()
  const change = (message: Message | undefined, VisibilityTimeout: number) =>
    client.send(new ChangeMessageVisibilityCommand({ QueueUrl, ReceiptHandle: handleOf(message), VisibilityTimeout }))
  sqs.send('events', 'one')
  sqs.send('events', 'later', { delayMs: 600_000 })
  const [first] = await receive()
  assert.deepEqual(
    [
      await attribute('ApproximateNumberOfMessages'),
      await attribute('ApproximateNumberOfMessagesNotVisible'),
      await attribute('ApproximateNumberOfMessagesDelayed'),
    ],
    ['0', '1', '1'],
  )
  sqs.advance(29_000)
  await change(first, 30)
  sqs.advance(29_000)
  assert.deepEqual(await receive(), [])
  assert.deepEqual([sqs.messages('events')[0]?.state, sqs.messages('events')[0]?.receives], ['in flight', 1])
  sqs.advance(1000)
  await assert.rejects(change(first, 30), namedError('MessageNotInflight'))
  const [second] = await receive({ VisibilityTimeout: 5 })
  assert.equal(second?.MessageId, first?.MessageId)
  await assert.rejects(change(first, 30), namedError('InvalidParameterValue', 'not available for visibility'))
  await change(second, 0)
  const peeked = await receive({ VisibilityTimeout: 0 })
  assert.equal(peeked.length, 1)
  assert.equal(sqs.messages('events')[0]?.state, 'visible')
  await client.send(new DeleteMessageCommand({ QueueUrl, ReceiptHandle: handleOf(peeked[0]) }))
  await assert.rejects(change(peeked[0], 30), namedError('InvalidParameterValue', 'Message does not exist'))
})

test('Nothing stays in flight beyond 12 hours after a receive', async () => {
  const { sqs, client, QueueUrl, receive } = await startSqsTestbed()
  sqs.send('events', 'one')
  const change = (message: Message | undefined, VisibilityTimeout: number) =>
    client.send(new ChangeMessageVisibilityCommand({ QueueUrl, ReceiptHandle: handleOf(message), VisibilityTimeout }))
  const [message] = await receive({ VisibilityTimeout: 100 })
  sqs.advance(1000)
  await assert.rejects(change(message, 43_200), namedError('InvalidParameterValue', 'beyond the limit'))
  await assert.rejects(change(message, 43_201), namedError('InvalidParameterValue', 'between 0 and 43200'))
  await change(message, 43_199)
  sqs.advance(43_198_000)
  assert.equal(sqs.messages('events')[0]?.state, 'in flight')
  await assert.rejects(change(message, 2), namedError('InvalidParameterValue', 'beyond the limit'))
  sqs.advance(1000)
  const [again] = await receive()
  await change(again, 43_200)
})

test('Only the newest receipt handle deletes', async () => {
  const { sqs, client, QueueUrl, receive } = await startSqsTestbed()
  const remove = (message: Message | undefined) =>
    client.send(new DeleteMessageCommand({ QueueUrl, ReceiptHandle: handleOf(message) }))
  sqs.send('events', 'one')
  const [first] = await receive({ VisibilityTimeout: 1 })
  sqs.advance(1000)
  const [second] = await receive({ VisibilityTimeout: 1 })
  await assert.rejects(remove(first), namedError('ReceiptHandleIsInvalid'))
  sqs.advance(1000)
  await remove(second)
  assert.equal(sqs.messages('events').length, 0)
  await remove(second)
  await assert.rejects(
    client.send(new DeleteMessageCommand({ QueueUrl, ReceiptHandle: 'junk' })),
    namedError('ReceiptHandleIsInvalid'),
  )
  sqs.createQueue('other')
  sqs.send('other', 'two')
  const [elsewhere] = await receive({ QueueUrl: sqs.queueUrl('other') })
  await assert.rejects(remove(elsewhere), namedError('ReceiptHandleIsInvalid'))
})

test('With stale handles ignored an old handle succeeds and does nothing', async () => {
  const { sqs, client, QueueUrl, receive } = await startSqsTestbed({ staleHandles: 'ignore' })
  sqs.send('events', 'one')
  const [first] = await receive({ VisibilityTimeout: 1 })
  const ReceiptHandle = handleOf(first)
  sqs.advance(1000)
  await client.send(new ChangeMessageVisibilityCommand({ QueueUrl, ReceiptHandle, VisibilityTimeout: 60 }))
  assert.equal(sqs.messages('events')[0]?.state, 'visible')
  assert.equal((await receive()).length, 1)
  await client.send(new DeleteMessageCommand({ QueueUrl, ReceiptHandle }))
  assert.equal(sqs.messages('events').length, 1)
})

test('At the limit of messages in flight a short poll is refused and a long one gets nothing until one is free', async () => {
  const { sqs, client, QueueUrl, receive } = await startSqsTestbed({ inFlightLimit: 2 })
  for (const body of ['1', '2', '3']) sqs.send('events', body)
  const held = await receive()
  assert.equal(held.length, 2)
  await assert.rejects(receive(), namedError('OverLimit'))
  const poll = receive({ WaitTimeSeconds: 20 })
  await waiting(sqs, 1)
  await client.send(new DeleteMessageCommand({ QueueUrl, ReceiptHandle: handleOf(held[0]) }))
  assert.deepEqual(bodiesOf(await poll), ['3'])
})

test('A FIFO queue at its limit answers with nothing', async () => {
  const { sqs, receive } = await startSqsTestbed({ inFlightLimit: 1, name: 'events.fifo' })
  for (const groupId of ['a', 'b']) sqs.send('events.fifo', groupId, { groupId, dedupId: groupId })
  assert.equal((await receive()).length, 1)
  assert.deepEqual(await receive(), [])
})

test('A message received too often moves to the dead-letter queue', async () => {
  const { sqs, client, QueueUrl, receive, attribute } = await startSqsTestbed()
  const dead = sqs.createQueue('dead')
  const redrive = { deadLetterTargetArn: sqs.queueArn('dead'), maxReceiveCount: '2' }
  const Attributes = { RedrivePolicy: JSON.stringify(redrive) }
  await client.send(new SetQueueAttributesCommand({ QueueUrl, Attributes }))
  sqs.send('events', 'poison')
  for (let n = 0; n < 2; n += 1) {
    assert.equal((await receive()).length, 1)
    sqs.advance(30_000)
  }
  assert.equal(await attribute('ApproximateNumberOfMessages'), '1')
  const poll = receive({ QueueUrl: dead, WaitTimeSeconds: 20, MessageSystemAttributeNames: ['All'] })
  await waiting(sqs, 1)
  sqs.send('events', 'good')
  assert.deepEqual(bodiesOf(await receive()), ['good'])
  const [letter] = await poll
  assert.equal(letter?.Body, 'poison')
  assert.equal(letter?.Attributes?.DeadLetterQueueSourceArn, sqs.queueArn('events'))
  assert.equal(letter?.Attributes?.ApproximateReceiveCount, '3')
  assert.equal(sqs.messages('events').length, 1)
  const missing = { RedrivePolicy: JSON.stringify({ ...redrive, deadLetterTargetArn: sqs.queueArn('none') }) }
  const wrong = client.send(new SetQueueAttributesCommand({ QueueUrl, Attributes: missing }))
  await assert.rejects(wrong, namedError('InvalidParameterValue', 'Dead letter target does not exist'))
})

test('A FIFO queue keeps the order of a group and gives out nothing of it while one is in flight', async () => {
  const { sqs, client, QueueUrl, receive } = await startSqsTestbed({ name: 'events.fifo' })
  const send = (MessageBody: string, MessageGroupId: string) =>
    client.send(new SendMessageCommand({ QueueUrl, MessageBody, MessageGroupId, MessageDeduplicationId: MessageBody }))
  for (const body of ['a1', 'b1', 'a2', 'a3']) await send(body, body.slice(0, 1))
  const [a1] = await receive({ MaxNumberOfMessages: 1, MessageSystemAttributeNames: ['MessageGroupId'] })
  assert.equal(a1?.Attributes?.MessageGroupId, 'a')
  assert.deepEqual(bodiesOf(await receive()), ['b1'])
  assert.deepEqual(await receive(), [])
  const change = { QueueUrl, ReceiptHandle: handleOf(a1), VisibilityTimeout: 0 }
  await client.send(new ChangeMessageVisibilityCommand(change))
  const group = await receive()
  assert.deepEqual(bodiesOf(group), ['a1', 'a2', 'a3'])
  await client.send(new DeleteMessageCommand({ QueueUrl, ReceiptHandle: handleOf(group[0]) }))
  await client.send(new ChangeMessageVisibilityCommand({ ...change, ReceiptHandle: handleOf(group[1]) }))
  assert.deepEqual(await receive(), [])
  sqs.advance(30_000)
  assert.deepEqual(bodiesOf(await receive()), ['a2', 'a3', 'b1'])
  const expired = client.send(new DeleteMessageCommand({ QueueUrl, ReceiptHandle: handleOf(group[2]) }))
  await assert.rejects(expired, namedError('InvalidParameterValue', 'The receipt handle has expired'))
})

test('In a FIFO queue what follows a delayed message waits for it', async () => {
  const { sqs, receive } = await startSqsTestbed({ name: 'events.fifo' })
  sqs.send('events.fifo', 'a1', { groupId: 'a', dedupId: '1', delayMs: 1000 })
  sqs.send('events.fifo', 'a2', { groupId: 'a', dedupId: '2' })
  sqs.send('events.fifo', 'b1', { groupId: 'b', dedupId: '3' })
  assert.deepEqual(bodiesOf(await receive()), ['b1'])
  sqs.advance(1000)
  assert.deepEqual(bodiesOf(await receive()), ['a1', 'a2'])
})

test('A FIFO queue takes a deduplication id once in five minutes', async () => {
  const attributes = { ContentBasedDeduplication: 'true' }
  const { sqs, client, QueueUrl } = await startSqsTestbed({ name: 'events.fifo', attributes })
  const send = (MessageBody: string) =>
    client.send(new SendMessageCommand({ QueueUrl, MessageBody, MessageGroupId: 'a' }))
  const first = await send('same')
  assert.equal((await send('same')).MessageId, first.MessageId)
  assert.equal(sqs.messages('events.fifo').length, 1)
  sqs.advance(300_000)
  assert.notEqual((await send('same')).MessageId, first.MessageId)
  sqs.createQueue('strict.fifo')
  const strict = { QueueUrl: sqs.queueUrl('strict.fifo'), MessageBody: 'x' }
  await assert.rejects(client.send(new SendMessageCommand(strict)), namedError('MissingParameter'))
  await assert.rejects(
    client.send(new SendMessageCommand({ ...strict, MessageGroupId: 'a' })),
    namedError('InvalidParameterValue', 'ContentBasedDeduplication'),
  )
  const delayed = { ...strict, MessageGroupId: 'a', MessageDeduplicationId: 'a', DelaySeconds: 1 }
  await assert.rejects(client.send(new SendMessageCommand(delayed)), namedError('InvalidParameterValue'))
})

test('Entries of a batch succeed or fail each by itself', async () => {
  const { sqs, client, QueueUrl, receive } = await startSqsTestbed()
  const Entries = Array.from({ length: 10 }, (_, n) => ({ Id: `m${n}`, MessageBody: `body ${n} ü` }))
  const sent = await client.send(new SendMessageBatchCommand({ QueueUrl, Entries }))
  assert.equal(sent.Successful?.length, 10)
  assert.equal(sent.Failed, undefined)
  const held = await receive()
  assert.equal(held.length, 10)
  sqs.advance(30_000)
  const [newer] = await receive({ MaxNumberOfMessages: 1 })
  const entries = held.slice(0, 3).map((message, n) => ({ Id: String(n), ReceiptHandle: handleOf(message) }))
  const changed = await client.send(
    new ChangeMessageVisibilityBatchCommand({
      QueueUrl,
      Entries: [...entries, { Id: 'new', ReceiptHandle: handleOf(newer) }].map((one) => ({
        ...one,
        VisibilityTimeout: 60,
      })),
    }),
  )
  assert.deepEqual(
    changed.Successful?.map(({ Id }) => Id),
    ['new'],
  )
  assert.deepEqual(
    changed.Failed?.map(({ Code, SenderFault }) => [Code, SenderFault]),
    [
      ['InvalidParameterValue', true],
      ['AWS.SimpleQueueService.MessageNotInflight', true],
      ['AWS.SimpleQueueService.MessageNotInflight', true],
    ],
  )
  const deleted = await client.send(new DeleteMessageBatchCommand({ QueueUrl, Entries: entries }))
  assert.deepEqual(
    deleted.Successful?.map(({ Id }) => Id),
    ['1', '2'],
  )
  assert.deepEqual(
    deleted.Failed?.map(({ Id, Code, SenderFault }) => [Id, Code, SenderFault]),
    [['0', 'ReceiptHandleIsInvalid', true]],
  )
  assert.equal(sqs.messages('events').length, 8)
  await client.send(new PurgeQueueCommand({ QueueUrl }))
  assert.equal(sqs.messages('events').length, 0)
})

test('Whatever is done, every message is somewhere once, and none is given out twice at a time', () => {
  const step = fc.record({
    what: fc.constantFrom('send', 'take', 'take', 'delete', 'release', 'extend', 'advance'),
    number: fc.nat(4),
  })
  void fc.assert(
    fc.property(fc.boolean(), fc.array(step, { maxLength: 60, size: 'max' }), (fifo, steps) => {
      let nowMs = 0
      const queues = new Map<string, SqsQueue>()
      const world = {
        nowMs: () => nowMs,
        queueOfArn: (arn: string) => queues.get(arn),
        inFlightLimit: 6,
        staleHandles: 'refuse' as const,
      }
      const suffix = fifo ? '.fifo' : ''
      const dead = new SqsQueue(`dead${suffix}`, 'dead', new Map(), world)
      queues.set('dead', dead)
      const redrive = JSON.stringify({ deadLetterTargetArn: 'dead', maxReceiveCount: 3 })
      const queue = new SqsQueue(`q${suffix}`, 'q', new Map([['RedrivePolicy', redrive]]), world)
      /** id -> the newest handle, its group, and when it ends. */
      const held = new Map<string, { handle: string; group: string | undefined; untilMs: number }>()
      let sent = 0
      let deleted = 0
      for (const { what, number } of steps) {
        for (const [id, { untilMs }] of held) if (untilMs <= nowMs) held.delete(id)
        const [id, one] = [...held][number] ?? []
        if (what === 'send') {
          sent += 1
          queue.send(`body ${sent}`, { groupId: `g${number % 3}`, dedupId: String(sent), delayMs: fifo ? 0 : number })
        } else if (what === 'take') {
          const groups = new Set([...held.values()].map(({ group }) => group))
          for (const message of queue.take({ max: number + 1, visibilityMs: 10 })) {
            assert.ok(!held.has(message.id))
            assert.ok(!fifo || !groups.has(message.groupId))
            held.set(message.id, { handle: queue.handleOf(message), group: message.groupId, untilMs: nowMs + 10 })
          }
        } else if (what === 'advance') nowMs += number * 3
        else if (id !== undefined && one) {
          if (what === 'delete') queue.delete(one.handle)
          else queue.changeVisibility(one.handle, what === 'extend' ? 1 : 0)
          if (what === 'delete') deleted += 1
          if (what === 'extend') one.untilMs = nowMs + 1000
          else held.delete(id)
        }
        const states = queue.messages().map(({ state }) => state)
        const live = [...held.values()].filter(({ untilMs }) => untilMs > nowMs).length
        assert.equal(states.filter((state) => state === 'in flight').length, live)
        assert.ok(live <= world.inFlightLimit)
        assert.equal(states.length + dead.messages().length + deleted, sent)
        const counts = queue.attributes(['ApproximateNumberOfMessages', 'ApproximateNumberOfMessagesNotVisible'])
        assert.deepEqual(counts, {
          ApproximateNumberOfMessages: String(states.filter((state) => state === 'visible').length),
          ApproximateNumberOfMessagesNotVisible: String(live),
        })
      }
    }),
  )
})
