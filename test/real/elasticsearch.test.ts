import { startElasticsearch } from './elasticsearch.ts'
import { testSearchNode } from './search-node-tests.ts'

await testSearchNode(await startElasticsearch(), { dataStreams: false })
