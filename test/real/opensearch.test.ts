import { startOpensearch } from './opensearch.ts'
import { testSearchNode } from './search-node-tests.ts'

await testSearchNode(await startOpensearch(), { dataStreams: true })
