/** A tree of files in memory for the test SFTP server, with the rules of a POSIX file system that clients can notice. */
import { type GivenAttributes, type SftpAttributes, type SftpStatus, sftpStatus } from './sftp-wire.ts'

/** Bytes `from` up to, not including, `to`. */
export type FileBytes = (from: number, to: number) => Buffer

/** `mode`: rights only. A right is checked against all three classes at once: mode 0 is closed, 0o400 is open to read. */
interface NodeFacts {
  mode: number
  mtimeMs: number
}
export interface FileNode extends NodeFacts {
  readonly kind: 'file'
  size: number
  bytes: FileBytes
}
export interface FolderNode extends NodeFacts {
  readonly kind: 'folder'
  readonly entries: Map<string, TreeNode>
}
export interface LinkNode extends NodeFacts {
  readonly kind: 'link'
  readonly target: string
}
/** What is neither: `format` holds the bits of S_IFMT. */
export interface SpecialNode extends NodeFacts {
  readonly kind: 'special'
  readonly format: number
}
export type TreeNode = FileNode | FolderNode | LinkNode | SpecialNode

export interface Place {
  readonly parent: FolderNode
  readonly name: string
  readonly node: TreeNode | undefined
  /** Absolute, without links, `.` and `..` (but the last name may be a link that was not followed). */
  readonly path: string
}

/** The server refuses with this status. */
export class SftpRefusal extends Error {
  readonly status: SftpStatus

  constructor(status: SftpStatus) {
    super(`SFTP status ${status}`)
    this.status = status
  }
}

/** As Linux: more links than that in one path are a loop. */
const mostLinks = 40
const formats = { file: 0o100000, folder: 0o040000, link: 0o120000 } as const

/** Paths and names are latin1 strings of their bytes. */
export class SftpTree {
  readonly root: FolderNode = folderNode()

  /** Finds a path. Throws if a folder above it is missing, is no folder, may not be searched, or links go round. */
  find(path: string, o: { readonly followLast: boolean } = { followLast: true }): Place {
    const todo = segments(path).reverse()
    const trail: { readonly name: string; readonly node: TreeNode }[] = []
    let links = 0
    for (let name = todo.pop(); name !== undefined; name = todo.pop()) {
      if (name === '..') {
        trail.pop()
        continue
      }
      const folder = trail.at(-1)?.node ?? this.root
      if (folder.kind !== 'folder') throw new SftpRefusal(sftpStatus.noSuchFile)
      if ((folder.mode & 0o111) === 0) throw new SftpRefusal(sftpStatus.permissionDenied)
      const node = folder.entries.get(name)
      if (!node) {
        if (todo.length > 0) throw new SftpRefusal(sftpStatus.noSuchFile)
        return { parent: folder, name, node, path: pathOf([...trail, { name }]) }
      }
      if (node.kind === 'link' && (todo.length > 0 || o.followLast)) {
        links += 1
        if (links > mostLinks) throw new SftpRefusal(sftpStatus.noSuchFile)
        if (node.target.startsWith('/')) trail.length = 0
        todo.push(...segments(node.target).reverse())
        continue
      }
      trail.push({ name, node })
    }
    const last = trail.at(-1)
    const above = trail.at(-2)?.node
    const parent = above?.kind === 'folder' ? above : this.root
    return { parent, name: last?.name ?? '', node: last?.node ?? this.root, path: pathOf(trail) }
  }

  /** The node; throws if there is none. */
  node(path: string, o?: { readonly followLast: boolean }): TreeNode {
    const { node } = this.find(path, o)
    if (!node) throw new SftpRefusal(sftpStatus.noSuchFile)
    return node
  }

  /** Puts a node there, whatever was there before; makes the folders above it. */
  place(path: string, node: TreeNode): void {
    const names = segments(path)
    const name = names.pop()
    if (name === undefined) throw new Error(`no name in ${path}`)
    this.makeFolders(names.join('/')).entries.set(name, node)
  }

  makeFolders(path: string): FolderNode {
    let folder = this.root
    for (const name of segments(path)) {
      let next = folder.entries.get(name)
      if (next?.kind === 'link') next = this.node(next.target)
      if (!next) {
        next = folderNode()
        folder.entries.set(name, next)
      }
      if (next.kind !== 'folder') throw new Error(`${path} passes through something that is no folder`)
      folder = next
    }
    return folder
  }

  /** REMOVE: as unlink(2). */
  remove(path: string): void {
    const { parent, name, node } = this.find(path, { followLast: false })
    if (!node) throw new SftpRefusal(sftpStatus.noSuchFile)
    if (node.kind === 'folder') throw new SftpRefusal(sftpStatus.failure)
    mayChange(parent)
    parent.entries.delete(name)
  }

  /** RMDIR. */
  removeFolder(path: string): void {
    const { parent, name, node } = this.find(path, { followLast: false })
    if (!node) throw new SftpRefusal(sftpStatus.noSuchFile)
    if (node.kind !== 'folder' || node.entries.size > 0) throw new SftpRefusal(sftpStatus.failure)
    mayChange(parent)
    parent.entries.delete(name)
  }

  makeFolder(path: string): void {
    const { parent, name, node } = this.find(path, { followLast: false })
    if (node) throw new SftpRefusal(sftpStatus.failure)
    mayChange(parent)
    parent.entries.set(name, folderNode())
  }

  makeLink(path: string, target: string): void {
    const { parent, name, node } = this.find(path, { followLast: false })
    if (node) throw new SftpRefusal(sftpStatus.failure)
    mayChange(parent)
    parent.entries.set(name, linkNode(target))
  }

  /** `overwrite`: as rename(2); otherwise as OpenSSH's RENAME of version 3, which refuses if there is something. */
  rename(from: string, to: string, o: { readonly overwrite: boolean }): void {
    const source = this.find(from, { followLast: false })
    const target = this.find(to, { followLast: false })
    if (!source.node) throw new SftpRefusal(sftpStatus.noSuchFile)
    if (target.node && (!o.overwrite || target.node.kind === 'folder')) throw new SftpRefusal(sftpStatus.failure)
    if (`${target.path}/`.startsWith(`${source.path}/`)) throw new SftpRefusal(sftpStatus.failure)
    mayChange(source.parent)
    mayChange(target.parent)
    source.parent.entries.delete(source.name)
    target.parent.entries.set(target.name, source.node)
  }

  /** Every path below the root, in the order of bytes; those of folders end with `/`. */
  *paths(folder: FolderNode = this.root, above = '/'): Generator<string> {
    for (const [name, node] of [...folder.entries].sort(([a], [b]) => (a < b ? -1 : 1))) {
      yield node.kind === 'folder' ? `${above}${name}/` : `${above}${name}`
      if (node.kind === 'folder') yield* this.paths(node, `${above}${name}/`)
    }
  }
}

export function attributesOf(node: TreeNode): SftpAttributes {
  const { mode, mtimeMs } = node
  const size = node.kind === 'file' ? node.size : node.kind === 'link' ? node.target.length : 4096
  return { size, mode: mode | (node.kind === 'special' ? node.format : formats[node.kind]), mtimeMs }
}

/** SETSTAT. A file that is made longer ends with zeros. */
export function setAttributes(node: TreeNode, given: GivenAttributes): void {
  if (given.mode !== undefined) node.mode = given.mode & 0o7777
  if (given.size !== undefined) {
    if (node.kind !== 'file') throw new SftpRefusal(sftpStatus.failure)
    const bytes = Buffer.alloc(given.size)
    node.bytes(0, Math.min(node.size, given.size)).copy(bytes)
    Object.assign(node, bodyOf(bytes), { mtimeMs: Date.now() })
  }
  if (given.mtimeMs !== undefined) node.mtimeMs = given.mtimeMs
}

/** The fields of a file that these bytes make. */
export function bodyOf(bytes: Buffer): { readonly size: number; readonly bytes: FileBytes } {
  return { size: bytes.length, bytes: (from, to) => bytes.subarray(from, to) }
}

export function folderNode(mode = 0o755): FolderNode {
  return { kind: 'folder', entries: new Map(), mode, mtimeMs: Date.now() }
}

export function linkNode(target: string): LinkNode {
  return { kind: 'link', target, mode: 0o777, mtimeMs: Date.now() }
}

function segments(path: string): string[] {
  return path.split('/').filter((name) => name !== '' && name !== '.')
}

function pathOf(trail: readonly { readonly name: string }[]): string {
  return `/${trail.map(({ name }) => name).join('/')}`
}

function mayChange(folder: FolderNode): void {
  if ((folder.mode & 0o222) === 0) throw new SftpRefusal(sftpStatus.permissionDenied)
}
