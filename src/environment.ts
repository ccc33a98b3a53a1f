/** What is taken from the environment, and where this program stands. Nothing else reads process.env; apart from config.ts, which few commands need and which takes long to load. */
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'

const { readFileSync } = process.getBuiltinModule('node:fs')

/** A configuration that cannot be used: every mistake on a line of its own. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}

/** The folder of the project or installed package: where schemas/ and package.json are. */
export const PACKAGE_ROOT = packageRoot()

function packageRoot(): string {
  const here = import.meta.dirname
  return here.endsWith(join('dist', 'src')) ? join(here, '..', '..') : join(here, '..')
}

/** Version of this package. */
export function version(): string {
  return (JSON.parse(readFileSync(join(PACKAGE_ROOT, 'package.json'), 'utf8')) as { version: string }).version
}

/** What the quickstart takes from the environment. Throws ConfigError for a bad port. */
export function quickstartEnvironment(env: NodeJS.ProcessEnv = process.env): { state: string; port: number } {
  const port = named(env['KARST_PORT']) ?? '8443'
  if (!/^\d{1,5}$/.test(port) || Number(port) > 65535) {
    throw new ConfigError(`KARST_PORT is a port number, 0 for any that is free, not ${JSON.stringify(port)}`)
  }
  return { state: resolve(named(env['KARST_STATE']) ?? '.karst'), port: Number(port) }
}

/** A variable that is set to nothing is not set. */
function named(value: string | undefined): string | undefined {
  return value === '' ? undefined : value
}

/** Credentials and places that a mount finds by itself, as grid tools do (X509_USER_PROXY). The spool outlives a reboot, so it is state. */
export function mountEnvironment(env: NodeJS.ProcessEnv = process.env): {
  proxy?: string
  url?: string
  /** PEM file of the CAs that a gateway's certificate may be from */
  ca?: string
  state: string
} {
  const states = named(env['XDG_STATE_HOME']) ?? join(homedir(), '.local', 'state')
  const proxy = named(env['X509_USER_PROXY'])
  const url = named(env['KARST_URL'])
  const ca = named(env['KARST_CA'])
  return {
    ...(proxy !== undefined && { proxy }),
    ...(url !== undefined && { url }),
    ...(ca !== undefined && { ca }),
    state: resolve(named(env['KARST_MOUNT_STATE']) ?? join(states, 'karst')),
  }
}

/** What a session takes from whoever starts it: all but what says where the launcher's own things are. `runtime`: a folder in memory. */
export function sessionEnvironment(env: NodeJS.ProcessEnv = process.env): {
  runtime?: string
  variables: Record<string, string>
} {
  const kept = Object.entries(env).filter(
    ([name]) => !/^(KARST_.*|X509_.*|XDG_RUNTIME_DIR|NODE_COMPILE_CACHE)$/.test(name),
  )
  const variables = Object.fromEntries(kept.flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])))
  const runtime = named(env['XDG_RUNTIME_DIR'])
  return { ...(runtime !== undefined && { runtime }), variables }
}

/** What a session is told by its environment: all of it that is set to something. */
export function toldEnvironment(env: NodeJS.ProcessEnv = process.env): Record<string, string> {
  const told = Object.entries(env).flatMap(([name, value = '']) => (value === '' ? [] : [[name, value] as const]))
  return Object.fromEntries(told.filter(([name]) => /^(HOME|SCRATCH|KARST_.*|X509_.*)$/.test(name)))
}

/** Where grid tools look for credentials: the proxy, and what a proxy is made from (X509_USER_PROXY, X509_USER_CERT, X509_USER_KEY). */
export function proxyEnvironment(env: NodeJS.ProcessEnv = process.env): {
  proxy: string
  certificate?: string
  key?: string
  /** usercert.pem and userkey.pem, or usercred.p12, are looked for here */
  folder: string
} {
  const certificate = named(env['X509_USER_CERT'])
  const key = named(env['X509_USER_KEY'])
  return {
    proxy: resolve(named(env['X509_USER_PROXY']) ?? `/tmp/x509up_u${process.geteuid?.() ?? 0}`),
    ...(certificate !== undefined && { certificate }),
    ...(key !== undefined && { key }),
    folder: join(homedir(), '.globus'),
  }
}
