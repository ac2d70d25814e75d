import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import {
  ChangeMessageVisibilityCommand,
  CreateQueueCommand,
  DeleteMessageBatchCommand,
  DeleteQueueCommand,
  GetQueueAttributesCommand,
  GetQueueUrlCommand,
  ListQueuesCommand,
  ReceiveMessageCommand,
  SendMessageBatchCommand,
  SendMessageCommand,
  SetQueueAttributesCommand,
} from '@aws-sdk/client-sqs'
import { request } from 'undici'
import { bodiesOf, handleOf, namedError, startSqsTestbed, waiting } from './sqs-testbed.ts'
import { invalidParameter, sqsErrors } from './sqs-wire.ts'

test('A queue is created, found, described and changed', async () => {
  const { sqs, client, QueueUrl } = await startSqsTestbed()
  const create = (Attributes: Record<string, string>) =>
    client.send(new CreateQueueCommand({ QueueName: 'other', Attributes }))
  assert.equal((await create({ VisibilityTimeout: '60' })).QueueUrl, sqs.queueUrl('other'))
  assert.equal((await create({ VisibilityTimeout: '60' })).QueueUrl, sqs.queueUrl('other'))
  await assert.rejects(create({ VisibilityTimeout: '61' }), namedError('QueueNameExists'))
  await assert.rejects(client.send(new CreateQueueCommand({ QueueName: 'a b' })), namedError('InvalidParameterValue'))

  assert.equal((await client.send(new GetQueueUrlCommand({ QueueName: 'events' }))).QueueUrl, QueueUrl)
  assert.deepEqual((await client.send(new ListQueuesCommand({}))).QueueUrls, [QueueUrl, sqs.queueUrl('other')])
  assert.deepEqual((await client.send(new ListQueuesCommand({ QueueNamePrefix: 'o' }))).QueueUrls, [
    sqs.queueUrl('other'),
  ])

  const Policy = '{"Statement":[]}'
  await client.send(new SetQueueAttributesCommand({ QueueUrl, Attributes: { Policy, MaximumMessageSize: '65536' } }))
  const names: ('Policy' | 'QueueArn' | 'RedrivePolicy' | 'MaximumMessageSize')[] = [
    'Policy',
    'QueueArn',
    'RedrivePolicy',
    'MaximumMessageSize',
  ]
  const { Attributes } = await client.send(new GetQueueAttributesCommand({ QueueUrl, AttributeNames: names }))
  assert.deepEqual(Attributes, { Policy, QueueArn: sqs.queueArn('events'), MaximumMessageSize: '65536' })
  assert.equal((await client.send(new GetQueueAttributesCommand({ QueueUrl }))).Attributes, undefined)

  const set = (given: Record<string, string>) =>
    client.send(new SetQueueAttributesCommand({ QueueUrl, Attributes: given }))
  await assert.rejects(set({ VisibilityTimeout: '43201' }), namedError('InvalidAttributeValue'))
  await assert.rejects(set({ Visibility: '1' }), namedError('InvalidAttributeName'))
  await assert.rejects(set({ RedrivePolicy: '{"maxReceiveCount":3}' }), namedError('InvalidParameterValue'))

  await client.send(new DeleteQueueCommand({ QueueUrl }))
  const missing = client.send(new ReceiveMessageCommand({ QueueUrl }))
  await assert.rejects(missing, (error: unknown) => {
    assert.ok(error instanceof Error && error.name === 'QueueDoesNotExist')
    assert.equal((error as Error & { Code?: string }).Code, 'AWS.SimpleQueueService.NonExistentQueue')
    return true
  })
  await assert.rejects(
    client.send(new ReceiveMessageCommand({ QueueUrl: `${sqs.endpoint}/111111111111/other` })),
    namedError('QueueDoesNotExist'),
  )
})

test('What is sent is received with its digests, attributes and times', async () => {
  const { sqs, client, QueueUrl, receive } = await startSqsTestbed()
  const MessageAttributes = {
    origin: { DataType: 'String', StringValue: 'über' },
    raw: { DataType: 'Binary', BinaryValue: Buffer.from([0, 255]) },
  }
  const sent = await client.send(new SendMessageCommand({ QueueUrl, MessageBody: 'söme "body"\n', MessageAttributes }))
  sqs.advance(5000)
  const [message, ...rest] = await receive({
    MessageSystemAttributeNames: ['All'],
    MessageAttributeNames: ['All'],
    MaxNumberOfMessages: 1,
  })
  assert.equal(rest.length, 0)
  assert.equal(message?.Body, 'söme "body"\n')
  assert.equal(message.MessageId, sent.MessageId)
  assert.equal(message.MD5OfMessageAttributes, sent.MD5OfMessageAttributes)
  assert.deepEqual(Buffer.from(message.MessageAttributes?.raw?.BinaryValue ?? []), Buffer.from([0, 255]))
  assert.deepEqual(message.Attributes, {
    ApproximateReceiveCount: '1',
    ApproximateFirstReceiveTimestamp: '1800000005000',
    SentTimestamp: '1800000000000',
    SenderId: 'AIDATESTTESTTESTTEST',
  })
  sqs.advance(30_000)
  const [again] = await receive({ MessageSystemAttributeNames: ['ApproximateReceiveCount'] })
  assert.deepEqual(again?.Attributes, { ApproximateReceiveCount: '2' })
  assert.equal(again?.MessageAttributes, undefined)
})

test('The digest of message attributes is the one AWS documents', async () => {
  // Name, type and value each behind their length; 1 marks a string.
  const { client, QueueUrl } = await startSqsTestbed()
  const bytes = Buffer.from('\0\0\0\x01a\0\0\0\x06String\x01\0\0\0\x02xy', 'latin1')
  const MessageAttributes = { a: { DataType: 'String', StringValue: 'xy' } }
  const sent = await client.send(new SendMessageCommand({ QueueUrl, MessageBody: 'b', MessageAttributes }))
  assert.equal(sent.MD5OfMessageAttributes, createHash('md5').update(bytes).digest('hex'))
})

test('A wrong message or parameter is refused as AWS does it', async () => {
  const { client, QueueUrl, receive } = await startSqsTestbed({ attributes: { MaximumMessageSize: '1024' } })
  const send = (MessageBody: string) => client.send(new SendMessageCommand({ QueueUrl, MessageBody }))
  await send('x'.repeat(1024))
  await assert.rejects(send('x'.repeat(1025)), namedError('InvalidParameterValue', 'shorter than 1024'))
  await assert.rejects(send('a\u0001b'), namedError('InvalidMessageContents'))
  await assert.rejects(receive({ MaxNumberOfMessages: 11 }), namedError('InvalidParameterValue', 'between 1 and 10'))
  await assert.rejects(receive({ WaitTimeSeconds: 21 }), namedError('InvalidParameterValue', 'WaitTimeSeconds'))
  await assert.rejects(receive({ VisibilityTimeout: -1 }), namedError('InvalidParameterValue', 'VisibilityTimeout'))
})

test('A long poll ends when a message arrives', async () => {
  const { sqs, client, QueueUrl, receive } = await startSqsTestbed()
  const first = receive({ WaitTimeSeconds: 20 })
  await waiting(sqs, 1)
  sqs.send('events', 'one')
  assert.deepEqual(bodiesOf(await first), ['one'])
  const second = receive({ WaitTimeSeconds: 20 })
  await waiting(sqs, 1)
  await client.send(new SendMessageCommand({ QueueUrl, MessageBody: 'two' }))
  assert.deepEqual(bodiesOf(await second), ['two'])
})

test('Of several long polls one gets the message', async () => {
  const { sqs, receive } = await startSqsTestbed()
  const polls = [receive({ WaitTimeSeconds: 20 }), receive({ WaitTimeSeconds: 20 })]
  await waiting(sqs, 2)
  sqs.send('events', 'one')
  await waiting(sqs, 1)
  sqs.advance(20_000)
  assert.deepEqual((await Promise.all(polls)).flat().length, 1)
})

test('A client that leaves a long poll takes nothing with it', { timeout: 10_000 }, async () => {
  const { sqs, receive } = await startSqsTestbed()
  const abort = new AbortController()
  const poll = receive({ WaitTimeSeconds: 20 }, abort.signal)
  await waiting(sqs, 1)
  abort.abort()
  await assert.rejects(poll, namedError('AbortError'))
  await waiting(sqs, 0)
  sqs.send('events', 'one')
  assert.equal(sqs.messages('events')[0]?.state, 'visible')
})

test('A long poll ends empty by the clock, and really though the clock stands', async () => {
  const { sqs, receive } = await startSqsTestbed({ attributes: { ReceiveMessageWaitTimeSeconds: '1' } })
  const byClock = receive({ WaitTimeSeconds: 20 })
  await waiting(sqs, 1)
  sqs.advance(20_000)
  assert.deepEqual(await byClock, [])
  assert.deepEqual(await receive(), [])
})

test('A long poll gets what becomes visible while it waits', async () => {
  const { sqs, client, QueueUrl, receive } = await startSqsTestbed()
  sqs.send('events', 'late', { delayMs: 3000 })
  sqs.send('events', 'held')
  const [held] = await receive()
  const ofDelayed = receive({ WaitTimeSeconds: 20 })
  await waiting(sqs, 1)
  sqs.advance(3000)
  assert.deepEqual(bodiesOf(await ofDelayed), ['late'])
  const ofReleased = receive({ WaitTimeSeconds: 20 })
  await waiting(sqs, 1)
  await client.send(
    new ChangeMessageVisibilityCommand({ QueueUrl, ReceiptHandle: handleOf(held), VisibilityTimeout: 0 }),
  )
  assert.deepEqual(bodiesOf(await ofReleased), ['held'])
  const ofExpired = receive({ WaitTimeSeconds: 20 })
  await waiting(sqs, 1)
  sqs.advance(30_000)
  assert.equal((await ofExpired).length, 2)
})

test('On the real clock a long poll wakes at the end of a visibility timeout', async () => {
  const { sqs, receive } = await startSqsTestbed({ nowMs: Date.now })
  sqs.send('events', 'one')
  const [first] = await receive({ VisibilityTimeout: 1 })
  const [again] = await receive({ WaitTimeSeconds: 20 })
  assert.equal(again?.MessageId, first?.MessageId)
  assert.notEqual(again?.ReceiptHandle, first?.ReceiptHandle)
  assert.equal(sqs.messages('events')[0]?.receives, 2)
})

test('A batch that is wrong as a whole is refused', async () => {
  const { client, QueueUrl } = await startSqsTestbed()
  const remove = (ids: readonly string[]) =>
    client.send(new DeleteMessageBatchCommand({ QueueUrl, Entries: ids.map((Id) => ({ Id, ReceiptHandle: 'junk' })) }))
  await assert.rejects(remove([]), namedError('EmptyBatchRequest'))
  await assert.rejects(remove('abcdefghijk'.split('')), namedError('TooManyEntriesInBatchRequest', 'You have sent 11'))
  await assert.rejects(remove(['a', 'b', 'a']), namedError('BatchEntryIdsNotDistinct', 'Id a repeated'))
  await assert.rejects(remove(['a.b']), namedError('InvalidBatchEntryId'))
  const Entries = ['a', 'b'].map((Id) => ({ Id, MessageBody: 'x'.repeat(600_000) }))
  await assert.rejects(
    client.send(new SendMessageBatchCommand({ QueueUrl, Entries })),
    namedError('BatchRequestTooLong'),
  )
})

test('A fault answers, breaks, hangs or delays a request, and lets entries fail', async () => {
  const { sqs, client, QueueUrl, receive } = await startSqsTestbed()
  sqs.send('events', 'one')
  sqs.fault = ({ n }) => (n === 1 ? sqsErrors.serviceUnavailable : n === 2 ? 'reset' : undefined)
  await assert.rejects(receive(), (error: unknown) => {
    assert.ok(error instanceof Error && error.name === 'ServiceUnavailable')
    const { $metadata } = error as Error & { $metadata?: { httpStatusCode?: number } }
    return $metadata?.httpStatusCode === 503
  })
  await assert.rejects(receive())
  assert.equal(sqs.messages('events')[0]?.receives, 0)

  sqs.fault = () => 'hang'
  const abort = new AbortController()
  const hanging = receive({}, abort.signal)
  while (sqs.counters.ReceiveMessage !== 3) await new Promise((resolve) => setTimeout(resolve, 1))
  abort.abort()
  await assert.rejects(hanging, namedError('AbortError'))
  assert.equal(sqs.messages('events')[0]?.receives, 0)

  sqs.fault = ({ action }) => (action === 'ReceiveMessage' ? 'resetAfter' : undefined)
  await assert.rejects(receive())
  assert.equal(sqs.messages('events')[0]?.state, 'in flight')

  sqs.advance(30_000)
  sqs.fault = async () => ({ delayMs: 1, next: sqsErrors.requestThrottled })
  await assert.rejects(receive(), namedError('RequestThrottled'))
  sqs.fault = () => ({ delayMs: 1 })
  sqs.send('events', 'two')
  const messages = await receive()
  assert.equal(messages.length, 2)

  sqs.fault = () => ({ failEntries: (_entry, index) => (index === 0 ? sqsErrors.internalFailure : undefined) })
  const Entries = messages.map((message, n) => ({ Id: String(n), ReceiptHandle: handleOf(message) }))
  const deleted = await client.send(new DeleteMessageBatchCommand({ QueueUrl, Entries }))
  assert.deepEqual(
    deleted.Failed?.map(({ Id, Code, SenderFault }) => [Id, Code, SenderFault]),
    [['0', 'InternalFailure', false]],
  )
  assert.deepEqual(
    sqs.messages('events').map(({ id }) => id),
    [messages[0]?.MessageId],
  )
  assert.equal(sqs.counters.DeleteMessageBatch, 1)
  assert.deepEqual(sqs.calls.at(-1), { action: 'DeleteMessageBatch', n: 1, body: { QueueUrl, Entries } })
})

test('Access is denied until it is allowed', async () => {
  const { sqs, receive } = await startSqsTestbed()
  sqs.deny()
  await assert.rejects(receive(), (error: unknown) => {
    assert.ok(error instanceof Error)
    const { Code, $metadata } = error as Error & { Code?: string; $metadata?: { httpStatusCode?: number } }
    return Code === 'AccessDenied' && $metadata?.httpStatusCode === 403
  })
  sqs.deny(sqsErrors.invalidClientTokenId)
  await assert.rejects(receive(), (error: unknown) => (error as { Code?: string }).Code === 'InvalidClientTokenId')
  sqs.allow()
  assert.deepEqual(await receive(), [])
})

test('A server that was stopped starts on the same port with its queues', async () => {
  const { sqs, receive } = await startSqsTestbed()
  sqs.send('events', 'one')
  const poll = receive({ QueueUrl: sqs.createQueue('empty'), WaitTimeSeconds: 20 })
  await waiting(sqs, 1)
  await Promise.all([sqs.stop(), assert.rejects(poll)])
  await assert.rejects(receive())
  await sqs.start()
  assert.deepEqual(bodiesOf(await receive()), ['one'])
  await sqs.close()
  await sqs.close()
})

test('What is not the JSON protocol is refused', async () => {
  const { sqs } = await startSqsTestbed()
  const ask = async (headers: Record<string, string>, body: string) => {
    const answer = await request(sqs.endpoint, { method: 'POST', headers, body })
    return [answer.statusCode, answer.headers['x-amzn-query-error'], JSON.parse(await answer.body.text()).__type]
  }
  const target = { 'x-amz-target': 'AmazonSQS.ListQueues' }
  assert.deepEqual(await ask({}, 'Action=ListQueues'), [400, 'InvalidAction;Sender', 'InvalidAction'])
  assert.deepEqual(await ask({ 'x-amz-target': 'AmazonSQS.Nothing' }, '{}'), [
    400,
    'InvalidAction;Sender',
    'InvalidAction',
  ])
  const malformed = [400, 'MalformedInput;Sender', 'com.amazon.coral.service#SerializationException']
  assert.deepEqual(await ask(target, '{'), malformed)
  assert.deepEqual(await ask(target, '[]'), malformed)
})

test('A hook may answer with any error, and a broken hook is seen', async () => {
  const { sqs, receive } = await startSqsTestbed()
  sqs.fault = () => invalidParameter('not today')
  await assert.rejects(receive(), namedError('InvalidParameterValue', 'not today'))
  sqs.fault = () => {
    throw new Error('the hook is broken')
  }
  const headers = { 'x-amz-target': 'AmazonSQS.ListQueues' }
  const answer = await request(sqs.endpoint, { method: 'POST', headers, body: '{}' })
  assert.equal(answer.statusCode, 500)
  assert.match(await answer.body.text(), /the hook is broken/)
})
