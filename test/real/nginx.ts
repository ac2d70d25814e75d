/**
 * nginx as an HTTP input: takes POSTs, writes the body of each that it answered with 200 to a file, and on another path
 * refuses now and then.
 */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { request } from 'undici'
import { freePort, startProcess, stopProcess } from './process.ts'

export interface Nginx {
  /** Accepts everything up to 2 MiB. */
  readonly url: string
  /** The same, but one POST in ten gets 503 and one in twenty 429, with `Retry-After: 1`. */
  readonly flakyUrl: string
  /** Accepts everything up to 64 KiB; 413 for more. */
  readonly smallUrl: string
  readonly pid: number
  /** Accepted bodies one after the other, on all three paths, each followed by a newline. Not for gzipped bodies. */
  received(): Promise<Buffer>
  /** How often each status was answered. */
  statuses(): Promise<Map<number, number>>
  /** Ends the server and removes its folder. */
  stop(): Promise<void>
}

/** Throws if nginx is not installed. */
export async function startNginx(): Promise<Nginx> {
  const folder = await mkdtemp(join(tmpdir(), 's3-streamer-nginx-'))
  try {
    const port = await freePort()
    const origin = `http://127.0.0.1:${port}`
    await writeFile(join(folder, 'nginx.conf'), configuration(folder, port))
    const child = await startProcess(
      'nginx',
      ['-p', folder, '-e', join(folder, 'error.log'), '-c', join(folder, 'nginx.conf')],
      `${origin}/ready`,
      { PATH: `${process.env.PATH}:/usr/sbin:/usr/local/sbin` },
    )
    // A request is logged after it was answered; the one worker answers the next one after that.
    const logged = async (name: string) => {
      const { body } = await request(`${origin}/ready`)
      await body.dump()
      return readFile(join(folder, name))
    }
    return {
      url: `${origin}/logs`,
      flakyUrl: `${origin}/flaky`,
      smallUrl: `${origin}/small`,
      pid: child.pid as number,
      received: () => logged('received'),
      statuses: async () => {
        const counts = new Map<number, number>()
        for (const line of (await logged('statuses')).toString().split('\n')) {
          if (line !== '') counts.set(Number(line), (counts.get(Number(line)) ?? 0) + 1)
        }
        return counts
      },
      stop: async () => {
        await stopProcess(child, 'SIGTERM')
        await rm(folder, { recursive: true, force: true })
      },
    }
  } catch (error) {
    await rm(folder, { recursive: true, force: true })
    throw error
  }
}

/**
 * `$request_body` exists only where nginx had to read the body, that is, to pass it on: so each path passes its requests
 * (without the body) to a second server behind a socket, which answers.
 */
function configuration(folder: string, port: number): string {
  const path = (name: string) => JSON.stringify(join(folder, name))
  const location = (name: string, fate: string, largest: string) => `
    location = /${name} {
      client_max_body_size ${largest};
      access_log ${path('received')} body if=$accepted;
      access_log ${path('statuses')} status;
      proxy_set_header X-Fate ${fate};
      proxy_set_header Content-Length "";
      proxy_pass_request_body off;
      proxy_method GET;
      proxy_pass http://answers;
    }`
  return `
${userInfo().uid === 0 ? 'user root;' : ''}
daemon off;
worker_processes 1;
pid ${path('pid')};
events { worker_connections 512; }
http {
  access_log off;
  log_format body escape=none '$request_body';
  log_format status '$status';
  map $status $accepted { 200 1; default 0; }
  split_clients $request_id $fate { 10% 503; 5% 429; * 200; }
  client_body_buffer_size 2m;
  client_body_in_single_buffer on;
  client_body_temp_path ${path('bodies')};
  proxy_temp_path ${path('proxy')};
  fastcgi_temp_path ${path('fastcgi')};
  uwsgi_temp_path ${path('uwsgi')};
  scgi_temp_path ${path('scgi')};
  keepalive_requests 100000;
  upstream answers {
    server unix:${join(folder, 'answers.sock')};
  }
  server {
    listen 127.0.0.1:${port};${location('logs', '200', '2m')}${location('flaky', '$fate', '2m')}${location('small', '200', '64k')}
    location = /ready { return 204; }
  }
  server {
    listen unix:${join(folder, 'answers.sock')};
    add_header Retry-After $retry always;
    location / {
      if ($http_x_fate = 503) { return 503; }
      if ($http_x_fate = 429) { return 429; }
      return 200 "";
    }
  }
  map $http_x_fate $retry { 200 ""; default 1; }
}
`
}
