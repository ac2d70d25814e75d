import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { escapeXml, urlEncodeKey } from '../../test/servers/s3-wire.ts'
import { parseListPage } from './s3-list-page.ts'

const page = (inner: string) =>
  `<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${inner}</ListBucketResult>`

test('a page as AWS writes it is understood', () => {
  const parsed = parseListPage(
    page(`<Name>b</Name><Prefix>a/</Prefix><NextContinuationToken>1ueGcxLPRx1Tr/XYExHnhbYLgveDs2J/wm36Hy4vbOwM=</NextContinuationToken>
      <KeyCount>2</KeyCount><MaxKeys>1000</MaxKeys><Delimiter>/</Delimiter><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>
      <Contents><Key>a/year%3D2025/x+y</Key><LastModified>2025-10-12T21:41:32.000Z</LastModified><ETag>&quot;70ee1738b6b21e2c8a43f3a5ab0eee71&quot;</ETag>
      <ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm><Size>434234</Size><Owner><ID>1</ID><DisplayName>me</DisplayName></Owner><StorageClass>STANDARD</StorageClass></Contents>
      <CommonPrefixes><Prefix>a/b+c/</Prefix></CommonPrefixes><CommonPrefixes><Prefix>a/d/</Prefix></CommonPrefixes>`),
  )
  assert.deepEqual(parsed, {
    objects: [
      {
        key: 'a/year=2025/x y',
        etag: '"70ee1738b6b21e2c8a43f3a5ab0eee71"',
        size: 434_234,
        lastModifiedMs: Date.UTC(2025, 9, 12, 21, 41, 32),
      },
    ],
    prefixes: ['a/b c/', 'a/d/'],
    isTruncated: true,
    nextToken: '1ueGcxLPRx1Tr/XYExHnhbYLgveDs2J/wm36Hy4vbOwM=',
  })
})

test('an empty page is a page, and what is missing is missing', () => {
  assert.deepEqual(parseListPage(page('<IsTruncated>false</IsTruncated>')), {
    objects: [],
    prefixes: [],
    isTruncated: false,
    nextToken: undefined,
  })
  assert.deepEqual(parseListPage(page('<Contents><Key>k</Key><ETag/></Contents>'))?.objects, [
    { key: 'k', etag: undefined, size: undefined, lastModifiedMs: 0 },
  ])
})

test('anything unusual is left to a real parser', () => {
  for (const xml of [
    '',
    '<html></html>',
    '<Error><Code>InternalError</Code></Error>',
    page('<Contents><Key>k</Key></Contents>').slice(0, -5),
    page('<Contents><Key><![CDATA[k]]></Key></Contents>'),
    page('<!-- <Contents> --><Contents><Key>k</Key></Contents>'),
    page('<Contents xmlns="x"><Key>k</Key></Contents>'),
    page('<Contents><Key type="s">k</Key></Contents>'),
    page('<Contents><Size>1</Size></Contents>'),
    '<s3:ListBucketResult></s3:ListBucketResult>',
  ]) {
    assert.equal(parseListPage(xml), undefined, xml)
  }
})

test('any key comes through, encoded or escaped', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', minLength: 1 }), (key) => {
      const encoded = page(`<EncodingType>url</EncodingType><Contents><Key>${urlEncodeKey(key)}</Key></Contents>`)
      assert.equal(parseListPage(encoded)?.objects[0]?.key, key)
      const escaped = page(`<Contents><Key>${escapeXml(key)}</Key></Contents>`)
      assert.equal(parseListPage(escaped)?.objects[0]?.key, key)
    }),
  )
})
