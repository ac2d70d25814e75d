/** What each SFTP request asks of the tree of files, for one session of the test server. */
import type { SftpCounters, SftpFault, SftpFaults, SftpSwitches, SftpVerdict } from './sftp-faults.ts'
import {
  attributesOf,
  type FileNode,
  type FolderNode,
  type Place,
  SftpRefusal,
  type SftpTree,
  setAttributes,
  type TreeNode,
} from './sftp-tree.ts'
import {
  attributesAnswer,
  dataAnswer,
  extendedAnswer,
  handleAnswer,
  longestPacket,
  nameAnswer,
  PacketFields,
  requestTypes,
  type SftpAttributes,
  type SftpName,
  sftpStatus,
  statusAnswer,
  versionAnswer,
} from './sftp-wire.ts'

/** What all sessions of a server share. Paths are latin1 strings of their bytes. */
export interface SftpHost {
  readonly tree: SftpTree
  /** Where relative paths begin. */
  readonly home: string
  readonly switches: SftpSwitches
  readonly faults: SftpFaults
  readonly counters: SftpCounters
  /** Sizes that are told instead of the true ones, by path. */
  readonly sizeLies: ReadonlyMap<string, number>
  /** Names that are told besides those of a folder, by its path. */
  readonly nameLies: ReadonlyMap<string, readonly string[]>
  /** How often this hook was asked about this path, this time included. */
  nth(hook: object, path: string): number
}

/** One request, ready to be done. */
export interface Task {
  readonly id: number
  readonly fault: SftpVerdict
  /** Time until it is done. */
  readonly waitMs: number
  /** Does it; gives the answer. Throws SftpRefusal. */
  readonly work: (fault: SftpFault | undefined) => readonly Buffer[]
}

interface OpenedFile {
  readonly node: FileNode
  readonly path: string
  readonly givenPath: string
  /** READs that wait for their answer. */
  reading: number
}
interface OpenedFolder {
  readonly node: FolderNode
  readonly path: string
  readonly givenPath: string
  /** Names that were not told yet. */
  readonly names: string[]
}
type Opened = OpenedFile | OpenedFolder
type HookName = Exclude<keyof SftpFaults, 'onRead' | 'onAuth'>

/** OpenSSH tells a hundred names at a time. */
const namesAPage = 100
const openToWrite = 0x02 | 0x04 | 0x08 | 0x10

export class SftpRequests {
  readonly #host: SftpHost
  readonly #handles = new Map<string, Opened>()
  #lastHandle = 0

  constructor(host: SftpHost) {
    this.#host = host
  }

  /** Closes all handles. */
  end(): void {
    this.#host.counters.handlesOpen -= this.#handles.size
    this.#handles.clear()
  }

  /** Reads one packet; throws MalformedPacket. */
  task(packet: Buffer): Task {
    const { counters, tree } = this.#host
    const fields = new PacketFields(packet)
    const number = fields.byte()
    const type = Object.hasOwn(requestTypes, number) ? requestTypes[number as keyof typeof requestTypes] : undefined
    const id = fields.uint32()
    if (type === 'init') return this.#now(id, () => [versionAnswer(this.#extensions())])
    counters.requests += 1
    switch (type) {
      case 'read':
        return this.#read(id, fields.text(), fields.uint64(), fields.uint32())
      case 'open': {
        counters.opens += 1
        const path = fields.text()
        const flags = fields.uint32()
        return this.#task(id, 'onOpen', path, () => [handleAnswer(id, this.#open(path, flags))])
      }
      case 'close': {
        const handle = fields.text()
        return this.#change(id, 'onClose', this.#givenPath(handle), () => this.#close(handle))
      }
      case 'opendir': {
        counters.lists += 1
        const path = fields.text()
        return this.#task(id, 'onList', path, () => [handleAnswer(id, this.#openFolder(path))])
      }
      case 'readdir': {
        const handle = fields.text()
        return this.#task(id, 'onListPage', this.#givenPath(handle), () => [this.#page(id, handle)])
      }
      case 'stat':
      case 'lstat': {
        counters.stats += 1
        const path = fields.text()
        const followLast = type === 'stat'
        return this.#task(id, 'onStat', path, () => {
          const place = this.#existing(path, { followLast })
          return [attributesAnswer(id, this.#attributes(place.node, place.path))]
        })
      }
      case 'fstat': {
        counters.stats += 1
        const handle = fields.text()
        return this.#task(id, 'onStat', this.#givenPath(handle), () => {
          const { node, path } = this.#opened(handle)
          return [attributesAnswer(id, this.#attributes(node, path))]
        })
      }
      case 'setstat': {
        const path = fields.text()
        const given = fields.attributes()
        return this.#change(id, undefined, path, () => setAttributes(this.#existing(path).node, given))
      }
      case 'fsetstat': {
        const handle = fields.text()
        const given = fields.attributes()
        return this.#change(id, undefined, '', () => setAttributes(this.#opened(handle).node, given))
      }
      case 'remove': {
        counters.removes += 1
        const path = fields.text()
        return this.#change(id, 'onRemove', path, () => tree.remove(this.#absolute(path)))
      }
      case 'rmdir': {
        const path = fields.text()
        return this.#change(id, 'onRemove', path, () => tree.removeFolder(this.#absolute(path)))
      }
      case 'mkdir': {
        counters.makeFolders += 1
        const path = fields.text()
        return this.#change(id, 'onMakeFolder', path, () => tree.makeFolder(this.#absolute(path)))
      }
      case 'rename':
        return this.#rename(id, fields.text(), fields.text(), { overwrite: false })
      case 'symlink': {
        // OpenSSH has the target first, against the draft; clients know it.
        const target = fields.text()
        const path = fields.text()
        return this.#change(id, undefined, path, () => tree.makeLink(this.#absolute(path), target))
      }
      case 'readlink': {
        const path = fields.text()
        return this.#task(id, undefined, path, () => {
          const { node } = this.#existing(path, { followLast: false })
          if (node.kind !== 'link') throw new SftpRefusal(sftpStatus.badMessage)
          return [nameAnswer(id, [{ name: node.target, attributes: undefined }])]
        })
      }
      case 'realpath': {
        counters.resolves += 1
        const path = fields.text()
        return this.#task(id, 'onResolve', path, () => {
          const name = tree.find(this.#absolute(path)).path
          return [nameAnswer(id, [{ name, attributes: undefined }])]
        })
      }
      case 'extended':
        return this.#extended(id, fields)
      case undefined:
        return this.#now(id, () => [statusAnswer(id, sftpStatus.unsupported)])
    }
  }

  #extensions(): Record<string, string> {
    const always = { 'posix-rename@openssh.com': '1', 'statvfs@openssh.com': '2' }
    return this.#host.switches.withoutLimits ? always : { ...always, 'limits@openssh.com': '1' }
  }

  #extended(id: number, fields: PacketFields): Task {
    const { withoutLimits, maxReadBytes, maxHandles } = this.#host.switches
    const name = fields.text()
    if (name === 'posix-rename@openssh.com') {
      return this.#rename(id, fields.text(), fields.text(), { overwrite: true })
    }
    return this.#now(id, () => {
      if (name === 'limits@openssh.com' && !withoutLimits) {
        return [extendedAnswer(id, [longestPacket, maxReadBytes, 255 * 1024, maxHandles])]
      }
      if (name === 'statvfs@openssh.com') {
        return [extendedAnswer(id, [4096, 4096, 1e9, 5e8, 5e8, 1e9, 1e9, 1e9, 1, 0, 255])]
      }
      return [statusAnswer(id, sftpStatus.unsupported)]
    })
  }

  #rename(id: number, from: string, to: string, o: { readonly overwrite: boolean }): Task {
    this.#host.counters.renames += 1
    return this.#change(id, 'onRename', from, () => {
      this.#host.tree.rename(this.#absolute(from), this.#absolute(to), o)
    })
  }

  #open(path: string, flags: number): string {
    if (flags & openToWrite) throw new SftpRefusal(sftpStatus.permissionDenied)
    const { node, path: found } = this.#existing(path)
    if ((node.mode & 0o444) === 0) throw new SftpRefusal(sftpStatus.permissionDenied)
    // As open(2): a folder may be opened, and fails when it is read.
    if (node.kind === 'folder') return this.#keep({ node, path: found, givenPath: shown(path), names: [] })
    if (node.kind !== 'file') throw new SftpRefusal(sftpStatus.failure)
    return this.#keep({ node, path: found, givenPath: shown(path), reading: 0 })
  }

  #openFolder(path: string): string {
    const { node, path: found } = this.#existing(path)
    if (node.kind !== 'folder') throw new SftpRefusal(sftpStatus.noSuchFile)
    if ((node.mode & 0o444) === 0) throw new SftpRefusal(sftpStatus.permissionDenied)
    const names = ['.', '..', ...node.entries.keys(), ...(this.#host.nameLies.get(found) ?? [])]
    return this.#keep({ node, path: found, givenPath: shown(path), names })
  }

  #keep(opened: Opened): string {
    if (this.#handles.size >= this.#host.switches.maxHandles) throw new SftpRefusal(sftpStatus.failure)
    this.#lastHandle += 1
    const handle = String(this.#lastHandle).padStart(4, '0')
    this.#handles.set(handle, opened)
    this.#host.counters.handlesOpen += 1
    return handle
  }

  #close(handle: string): void {
    if (!this.#handles.delete(handle)) throw new SftpRefusal(sftpStatus.failure)
    this.#host.counters.handlesOpen -= 1
  }

  #page(id: number, handle: string): Buffer {
    const opened = this.#opened(handle)
    if (!('names' in opened)) throw new SftpRefusal(sftpStatus.failure)
    const page: SftpName[] = []
    // What vanished since the folder was opened is left out.
    while (opened.names.length > 0 && page.length < namesAPage) {
      for (const name of opened.names.splice(0, namesAPage - page.length)) {
        const attributes = this.#entry(opened, name)
        if (!attributes) continue
        page.push({ name, attributes: this.#host.switches.listWithoutAttributes ? undefined : attributes })
      }
    }
    return page.length === 0 ? statusAnswer(id, sftpStatus.eof) : nameAnswer(id, page)
  }

  #entry({ node: folder, path }: OpenedFolder, name: string): SftpAttributes | undefined {
    if (name === '.' || name === '..') return attributesOf(folder)
    const node = folder.entries.get(name)
    if (node) return this.#attributes(node, `${path === '/' ? '' : path}/${name}`)
    const lies = this.#host.nameLies.get(path)
    return lies?.includes(name) ? { size: 1, mode: 0o100644, mtimeMs: 0 } : undefined
  }

  #read(id: number, handle: string, offset: number, length: number): Task {
    const { counters, switches, faults } = this.#host
    counters.reads += 1
    const opened = this.#handles.get(handle)
    const busy = switches.serialOnly && opened && 'reading' in opened && opened.reading > 0
    if (!opened || !('reading' in opened) || busy) {
      return this.#now(id, () => [statusAnswer(id, sftpStatus.failure)])
    }
    opened.reading += 1
    counters.readsInFlight = Math.max(counters.readsInFlight, opened.reading)
    const path = opened.givenPath
    return {
      id,
      fault: faults.onRead?.(path, offset, length, this.#host.nth(faults.onRead, path)),
      // Answered at once, a read would never be in flight together with another one.
      waitMs: switches.serialOnly ? Math.max(switches.latencyMs, 1) : switches.latencyMs,
      work: (fault) => {
        opened.reading -= 1
        return this.#data(id, opened, offset, length, fault)
      },
    }
  }

  #data(id: number, { node }: OpenedFile, offset: number, length: number, fault?: SftpFault): Buffer[] {
    const { counters, switches } = this.#host
    if (switches.maxReadStrict && length > switches.maxReadBytes) throw new SftpRefusal(sftpStatus.failure)
    if (fault && 'data' in fault) return dataAnswer(id, fault.data)
    const most = Math.min(length, switches.maxReadBytes, node.size - offset)
    if (most <= 0) return [statusAnswer(id, sftpStatus.eof)]
    const some = switches.shortReads ? 1 + Math.floor(Math.random() * most) : most
    const bytes = node.bytes(offset, offset + Math.min(some, fault && 'short' in fault ? fault.short : some))
    counters.readBytes += bytes.length
    return dataAnswer(id, bytes)
  }

  /** What no hook sees and no latency holds up. */
  #now(id: number, work: () => readonly Buffer[]): Task {
    return { id, fault: undefined, waitMs: 0, work }
  }

  #task(id: number, hook: HookName | undefined, path: string, work: () => readonly Buffer[]): Task {
    const call = hook && this.#host.faults[hook]
    const fault = call?.(shown(path), this.#host.nth(call, path))
    return { id, fault, waitMs: this.#host.switches.latencyMs, work }
  }

  /** A task that is answered by `ok`. */
  #change(id: number, hook: HookName | undefined, path: string, work: () => void): Task {
    return this.#task(id, hook, path, () => {
      work()
      return [statusAnswer(id, sftpStatus.ok)]
    })
  }

  #absolute(path: string): string {
    return path.startsWith('/') ? path : `${this.#host.home}/${path}`
  }

  #existing(path: string, o?: { readonly followLast: boolean }): Place & { readonly node: TreeNode } {
    const place = this.#host.tree.find(this.#absolute(path), o)
    const { node } = place
    if (!node) throw new SftpRefusal(sftpStatus.noSuchFile)
    return { ...place, node }
  }

  #opened(handle: string): Opened {
    const opened = this.#handles.get(handle)
    if (!opened) throw new SftpRefusal(sftpStatus.failure)
    return opened
  }

  #givenPath(handle: string): string {
    return Buffer.from(this.#handles.get(handle)?.givenPath ?? '').toString('latin1')
  }

  #attributes(node: TreeNode, path: string): SftpAttributes {
    const size = this.#host.sizeLies.get(path)
    return size === undefined ? attributesOf(node) : { ...attributesOf(node), size }
  }
}

/** A path for people: bytes that are not UTF-8 become U+FFFD. */
function shown(path: string): string {
  return Buffer.from(path, 'latin1').toString('utf8')
}
