/**
 * Elasticsearch 8 (https://www.elastic.co/elasticsearch), one node without X-Pack: no security, no data streams. HTTP is a
 * module, loaded from a folder of its own: two versions of Netty are not wanted on a class path.
 */
import { mkdir, readdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { librariesOf } from './java-server.ts'
import { type SearchNode, startSearchNode } from './search-node.ts'

const ofModule = /^(netty-|transport-netty4-)/

/** Throws if test/real/setup was not run. */
export const startElasticsearch = (): Promise<SearchNode> =>
  startSearchNode({
    name: 'elasticsearch',
    source: 'ElasticsearchServer',
    configuration: 'elasticsearch.yml',
    besides: ofModule,
    prepare: async (folder) => {
      const libraries = librariesOf('elasticsearch')
      const target = join(folder, 'modules', 'transport-netty4')
      await mkdir(target, { recursive: true })
      await mkdir(join(folder, 'plugins'))
      const jars = await readdir(libraries)
      for (const jar of jars.filter((name) => ofModule.test(name))) {
        await symlink(join(libraries, jar), join(target, jar))
      }
      const version = jars.map((name) => /^elasticsearch-(\d.*)\.jar$/.exec(name)?.[1]).find((it) => it !== undefined)
      await writeFile(
        join(target, 'plugin-descriptor.properties'),
        `name=transport-netty4
description=HTTP and transport
version=${version}
elasticsearch.version=${version}
java.version=17
classname=org.elasticsearch.transport.netty4.Netty4Plugin
`,
      )
    },
  })
