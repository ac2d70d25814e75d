/** OpenSearch 2 (https://opensearch.org), one node without its security plugin. */
import { type SearchNode, startSearchNode } from './search-node.ts'

/** Throws if test/real/setup was not run. */
export const startOpensearch = (): Promise<SearchNode> =>
  startSearchNode({ name: 'opensearch', source: 'OpenSearchServer', configuration: 'opensearch.yml' })
