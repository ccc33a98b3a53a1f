/** Alice, bob and carol, an authority that vouches for them, and a host certificate: made once a process. */
import { canonicalDn } from '../../src/identity/dn.ts'
import {
  createProxy,
  issueServerCertificate,
  issueUserCertificate,
  mintDevelopmentCa,
} from '../../src/identity/mint.ts'
import { type Credential } from '../../src/identity/pem.ts'

export type Name = 'alice' | 'bob' | 'carol'

export const authority = await mintDevelopmentCa('test')
export const host = await issueServerCertificate(authority, ['localhost', '127.0.0.1'])
export const renewedHost = await issueServerCertificate(authority, ['localhost', '127.0.0.1'])

const attributes = (name: string) =>
  [
    ['O', 'karst development'],
    ['CN', name],
  ] as const

/** Canonical, as the store keeps it. */
export const dnOf = (name: string): string => canonicalDn(`/O=karst development/CN=${name}`)

export const certificateOf = async (name: string): Promise<Credential> =>
  issueUserCertificate(authority, attributes(name), 1, 'ec')

const alice = await certificateOf('alice')

/** Alice comes with a proxy, as grid users do; the others with their certificates. Dave is verified, and unknown here. */
export const credentials: Readonly<Record<Name | 'dave', Credential>> = {
  alice: await createProxy(alice, { hours: 1, newKey: 'ec' }),
  bob: await certificateOf('bob'),
  carol: await certificateOf('carol'),
  dave: await certificateOf('dave'),
}

/** PEM as TLS wants it: the leaf and its chain. */
export const chainPem = ({ certificate, chain }: Credential): string => [certificate, ...chain].join('\n')
