import assert from 'node:assert/strict'
import { test } from 'node:test'
import { placeOf } from './place.ts'

// facts/seeds.md A16.21: secrets in places where others can read them.
test('user, password and query of an endpoint are not shown', () => {
  const endpoints = ['https://user:hunter2@a.example.com:8443/in', 'https://b.example.com/in?token=hunter2', 'odd']
  assert.equal(
    placeOf({ type: 'http', endpoints }),
    'http https://a.example.com:8443/in, https://b.example.com/in?…, odd',
  )
})

test('a sink without endpoints is shown by its type', () => {
  assert.equal(placeOf({ type: 'other' }), 'other')
})
