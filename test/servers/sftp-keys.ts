/** Key pairs for the test SFTP server and its clients, in the file format of OpenSSH. */
import { createHash } from 'node:crypto'
import ssh2 from 'ssh2'

export type SshKeyType = 'ed25519' | 'ecdsa' | 'rsa'

export interface SshKeyPair {
  /** As in a file like id_ed25519; encrypted if a passphrase was given. */
  readonly privateKey: string
  /** `ssh-ed25519 AAAA…`, without a comment. */
  readonly publicKey: string
  /** `SHA256:…`, as ssh prints it. */
  readonly fingerprint: string
}

/** Makes a new key pair. RSA takes a second; the others some milliseconds. */
export function makeSshKey(type: SshKeyType = 'ed25519', passphrase?: string): SshKeyPair {
  // Few rounds: the passphrase of a test need not be hard to guess.
  const secret: ssh2.utils.KeyPairOptions =
    passphrase === undefined ? {} : { passphrase, cipher: 'aes256-cbc', rounds: 2 }
  let made = generate(type, secret)
  // ssh2 1.17 drops a zero at the begin of an ed25519 key: one in 256 is broken.
  while (ssh2.utils.parseKey(made.private, passphrase) instanceof Error) made = generate(type, secret)
  const [name, blob] = made.public.split(' ')
  if (name === undefined || blob === undefined) throw new Error('ssh2 made a public key without a blob')
  const digest = createHash('sha256').update(Buffer.from(blob, 'base64')).digest('base64').replace(/=+$/, '')
  return { privateKey: made.private, publicKey: `${name} ${blob}`, fingerprint: `SHA256:${digest}` }
}

function generate(type: SshKeyType, secret: ssh2.utils.KeyPairOptions): { private: string; public: string } {
  const { generateKeyPairSync } = ssh2.utils
  if (type === 'ecdsa') return generateKeyPairSync('ecdsa', { bits: 256, ...secret })
  if (type === 'rsa') return generateKeyPairSync('rsa', { bits: 2048, ...secret })
  return generateKeyPairSync('ed25519', secret)
}
