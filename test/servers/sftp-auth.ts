/** Who may log in to the test SFTP server: passwords, public keys, keyboard-interactive. */
import ssh2 from 'ssh2'
import type { SftpCounters, SftpFaults, SftpSwitches } from './sftp-faults.ts'

export interface SftpUser {
  /** For the methods password and keyboard-interactive. */
  password?: string
  /** `ssh-ed25519 AAAA…` of each key that opens the door. */
  publicKeys?: readonly string[]
}

export interface Doorkeeper {
  readonly users: ReadonlyMap<string, SftpUser>
  readonly switches: SftpSwitches
  readonly faults: SftpFaults
  readonly counters: SftpCounters
}

/** Decides about each credential of a connection; `cut` resets the connection. */
export function guardConnection(connection: ssh2.Connection, cut: () => void, door: Doorkeeper): void {
  let refused = 0
  const { switches, faults, counters } = door
  const refuse = (context: ssh2.AuthContext) => {
    context.reject([...switches.authMethods])
    // The question which methods there are is no try.
    if (context.method === 'none') return
    counters.authFailures += 1
    refused += 1
    if (refused >= switches.maxAuthTries) connection.end()
  }
  connection.on('authentication', (context) => {
    const { method, username } = context
    const user = door.users.get(username)
    const verdict = method === 'none' ? undefined : faults.onAuth?.(username, method)
    if (verdict === 'stall') return
    if (verdict === 'cut') return cut()
    const offered = switches.authMethods.some((one) => one === method)
    if (verdict === 'refuse' || switches.refuseAuth || !offered || !user) return refuse(context)
    switch (context.method) {
      case 'password':
        return context.password === user.password ? context.accept() : refuse(context)
      case 'keyboard-interactive':
        return context.prompt([{ prompt: 'Password: ', echo: false }], ([given]) => {
          if (given !== undefined && given === user.password) context.accept()
          else refuse(context)
        })
      case 'publickey':
        return isKeyOf(user, context) ? context.accept() : refuse(context)
      default:
        refuse(context)
    }
  })
}

/** Without a signature the client only asks whether it may try this key. */
function isKeyOf(user: SftpUser, { key, signature, blob, hashAlgo }: ssh2.PublicKeyAuthContext): boolean {
  const known = user.publicKeys?.find((one) => one.split(' ')[1] === key.data.toString('base64'))
  if (known === undefined) return false
  if (!signature || !blob) return true
  const parsed = ssh2.utils.parseKey(known)
  return !(parsed instanceof Error) && parsed.verify(blob, signature, hashAlgo) === true
}
